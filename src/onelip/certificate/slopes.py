"""Slopes of activation functions: the smallest interval that holds (φ(a) − φ(b)) / (a − b).

Each interval is derived here, from closed forms or by an enclosure of φ' over cells, and none is
copied from a table. Activations are taken as the mathematical functions that torch evaluates: its
softplus is log(1 + eˣ), without the switch to the identity beyond its threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

Array = np.ndarray
_WIDEN = 1e-12  # far above the rounding of the elementary functions in the enclosures below


@dataclass(frozen=True)
class Slopes:
    """low ≤ (φ(a) − φ(b)) / (a − b) ≤ high for all a ≠ b.

    >>> leaky_relu(0.2), leaky_relu(0.2).lipschitz
    (Slopes(low=0.2, high=1.0), 1.0)
    """

    low: float
    high: float

    @property
    def lipschitz(self) -> float:
        return max(abs(self.low), abs(self.high))


# relu, tanh, softplus, clamp, softshrink, …: 0 ≤ φ' ≤ 1, 1 attained or approached.
ZERO_TO_ONE = Slopes(0.0, 1.0)
# abs, sin, cos: −1 ≤ φ' ≤ 1, both attained.
MINUS_ONE_TO_ONE = Slopes(-1.0, 1.0)
# s(1 − s) ≤ 1/4
SIGMOID = Slopes(0.0, 0.25)
# The function's slope is 1/6; what torch differentiates it to is 1/6 rounded to float32, 3e-8 above. The
# bound covers both, so that a Jacobian by autograd does not seem to exceed a certificate.
HARD_SIGMOID = Slopes(0.0, math.nextafter(1 / 6 * (1 + 2.0**-24), 1))
# (2x + 3)/6 on [−3, 3], 0 and 1 beyond
HARD_SWISH = Slopes(-0.5, 1.5)
# 2/√π · exp(−x²)
ERF = Slopes(0.0, math.nextafter(2 / math.sqrt(math.pi), 2))


def hull(*slopes: float) -> Slopes:
    """The interval spanned by the slopes of a piecewise function."""
    return Slopes(min(slopes), max(slopes))


def leaky_relu(negative_slope: float = 0.01) -> Slopes:
    return hull(1.0, negative_slope)


def elu(alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Slopes:
    """scale·x above zero; scale·α·(exp(input_scale·x) − 1) below, with slopes 0 to scale·α·input_scale."""
    left = scale * alpha * input_scale
    return hull(scale, 0.0, left - abs(left) * _WIDEN, left + abs(left) * _WIDEN)


def selu() -> Slopes:
    """elu with the constants of Klambauer et al. 2017, for which elu was made self-normalizing."""
    return elu(1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


@cache
def gelu() -> Slopes:
    """x Φ(x): φ'' = φ(x)(2 − x²) vanishes at ±√2, where Φ(x) + xφ(x) has its extrema."""
    root = math.sqrt(2)
    density = math.exp(-1) / math.sqrt(2 * math.pi)
    return _gate((1 + math.erf(1)) / 2 + root * density)


@cache
def silu() -> Slopes:
    """x σ(x): φ' = σ(x) + x·σ'(x), whose factors are monotone on x ≥ 0."""
    return _gate(_supremum(lambda a, b: _sigmoid(b) + b * _sigmoid(a) * _sigmoid(-a)))


@cache
def gelu_tanh() -> Slopes:
    """x(1 + tanh g)/2 with g = √(2/π)(x + 0.044715x³): φ' = (1 + tanh g)/2 + x g'/(2 cosh² g)."""
    k, c = math.sqrt(2 / math.pi), 0.044715

    def enclosure(a: Array, b: Array) -> Array:
        low, high = k * (a + c * a**3), k * (b + c * b**3)
        return (1 + np.tanh(high)) / 2 + b * k * (1 + 3 * c * b**2) / (2 * np.cosh(low) ** 2)

    return _gate(_supremum(enclosure))


@cache
def mish() -> Slopes:
    """x t with t = tanh(log(1 + eˣ)): φ' = t + xσ(x)(1 − t²).

    For x < 0 it lies in [−1/e, 1]: t ∈ [0, 1], and the other term is at least −|x|eˣ ≥ −1/e.
    """

    def enclosure(a: Array, b: Array) -> Array:
        return np.tanh(np.logaddexp(0, b)) + b * _sigmoid(b) / np.cosh(np.logaddexp(0, a)) ** 2

    return Slopes(-1 / math.e * (1 + _WIDEN), _supremum(enclosure))


def _gate(supremum: float) -> Slopes:
    """Slopes of x·S(x), S a sigmoid with S(x) + S(−x) = 1: there φ'(x) + φ'(−x) = 1, and φ' ≥ 0 on x ≥ 0."""
    supremum += _WIDEN
    return Slopes(1 - supremum, supremum)


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(x / 2))


_RADIUS = 20.0  # beyond it, each φ' above is within 1e-6 of 1: x·e^(1−x)-like terms decrease


def _supremum(enclosure: Callable[[Array, Array], Array], tolerance: float = 1e-9) -> float:
    """An upper bound on sup φ' over x ≥ 0, within `tolerance` of the supremum where that exceeds 1 + 1e-6.

    enclosure(a, b) ≥ φ'(x) for x in [a, b], with equality for a = b: cells that cannot hold the
    supremum are dropped, the others halved.
    """
    a = np.linspace(0, _RADIUS, 4097)[:-1]
    b = a + _RADIUS / 4096
    while True:
        upper = enclosure(a, b)
        known = enclosure(a, a).max()
        if upper.max() - known < tolerance:
            return max(float(upper.max()) + _WIDEN, 1 + 1e-6)
        keep = upper >= known
        a, b = a[keep], b[keep]
        middle = (a + b) / 2
        a, b = np.concatenate([a, middle]), np.concatenate([middle, b])
