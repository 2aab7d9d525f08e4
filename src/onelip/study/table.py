"""The table of a study's final numbers: the same cells on the page, in the README and in the paper."""

from __future__ import annotations

from typing import Any

COLUMNS = {
    "run": "run",
    "status": "ended",
    "generator_loss": "generator loss",
    "critic_loss": "critic loss",
    "w1_estimate": "Ŵ₁",
    "input_gradient/interpolated/mean": "mean ‖∇ₓf‖, interpolated",
    "norm_product": "product of the layers' ‖A‖₂",
    "seconds_per_generator_step": "s per generator step",
    "peak_memory_mib": "peak memory, MiB",
}


def cells(runs: dict[str, dict[str, Any]]) -> list[list[str]]:
    """One row of text a run, in the order of COLUMNS, from the `runs` of a summary."""
    return [[_cell(name, run, column) for column in COLUMNS] for name, run in runs.items()]


def markdown(runs: dict[str, dict[str, Any]]) -> str:
    """The table in Markdown, as the README shows it."""
    rows = [list(COLUMNS.values()), ["---", *["--:"] * (len(COLUMNS) - 1)], *cells(runs)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(name: str, run: dict[str, Any], column: str) -> str:
    if column == "run":
        return name
    if column == "status":
        return f"{run['status']} at {run['step']}"
    value = run["final"].get(column, run.get(column))
    return "–" if value is None else f"{value:.3g}"
