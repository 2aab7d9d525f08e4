"""Counts of where a critic is ahead, on records made for it."""

from __future__ import annotations

import pytest

from onelip.study.w1bench.published import published
from onelip.study.w1bench.standing import (
    Ahead,
    by_size,
    pairs_ahead,
    runs_ahead_of_published,
    sizes_ahead_of_published,
)


def records(cos, l2):
    return {"cos": cos, "l2": l2}


BEST = published(16, 4)
BETTER, WORSE = records(BEST.cos + 0.01, BEST.l2 - 0.01), records(BEST.cos - 0.02, BEST.l2 + 0.02)
MIXED = records(BEST.cos + 0.01, BEST.l2 + 0.01)


@pytest.mark.parametrize(
    ("seeds", "sizes", "runs"),
    [
        ([BETTER, BETTER], Ahead(1, 1, 1), Ahead(2, 2, 2)),
        ([BETTER, WORSE], Ahead(0, 0, 1), Ahead(1, 1, 2)),
        ([MIXED], Ahead(1, 0, 1), Ahead(1, 0, 1)),
        ([records(BEST.cos, BEST.l2)], Ahead(0, 0, 1), Ahead(0, 0, 1)),  # as good is not ahead
        ([], Ahead(0, 0, 0), Ahead(0, 0, 0)),
    ],
)
def test_means_and_single_runs_beside_the_published(seeds, sizes, runs):
    pairs = {(16, 4, seed): {"best": record} for seed, record in enumerate(seeds)}
    assert sizes_ahead_of_published(pairs, "best") == sizes
    assert runs_ahead_of_published(pairs, "best") == runs


@pytest.mark.parametrize("size", [(2, 4), (3, 4)], ids=["not comparable", "not published"])
def test_what_cannot_be_compared_is_not_counted(size):
    assert runs_ahead_of_published({(*size, 0): {"best": records(1.0, 0.0)}}, "best").of == 0


def test_critics_meet_on_pairs_that_both_have():
    pairs = {
        (2, 4, 0): {"best": records(0.9, 0.1), "other": records(0.8, 0.1)},
        (2, 4, 1): {"best": records(0.7, 0.1), "other": records(0.8, 0.2)},
        (2, 4, 2): {"best": records(0.9, 0.1)},
    }
    assert pairs_ahead(pairs, "best", "other") == Ahead(1, 1, 2)
    assert {size: len(found) for size, found in by_size(pairs, "best").items()} == {(2, 4): 3}
