"""The published values, as context: another pair of the same size has another W₁ and another difficulty.

A. Korotin, A. Kolesov, E. Burnaev, "Kantorovich Strikes Back! Wasserstein GANs are not Optimal Transport?",
NeurIPS 2022, tables of the high-dimensional benchmark, kept in published.json beside this file.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

# In fewer dimensions the published evaluation measures something else: it takes ∇f* from float32 distances by
# products of matrices, which are zero near a centre, where P crowds (benchmarks/published_arithmetic.py).
COMPARABLE = 4


class Published(NamedTuple):
    """cos and L² of a solver, and its deviation as a fraction of W₁."""

    cos: float
    l2: float
    deviation: float


def published(dim: int, funnels: int, solver: str = "best") -> Published | None:
    """What was published for a size; None where nothing was.

    solver: "best" of 11 for each metric on its own, in deviation without discrete transport between samples;
    "sorting-network" or "spectral-relu".

    >>> published(16, 4)
    Published(cos=0.971, l2=0.059, deviation=0.009)
    """
    row = _table().get((dim, funnels))
    return None if row is None else Published(**row[solver])


@cache
def _table() -> dict[tuple[int, int], dict[str, Any]]:
    content = json.loads(Path(__file__).with_name("published.json").read_text())
    return {(row["dim"], row["funnels"]): row for row in content["pairs"]}
