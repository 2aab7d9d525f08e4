"""The tables of docs/performance.md, from results/benchmarks.json."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.powers import PowerFit
from benchmarks.scaling_page import RESULTS, markdown_table
from onelip.provenance import shown


def throughput() -> str:
    """Images a second beside the plain loop, and the share of the machine's matrix-product rate."""
    part = part_of("throughput")
    rows = [
        (
            f"`{row['method']}`",
            row["width"],
            f"{row['images_per_second']:,.0f}",
            _ratio(row["times"]["plain loop"]["ratio"]),
            f"{row['share_of_matrix_rate']['onelip']:.0%}",
            f"{row['share_of_matrix_rate']['plain loop']:.0%}",
        )
        for row in part["rows"]
    ]
    titles = ("method", "width", "images/s", "× the plain loop", "of the matrix product's rate", "plain loop")
    return f"{markdown_table(titles, rows)}\n\n{_where(part)}"


def constraint() -> str:
    """Every method's critic step relative to the step without constraint."""
    part = part_of("constraint")
    first = next(iter(next(iter(part["results"].values())).values()))
    methods = [name for name in first["methods"] if name != "none"]
    rows = [
        (
            name,
            batch,
            f"{found['methods']['none']['milliseconds'][1]:.1f}",
            *(_ratio(found["methods"][method]["ratio"]) for method in methods),
        )
        for name, batches in part["results"].items()
        for batch, found in batches.items()
    ]
    return f"{markdown_table(('critic', 'batch', 'none, ms', *methods), rows)}\n\n{_where(part)}"


def growth() -> str:
    """Fitted exponents beside what theory allows."""
    part = part_of("growth")
    rows = [
        (
            law["subject"],
            law["variable"],
            f"{law['sizes'][0]} … {law['sizes'][-1]}",
            _exponent(law["time"]),
            _last(law["time"]),
            _exponent(law["memory"]),
            law["reason"],
        )
        for law in part["laws"].values()
    ]
    titles = ("cost of", "against", "sizes", "time", "last two", "memory", "theory's reason")
    worse = "; ".join(part["worse"]) or "none"
    return f"{markdown_table(titles, rows)}\n\nWorse than theory: {worse}. {_where(part)}"


def startup() -> str:
    """Imports and help beside `import torch`, and the quick study's overhead."""
    part = part_of("startup")
    times = part["processes"]
    rows = [
        (
            f"`{name}`" if name.startswith(("import", "onelip")) else name,
            f"{times['perf_counter'][name]['milliseconds'][1] / 1000:.2f}",
            _ratio(times["perf_counter"][name]["ratio"]),
            _ratio(times["children_seconds"][name]["ratio"]),
        )
        for name in times["perf_counter"]
    ]
    whole = part["quick_study"]["extrapolated"]
    return (
        f"{markdown_table(('process', 's', '× `import torch`, by the clock', 'of the processor'), rows)}\n\n"
        f"A quick study of {whole['steps']} steps spends {whole['shares']['training']:.1%} of its time in "
        f"training, {whole['shares']['measurement']:.1%} in what it measures of every critic and layer, and "
        f"{whole['shares']['overhead']:.1%} in all else, by a line through studies of "
        f"{' and '.join(map(str, part['quick_study']['steps']))} steps. {_where(part)}"
    )


def part_of(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / "benchmarks.json").read_text())[name]


def _ratio(quartiles: list[float]) -> str:
    low, middle, high = quartiles
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def _exponent(quantity: dict[str, Any]) -> str:
    if quantity["fit"] is None:
        return "too small to measure"
    fit = PowerFit(**quantity["fit"])
    mark = " **worse**" if quantity["worse"] else ""
    return f"{fit.exponent:.2f} ± {fit.standard_error:.2f} (≤ {quantity['theory']:.3g}){mark}"


def _last(quantity: dict[str, Any]) -> str:
    return "–" if quantity["fit"] is None else f"{quantity['fit']['last']:.2f}"


def _where(part: dict[str, Any]) -> str:
    source = part["provenance"]
    machine = source["machine"]
    return f"Commit {shown(source['commit'])}, {machine['processor']}, {machine['cores']} cores, one thread."


BLOCKS = (throughput, constraint, growth, startup)
