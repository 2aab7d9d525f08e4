"""What results/ says, in numbers and words: computed once, then set as TeX by paper/, as Markdown here."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

from onelip.study.claims.evidence import digest
from onelip.study.w1bench.records import by_pair, read_records
from onelip.study.w1bench.standing import (
    Ahead,
    Pairs,
    pairs_ahead,
    runs_ahead_of_published,
    sizes_ahead_of_published,
)

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
Ends = tuple[float, float]  # least and largest


def read(name: str, results: Path = RESULTS) -> Any:
    return json.loads((results / name).read_text())


def part_of(name: str) -> dict[str, Any]:
    """A part of benchmarks.json."""
    return read("benchmarks.json")[name]


class StaleClaimsError(Exception):
    """Verdicts and numbers of one document would be of different results."""


def read_claims(results: Path = RESULTS) -> dict[str, Any]:
    """The claims of claims.json. Raises StaleClaimsError where they are of other results."""
    found = read("claims.json", results)
    if found["inputs"] != digest(results):
        raise StaleClaimsError(
            f"{results / 'claims.json'} is of other results: onelip study claims decides them anew"
        )
    return found["claims"]


class Norms(NamedTuple):
    """times: our time over each baseline's, medians over turns. width: of our widest interval, relative."""

    cases: int
    times: dict[str, Ends]
    width: float
    commit: str


def norms(results: Path = RESULTS) -> Norms:
    file = read("norms.json", results)
    ours = [next(m for m in case["methods"] if m["method"] == "onelip") for case in file["cases"].values()]
    times = {name: ends([m["ratios"][name][1] for m in ours]) for name in ours[0]["ratios"]}
    return Norms(
        len(ours), times, max(m["upper"] / m["lower"] - 1 for m in ours), file["provenance"]["commit"]
    )


def ends(values: list[float]) -> Ends:
    return min(values), max(values)


def w1_pairs(results: Path = RESULTS) -> Pairs:
    """The records of the W₁ benchmark by pair and critic."""
    return by_pair(read_records(results / "w1bench.json"))


def w1_standings(pairs: Pairs) -> dict[str, Ahead]:
    """How often our best critic is ahead, and the sorting network as published that was run here.

    Of the best published value of a size: better, means over seeds; runs; rerun, of the sorting network.
    Of the sorting network on the same pair: sorting.
    """
    return {
        "better": sizes_ahead_of_published(pairs, "best"),
        "runs": runs_ahead_of_published(pairs, "best"),
        "sorting": pairs_ahead(pairs, "best", "sorting-network"),
        "rerun": sizes_ahead_of_published(pairs, "sorting-network"),
    }


def exact_potential(*by: str, results: Path = RESULTS) -> dict[tuple[int, ...], dict[str, Ends]]:
    """What the published evaluation gives f* itself: cos, l2 and zero, by dim or by dim and funnels."""
    found: dict[tuple[int, ...], dict[str, list[float]]] = {}
    for row in read("published_arithmetic.json", results)["sizes"]:
        scores = found.setdefault(tuple(row[name] for name in by), {"cos": [], "l2": [], "zero": []})
        for name, values in scores.items():
            values += row[name]
    return {
        key: {name: ends(values) for name, values in scores.items()} for key, scores in sorted(found.items())
    }


def trimmed(reason: str, width: int) -> str:
    """A reason in about `width` letters, an equal share for what holds and what does not, cut between items.

    >>> trimmed("holds: in the plane, on digits; does not: on rings, on grids", 44)
    'holds: in the plane, …; does not: on rings, …'
    """
    parts = reason.split("; ")
    share = width // len(parts)
    return "; ".join(_cut(part, share) for part in parts)


def _cut(part: str, width: int) -> str:
    first, *others = part.split(", ")
    kept = textwrap.shorten(first, width, placeholder=" …", break_on_hyphens=False)
    if kept != first:
        return kept
    for item in others:
        if len(kept) + len(item) + 5 > width and len(part) > width:
            return f"{kept}, …"
        kept += f", {item}"
    return kept
