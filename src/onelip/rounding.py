"""Decimal rounding in which a bound stays a bound."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context
from typing import Literal

Bound = Literal["lower", "upper", ""]
_ROUNDING = {"lower": ROUND_FLOOR, "upper": ROUND_CEILING, "": ROUND_HALF_EVEN}


def rounded(value: float, digits: int, bound: Bound = "") -> float:
    """To so many significant digits; a bound in its own direction.

    >>> rounded(1.234567, 5), rounded(1.234567, 5, "lower"), rounded(1.00001, 3, "upper")
    (1.2346, 1.2345, 1.01)
    """
    context = Context(prec=digits, rounding=_ROUNDING[bound])
    return float(context.create_decimal_from_float(float(value)))


def decimal(value: float, digits: int, bound: Bound = "") -> str:
    """A number as it is printed, with so many significant digits at most; a bound is still one.

    >>> decimal(1.0000004, 6), decimal(1.0000004, 6, "upper"), decimal(float("inf"), 6, "upper")
    ('1', '1.00001', 'inf')
    """
    return f"{rounded(value, digits, bound):.{digits}g}"
