"""Divergences that do not see how far apart two laws are: Kullback–Leibler, Jensen–Shannon, total variation.

J. Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Information Theory 37, 1991: JS and
its bound. M. Arjovsky, S. Chintala, L. Bottou, "Wasserstein GAN", ICML 2017, §2: laws at distance θ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from onelip.errors import ArgumentError
from onelip.transport.samples import Array, as_pair, as_probabilities, common_scale, require_positive

LogDensity = Callable[[np.ndarray], np.ndarray]

# A law whose mass on the interval misses one by more than this is not integrated well enough to compare.
_MASS_TOLERANCE = 1e-6
_NODES = 256


@dataclass(frozen=True)
class Divergences:
    """Of P from Q, in nats.

    kl: Σ p log(p/q), infinite where P has mass that Q has not. kl_reverse: the same of Q from P.
    js: ½KL(P‖M) + ½KL(Q‖M) with M = ½(P + Q), at most log 2, which it is for disjoint laws at any distance.
    total_variation: ½Σ|p − q|, at most 1.
    """

    kl: float
    kl_reverse: float
    js: float
    total_variation: float


def histogram_divergences(p: Array, q: Array) -> Divergences:
    """Of two histograms over the same bins, of any shape, each non-negative and of sum one.

    Raises ArgumentError where shapes differ or a histogram is none.

    >>> histogram_divergences(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    Divergences(kl=inf, kl_reverse=inf, js=0.6931471805599453, total_variation=1.0)
    """
    log_p, log_q = as_probabilities("p", p).log(), as_probabilities("q", q).log()
    if log_p.shape != log_q.shape:
        raise ArgumentError(
            "q", f"over the bins of p, {list(log_p.shape)}", list(log_q.shape), "use one binning"
        )
    return _divergences(log_p, log_q, torch.ones_like(log_p))


def density_divergences(log_p: LogDensity, log_q: LogDensity, knots: Sequence[float]) -> Divergences:
    """Of two densities on the line, by Gauss–Legendre quadrature between ascending knots.

    log_p, log_q: logarithms of the densities, array → array (SciPy's `logpdf`), so that a density too
    small for float64 is not taken for zero. knots: the ends of an interval that holds both laws, and in
    between every point where a density is not smooth; 256 nodes between two.
    Raises ArgumentError where the mass found in the interval is not one up to 1e-6.

    >>> from scipy.stats import norm
    >>> round(density_divergences(norm(0, 1).logpdf, norm(100, 1).logpdf, (-10.0, 10.0, 90.0, 110.0)).kl, 6)
    5000.0
    """
    ends = np.asarray(knots, dtype=np.float64)
    if len(ends) < 2 or not np.isfinite(ends).all() or not (np.diff(ends) > 0).all():
        raise ArgumentError("knots", "two or more finite numbers, ascending", list(knots), "give an interval")
    nodes, weights = _quadrature(ends)
    on_p, on_q = (torch.from_numpy(np.array(log(nodes), dtype=np.float64)) for log in (log_p, log_q))
    for name, values in (("log_p", on_p), ("log_q", on_q)):
        mass = float(weights @ values.exp())
        if not abs(mass - 1) <= _MASS_TOLERANCE:
            raise ArgumentError(
                name,
                "a log-density of mass one between the knots",
                f"mass {mass:.7g}",
                "widen or refine the knots",
            )
    return _divergences(on_p, on_q, weights)


def _quadrature(ends: np.ndarray) -> tuple[np.ndarray, Float[Tensor, "nodes"]]:
    t, w = np.polynomial.legendre.leggauss(_NODES)
    half, middle = np.diff(ends)[:, None] / 2, (ends[1:] + ends[:-1])[:, None] / 2
    return (middle + half * t).ravel(), torch.from_numpy((half * w).ravel())


def sample_divergences(x: Array, y: Array, bins: int = 32) -> Divergences:
    """Of the histograms of two sample sets, over `bins` equal bins an axis of the box that holds both.

    A plug-in estimate: biased upwards while bins hold few samples, blind to structure inside a bin.
    x, y: [n, …] and [m, …], flattened per sample, of at most three dimensions, for a grid is hopeless
    beyond. Raises ArgumentError for more, and for samples that wasserstein1 would refuse.

    >>> sample_divergences(torch.zeros(5), torch.ones(5)).js == math.log(2)
    True
    """
    points_x, points_y = as_pair(x, y)
    dim = points_x.shape[1]
    if dim > 3:
        raise ArgumentError("x", "of at most 3 dimensions", dim, "project the samples first")
    require_positive("bins", bins)
    scale = common_scale(points_x, points_y)  # the size of the largest box overflows
    points_x, points_y = points_x / scale, points_y / scale
    both = torch.cat([points_x, points_y])
    box = list(zip(both.amin(0).tolist(), both.amax(0).tolist(), strict=True))
    p, q = (
        np.histogramdd(points.numpy(), bins, range=box)[0] / len(points) for points in (points_x, points_y)
    )
    return histogram_divergences(p, q)


def _divergences(log_p: Tensor, log_q: Tensor, weights: Tensor) -> Divergences:
    p, q = log_p.exp(), log_q.exp()
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    js = (_relative_entropy(log_p, log_m, weights) + _relative_entropy(log_q, log_m, weights)) / 2
    return Divergences(
        kl=_relative_entropy(log_p, log_q, weights),
        kl_reverse=_relative_entropy(log_q, log_p, weights),
        js=min(js, math.log(2)),  # the ceiling holds exactly; only rounding passes it
        total_variation=min(float((weights * (p - q).abs()).sum()) / 2, 1.0),
    )


def _relative_entropy(log_p: Tensor, log_q: Tensor, weights: Tensor) -> float:
    """Σ w p (log p − log q), where 0·log 0 = 0 and p log(p/0) = ∞; never below zero but for rounding."""
    p = log_p.exp()
    terms = torch.where(p > 0, p * (log_p - log_q), 0.0)
    return max(0.0, float((weights * terms).sum()))
