"""Precision, recall, density, coverage: do generated samples lie among real ones, and real among generated?

T. Kynkäänniemi, T. Karras, S. Laine, J. Lehtinen, T. Aila, "Improved Precision and Recall Metric for
Assessing Generative Models", NeurIPS 2019. M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi, J. Yoo, "Reliable
Fidelity and Diversity Metrics for Generative Models", ICML 2020.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from onelip.errors import ArgumentError
from onelip.metrics.features import FeatureSet, require_one_space, row_spans
from onelip.transport.samples import distances

NEIGHBOURS = 5  # as Naeem et al. choose it; Kynkäänniemi et al. take 3


class Neighbourhoods(NamedTuple):
    """precision, recall, coverage: shares in [0, 1]. density: of mean 1 where the laws agree, unbounded."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhoods(real: FeatureSet, generated: FeatureSet, k: int = NEIGHBOURS) -> Neighbourhoods:
    """Each sample's ball reaches to its k-th nearest neighbour in its own set.

    precision: share of generated samples in some real ball. recall: share of real samples in some
    generated ball. density: real balls that a generated sample lies in, over k, on average. coverage: share
    of real balls that hold a generated sample. Time grows with n·m, memory with n + m.
    Raises ArgumentError where a set has no more than k samples.

    >>> x = FeatureSet(torch.arange(8.0).reshape(4, 2))
    >>> neighbourhoods(x, x, k=1)
    Neighbourhoods(precision=1.0, recall=1.0, density=2.5, coverage=1.0)
    """
    require_one_space(real, generated)
    fewest = min(len(real), len(generated))
    if not 1 <= k < fewest:
        raise ArgumentError("samples", f"more than k = {k}, and k positive", fewest, "draw more samples")
    radii_real, radii_generated = real.kept(_radii, k), generated.kept(_radii, k)
    centre = _centre(real.values)
    balls = torch.zeros(len(generated))  # real balls around each generated sample
    covered = recalled = 0
    for span in row_spans(len(real), len(generated)):
        radii = (radii_real[span, None], radii_generated)
        inside, reached = _within(real.values[span], generated.values, centre, radii)
        balls += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int(reached.any(1).sum())
    return Neighbourhoods(
        precision=float((balls > 0).double().mean()),
        recall=recalled / len(real),
        density=float(balls.double().mean()) / k,
        coverage=covered / len(real),
    )


def _radii(x: Float[Tensor, "n d"], k: int) -> Float[Tensor, "n"]:
    """Distance of each sample to its k-th nearest neighbour, itself not counted."""
    centre, radii = _centre(x), x.new_empty(len(x))
    for span in row_spans(len(x), len(x)):
        low, high = _squares(x[span], x, centre)
        nearest = high.topk(k + 1, largest=False)  # the smallest is the sample itself
        if ((low <= nearest.values[:, -1:]).sum(1) == k + 1).all():
            radii[span] = distances(x[span, None], x[nearest.indices]).amax((1, 2))
        else:
            radii[span] = distances(x[span], x).topk(k + 1, largest=False).values[:, -1]
    return radii


def _within(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    centre: Float[Tensor, "d"],
    radii: Iterable[Float[Tensor, "..."]],
) -> list[Bool[Tensor, "n m"]]:
    """‖x_i − y_j‖ ≤ r for each of the radii [n, 1] or [m], as the differences have it.

    Through squares, in half the time, wherever their rounding decides nothing: samples that occur twice
    are at equal distances, and clusters far apart have distances far below the squares' rounding.
    """
    low, high = _squares(x, y, centre)
    possible, sure = ([bound <= r.square() for r in radii] for bound in (low, high))
    if all(map(torch.equal, possible, sure)):
        return sure
    exact = distances(x, y)
    return [exact <= r for r in radii]


def _squares(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], centre: Float[Tensor, "d"]
) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]:
    """low ≤ ‖x_i − y_j‖² ≤ high from one matrix product of what is left of x and y without the centre.

    Rounding is at most (2d + 10)·ε·(‖x_i‖² + ‖y_j‖²): of the sums of d terms, of subtracting the centre, and
    of `distances`, which these bounds are held against. They allow twice that.
    """
    x, y = x - centre, y - centre
    sums = x.square().sum(1, keepdim=True) + y.square().sum(1)
    squares = torch.addmm(sums, x, y.T, alpha=-2)
    slack = sums.mul_((4 * x.shape[1] + 20) * torch.finfo(x.dtype).eps)
    high = squares + slack
    return squares.sub_(slack), high


def _centre(x: Float[Tensor, "n d"]) -> Float[Tensor, "d"]:
    """The median: a few samples far away would take the mean along, and all others from the origin."""
    return x.median(0).values
