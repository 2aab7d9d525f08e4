"""What an operator does to a difference of two inputs: the vocabulary in which rules answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from onelip.certificate.graph import Node
from onelip.certificate.slopes import Slopes
from onelip.errors import UnknownOperatorError
from onelip.linear.interval import NormInterval
from onelip.linear.maps import LinearMap


@dataclass(frozen=True)
class Effect:
    """axes: the axes of the input along which entries meet; no sample may meet another there."""

    axes: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Copies(Effect):
    """Every output entry is one entry of one input, or a constant.

    apply: the same on the tensors of `Node.inputs`, with zeros for the constants.
    """

    apply: Callable[..., Tensor]


@dataclass(frozen=True, kw_only=True)
class Scales(Effect):
    """x ↦ factor·x + constant, entry by entry, broadcasting either."""

    factor: Tensor


@dataclass(frozen=True, kw_only=True)
class Sums(Effect):
    """Σ weightᵢ·xᵢ + constant, broadcasting."""

    weights: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Linear(Effect):
    """A linear map and a constant. norm: of the map on one sample. map: its form, where it has a weight."""

    apply: Callable[[Tensor], Tensor]
    norm: NormInterval
    map: LinearMap | None = None


@dataclass(frozen=True, kw_only=True)
class Elementwise(Effect):
    """One function on every entry."""

    slopes: Slopes


@dataclass(frozen=True, kw_only=True)
class Lipschitz(Effect):
    """Any other function with a known constant, and why it has it."""

    constant: float
    why: str


@dataclass(frozen=True, kw_only=True)
class Unbounded(Effect):
    """No finite constant holds for all inputs, or none that is known; `why` goes into the certificate."""

    why: str


Rule = Callable[[Node], Effect]


def no_rule(
    what: str, remedy: str = "replace it by operators that have one, or certify the parts around it"
) -> UnknownOperatorError:
    """The error for what no rule answers for: where it stands, what it is given, and the way out.

    >>> raise no_rule("i0 in '1'")
    Traceback (most recent call last):
    onelip.errors.UnknownOperatorError: no sound rule for i0 in '1': replace it by ...
    """
    return UnknownOperatorError(f"no sound rule for {what}: {remedy}")


def up(x: float, roundings: int = 1) -> float:
    """x moved up past the rounding of the few operations that made it, among subnormal numbers too.

    >>> up(1.0) > 1.0, up(5e-324) > 5e-324, up(0.0)
    (True, True, 0.0)
    """
    return x * (1 + (roundings + 1) * 2.0**-52) + (roundings + 1) * 2.0**-1074 if 0 < x < math.inf else x


def times(a: float, b: float) -> float:
    """a·b from above, underflow included. Zero times infinity is zero: what forgets its input is constant.

    >>> times(0.0, math.inf), times(1e-200, 1e-200) > 0
    (0.0, True)
    """
    if a == 0 or b == 0:
        return 0.0
    if a == 1 or b == 1:
        return a * b
    return up(a * b) + 2.0**-1000


def root_sum_of_squares(values: list[float]) -> float:
    """√Σv² from above."""
    return values[0] if len(values) == 1 else up(math.hypot(*values), len(values) + 2)


def linear_part(effect: Effect, xs: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    """What a linear operator does to differences of its inputs; `shape` is that of its output.

    >>> linear_part(Sums(weights=(1.0, -2.0)), [torch.ones(1), torch.ones(1)], (1,))
    tensor([-1.])
    """
    match effect:
        case Copies():
            return effect.apply(*xs)
        case Scales():
            return (xs[0] * effect.factor).expand(shape)
        case Sums():
            terms = (weight * x for weight, x in zip(effect.weights, xs, strict=True))
            return sum(terms, start=torch.zeros(shape).to(xs[0]))
        case Linear():
            return effect.apply(xs[0])
        case _:
            raise AssertionError(f"{effect} is not linear")
