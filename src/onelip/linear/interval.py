"""A lower and an upper bound on one number, each sound in its direction."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onelip.rounding import decimal


@dataclass(frozen=True)
class NormInterval:
    """lower ≤ ‖A‖₂ ≤ upper, how the upper bound was proved, and how many steps the lower one took.

    >>> interval = NormInterval(1.0, 1.001, method="cholesky", steps=12)
    >>> 1.0005 in interval, f"{interval.relative_width:.1e}"
    (True, '1.0e-03')
    >>> print(interval)
    1 … 1.001
    """

    lower: float
    upper: float
    method: str
    steps: int = 0

    def __post_init__(self) -> None:
        assert 0 <= self.lower <= self.upper, f"not an interval: [{self.lower}, {self.upper}]"

    def __contains__(self, value: float) -> bool:
        return self.lower <= value <= self.upper

    def __str__(self) -> str:
        """Both bounds rounded outward; the upper one alone where nothing is known from below."""
        upper = decimal(self.upper, 5, "upper")
        return f"≤ {upper}" if self.lower == 0 else f"{decimal(self.lower, 5, 'lower')} … {upper}"

    @property
    def relative_width(self) -> float:
        """(upper − lower) / lower; zero for the zero map, infinite where nothing is known from below."""
        if self.upper == self.lower:
            return 0.0
        return (self.upper - self.lower) / self.lower if self.lower > 0 else math.inf

    def scale(self, factor: float) -> NormInterval:
        """The interval of |factor|·A, rounded outward by one unit in the last place.

        >>> NormInterval(1.0, 2.0, "given").scale(0.5).upper >= 1.0
        True
        """
        factor = abs(factor)
        lower, upper = (
            (0.0, 0.0)
            if factor == 0
            else (
                max(0.0, math.nextafter(self.lower * factor, -math.inf)),
                math.nextafter(self.upper * factor, math.inf),
            )
        )
        return NormInterval(lower, upper, self.method, self.steps)
