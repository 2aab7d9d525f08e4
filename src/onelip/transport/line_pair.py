"""Pairs of laws on the line, given by their quantile functions: W₁ and the optimal potential.

F. Santambrogio, "Optimal Transport for Applied Mathematicians", Birkhäuser 2015, §2.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from onelip.errors import ArgumentError
from onelip.transport.pair import CoupledSamples, KnownPair, as_given

Quantile = Callable[[np.ndarray], np.ndarray]

# Relative agreement of the two integrals: far more than quadrature misses, far less than a crossing is worth.
_AGREEMENT = 1e-5


@dataclass(frozen=True, eq=False)
class LinePair(KnownPair):
    """Two laws on the line, coupled by their quantiles; f is piecewise linear with knots at `crossings`."""

    quantile_p: Quantile
    quantile_q: Quantile
    crossings: Float[Tensor, "crossings"]
    first_slope: float
    w1: float

    @property
    def shape(self) -> tuple[int, ...]:
        return (1,)

    def sample(self, generator: torch.Generator, size: int) -> CoupledSamples:
        levels = torch.rand(size, generator=generator, dtype=torch.float64).clamp_min(2.0**-54)
        x, y = (_on(quantile, levels)[:, None] for quantile in (self.quantile_p, self.quantile_q))
        return CoupledSamples(x, y, (x - y).sign(), (x - y).abs().squeeze(1))

    def potential(self, points: Float[Tensor, "size 1"]) -> Float[Tensor, "size"]:
        t = points.to(self.crossings).squeeze(1)
        return as_given(self.first_slope * _zigzag(t, self.crossings), points)


def _zigzag(t: Float[Tensor, "n"], knots: Float[Tensor, "k"]) -> Float[Tensor, "n"]:
    """t up to the first knot, then slopes −1, 1, −1, …: continuous."""
    signs = (-1.0) ** torch.arange(1, len(knots) + 1, dtype=t.dtype)
    return t + 2 * ((t[:, None] - knots).clamp_min(0) * signs).sum(1)


def line_pair(quantile_p: Quantile, quantile_q: Quantile, crossings: tuple[float, ...] = ()) -> LinePair:
    """W₁ = ∫₀¹ |F⁻¹(s) − G⁻¹(s)| ds = E_P f − E_Q f, with f′ = sign(G − F).

    quantile_p, quantile_q: F⁻¹ and G⁻¹, array → array on (0, 1), as the `ppf` of SciPy's laws.
    crossings: where the distribution functions F and G cross, ascending; none where one law is
    stochastically larger. Both integrals are computed and must agree, so that a crossing left out raises
    ArgumentError; so does a W₁ that is infinite, or cannot be computed to five digits.

    >>> from scipy.stats import expon, norm
    >>> round(line_pair(expon(scale=1).ppf, expon(scale=3).ppf).w1, 6)
    2.0
    >>> round(line_pair(norm(0, 1).ppf, norm(0, 2).ppf, crossings=(0.0,)).w1, 6)  # E|N(0, 1)|
    0.797885
    """
    knots = torch.tensor(crossings, dtype=torch.float64)
    if not (knots.isfinite().all() and (knots.diff() > 0).all()):
        raise ArgumentError("crossings", "finite and ascending", crossings, "sort them")

    def moved(s: float) -> Tensor:
        level = torch.tensor([s], dtype=torch.float64)
        return torch.cat([_on(quantile_p, level), _on(quantile_q, level)])

    primal, error = _unit_integral(lambda s: float(moved(s).diff().abs()))
    if not error <= _AGREEMENT * primal:
        raise ArgumentError(
            "quantiles",
            "smooth and of laws with finite means",
            f"W1 = {primal:.6g} with an error of {error:.2g}",
            "draw samples, for wasserstein1",
        )
    dual, _ = _unit_integral(lambda s: float(-_zigzag(moved(s), knots).diff()))
    if not abs(abs(dual) - primal) <= _AGREEMENT * primal:  # so written that NaN is refused too
        raise ArgumentError(
            "crossings",
            "every point at which the two distribution functions cross, ascending",
            f"{crossings}, for which E f = {abs(dual):.6g} but W1 = {primal:.6g}",
            "solve F = G",
        )
    return LinePair(quantile_p, quantile_q, knots, math.copysign(1.0, dual), primal)


def _on(quantile: Quantile, levels: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    return torch.from_numpy(np.array(quantile(levels.numpy()), dtype=np.float64))


def _unit_integral(integrand: Callable[[float], float]) -> tuple[float, float]:
    """The integral over (0, 1), and an estimate of its error."""
    from scipy.integrate import quad

    with np.errstate(invalid="ignore"):  # ∞ − ∞ where the levels round to 1
        value, error, *_ = quad(integrand, 0, 1, limit=500, epsabs=1e-9, epsrel=1e-9, full_output=True)
    return value, error
