"""How a critic stands: beside the published values of a size, and beside another critic on the same pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from onelip.study.w1bench.published import COMPARABLE, Published, published

Pairs = Mapping[tuple[int, int, int], Mapping[str, Mapping[str, Any]]]
"""What `by_pair` returns: by (dim, funnels, seed) the records by critic."""


class Ahead(NamedTuple):
    """In how many of `of` cases a critic's cosine is the larger one, its L² the smaller one."""

    cos: int
    l2: int
    of: int


def by_size(pairs: Pairs, critic: str) -> dict[tuple[int, int], list[Mapping[str, Any]]]:
    """A critic's records by (dim, funnels), in order of size and seed."""
    sizes: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for (dim, funnels, _), critics in sorted(pairs.items()):
        if critic in critics:
            sizes.setdefault((dim, funnels), []).append(critics[critic])
    return sizes


def sizes_ahead_of_published(pairs: Pairs, critic: str) -> Ahead:
    """Sizes whose mean over seeds is ahead of the best published value, of those that can be compared."""
    means = (
        (_Scores(*(float(np.mean([r[key] for r in records])) for key in ("cos", "l2"))), best)
        for records, best in _beside_published(pairs, critic)
    )
    return _ahead(means)


def runs_ahead_of_published(pairs: Pairs, critic: str) -> Ahead:
    """The same of single runs."""
    return _ahead(
        (_scores(record), best) for records, best in _beside_published(pairs, critic) for record in records
    )


def pairs_ahead(pairs: Pairs, critic: str, rival: str) -> Ahead:
    """Pairs of laws on which a critic is ahead of another, of those that have both."""
    return _ahead(
        (_scores(critics[critic]), _scores(critics[rival]))
        for critics in pairs.values()
        if {critic, rival} <= critics.keys()
    )


class _Scores(NamedTuple):
    cos: float
    l2: float


def _scores(record: Mapping[str, Any]) -> _Scores:
    return _Scores(record["cos"], record["l2"])


def _beside_published(pairs: Pairs, critic: str) -> Iterable[tuple[list[Mapping[str, Any]], Published]]:
    for (dim, funnels), records in by_size(pairs, critic).items():
        best = published(dim, funnels)
        if best is not None and dim >= COMPARABLE:
            yield records, best


def _ahead(cases: Iterable[tuple[_Scores, _Scores | Published]]) -> Ahead:
    found = [(ours.cos > theirs.cos, ours.l2 < theirs.l2) for ours, theirs in cases]
    return Ahead(sum(cos for cos, _ in found), sum(l2 for _, l2 in found), len(found))
