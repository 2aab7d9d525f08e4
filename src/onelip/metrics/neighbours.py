"""Precision, recall, density, coverage: do generated samples lie among real ones, and real among generated?

T. Kynkäänniemi, T. Karras, S. Laine, J. Lehtinen, T. Aila, "Improved Precision and Recall Metric for
Assessing Generative Models", NeurIPS 2019. M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi, J. Yoo, "Reliable
Fidelity and Diversity Metrics for Generative Models", ICML 2020.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.errors import ArgumentError
from onelip.metrics.features import FeatureSet, require_one_space, row_spans

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
    x, y = _near_origin(real.values, real.values), _near_origin(generated.values, real.values)
    balls = torch.zeros(len(generated))  # real balls around each generated sample
    covered = recalled = 0
    for span in row_spans(len(real), len(generated)):
        distances = torch.cdist(x[span], y)
        inside = distances <= radii_real[span, None]
        balls += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((distances <= radii_generated).any(1).sum())
    return Neighbourhoods(
        precision=float((balls > 0).double().mean()),
        recall=recalled / len(real),
        density=float(balls.double().mean()) / k,
        coverage=covered / len(real),
    )


def _radii(x: Float[Tensor, "n d"], k: int) -> Float[Tensor, "n"]:
    """Distance of each sample to its k-th nearest neighbour, itself not counted."""
    x, radii = _near_origin(x, x), x.new_empty(len(x))
    for span in row_spans(len(x), len(x)):
        # The smallest of k + 1 is the sample itself.
        radii[span] = torch.cdist(x[span], x).topk(k + 1, largest=False).values[:, -1]
    return radii


def _near_origin(x: Float[Tensor, "n d"], like: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
    """Less the median of `like`: cdist goes through squares, which cancel far from the origin.

    A few samples far away would take the mean along, and all others from the origin.
    """
    return x - like.median(0).values
