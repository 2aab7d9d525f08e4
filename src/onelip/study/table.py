"""The table of a study's final numbers: the same cells on the page, in the README and in the paper."""

from __future__ import annotations

from typing import Any

from onelip.rounding import Bound, decimal
from onelip.study.markdown import LEFT, RIGHT, markdown_table

COLUMNS = {
    "run": "run",
    "status": "ended",
    "generator_loss": "generator loss",
    "critic_loss": "critic loss",
    "w1_estimate": "Ŵ₁",
    "input_gradient/interpolated/mean": "mean ‖∇ₓf‖, interpolated",
    "norm_product": "product of the layers' ‖A‖₂ at rest ≤",
    "seconds_per_generator_step": "s per generator step",
    "peak_memory_mib": "peak memory, MiB",
}
# Of runs that were evaluated and certified while they trained.
OBSERVED = {
    "final/frechet_distance": "Fréchet distance",
    "final/recall": "recall",
    "final/modes": "modes",
    "final/share": "share within 3σ",
    "certificate/lower": "‖f‖_Lip ≥",
    "certificate/upper": "‖f‖_Lip ≤",
}

COLUMN_BOUNDS: dict[str, Bound] = {
    "norm_product": "upper",
    "certificate/lower": "lower",
    "certificate/upper": "upper",
}


def columns(runs: dict[str, dict[str, Any]]) -> dict[str, str]:
    """COLUMNS, and those of OBSERVED that a run has a number for."""
    seen = {metric for run in runs.values() for metric in run.get("last", {})}
    return COLUMNS | {name: title for name, title in OBSERVED.items() if name in seen}


def cells(runs: dict[str, dict[str, Any]]) -> list[list[str]]:
    """One row of text a run, in the order of `columns`, from the `runs` of a summary."""
    return [[_cell(name, run, column) for column in columns(runs)] for name, run in runs.items()]


def markdown(runs: dict[str, dict[str, Any]]) -> str:
    """The table in Markdown, as the README shows it."""
    titles = list(columns(runs).values())
    return markdown_table(titles, (LEFT, *[RIGHT] * (len(titles) - 1)), cells(runs))


def _cell(name: str, run: dict[str, Any], column: str) -> str:
    if column == "run":
        return name
    if column == "status":
        return f"{run['status']} at {run['step']}"
    value = (run | run["final"] | run.get("last", {})).get(column)
    return "–" if value is None else decimal(value, 3, COLUMN_BOUNDS.get(column, ""))
