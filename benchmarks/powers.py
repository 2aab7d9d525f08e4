"""Powers fitted to what grows: log y = log c + p·log x by least squares, and whether p exceeds theory's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from onelip.errors import ArgumentError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class PowerFit:
    """y ≈ constant · xᵖ. standard_error: of the exponent p. points: how many it was fitted to.

    last: the exponent between the two largest x alone, for a fit over small ones hides what starts
    to grow late.
    """

    exponent: float
    standard_error: float
    constant: float
    points: int
    last: float

    @property
    def half_width(self) -> float:
        """Of the exponent's 95 % interval, by Student's t with two degrees of freedom less than points."""
        return float(stats.t.ppf((1 + CONFIDENCE) / 2, self.points - 2)) * self.standard_error

    def exceeds(self, theory: float) -> bool:
        """Whether the whole interval lies above the exponent of theory."""
        return self.exponent - self.half_width > theory

    def at(self, x: float) -> float:
        """The fitted y at x."""
        return self.constant * x**self.exponent


def fit_power(x: Sequence[float], y: Sequence[float]) -> PowerFit:
    """The power of x that y grows with. Raises ArgumentError for fewer than three points or one not positive.

    >>> fit = fit_power([1, 2, 4, 8], [3, 12, 48, 192])
    >>> round(fit.exponent, 9), round(fit.constant, 9), fit.exceeds(2.1)
    (2.0, 3.0, False)
    """
    if len(x) != len(y) or len(x) < 3:
        raise ArgumentError("x and y", "as many, three at least", (len(x), len(y)), "measure at more sizes")
    if not all(0 < value < math.inf for value in (*x, *y)):
        raise ArgumentError("x and y", "positive and finite", (*x, *y), "leave out what has no logarithm")
    u, v = np.log(x), np.log(y)
    (slope, intercept), covariance = np.polyfit(u, v, 1, cov=True)
    return PowerFit(
        exponent=float(slope),
        standard_error=math.sqrt(float(covariance[0, 0])),
        constant=math.exp(float(intercept)),
        points=len(x),
        last=float((v[-1] - v[-2]) / (u[-1] - u[-2])),
    )
