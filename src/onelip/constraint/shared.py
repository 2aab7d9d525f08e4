"""One constrained weight for all forwards that see the same weight, and its derivative.

D(real) and D(fake) of one step read the weight twice. The second read hands out what the first made, so that
it costs a comparison, and backward passes through the constraint once for both.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

CHANGED = (
    "one of the variables needed for gradient computation has been modified by an inplace operation: the "
    "weight of a constrained layer is at version {now}; expected version {then} instead. Call backward "
    "before the weight changes"
)


class Division(NamedTuple):
    """W ↦ W / level(W), level(W) = is_zero + ⟨G, W⟩ / target, if soft at least 1; slope is G, flattened.

    The level is a number of single precision at least: half's largest is 65504.
    """

    slope: Tensor
    is_zero: Tensor
    target: float
    soft: bool

    def raw_level(self, weight: Tensor) -> Tensor:
        """The level before what `soft` makes of it."""
        sigma = torch.dot(single(self.slope), single(weight).flatten())
        return torch.add(self.is_zero, sigma, alpha=1 / self.target)

    def level(self, raw: Tensor) -> Tensor:
        return raw.clamp_min(1) if self.soft else raw

    def __call__(self, weight: Tensor) -> Tensor:
        return divided(weight, self.level(self.raw_level(weight)))


def single(x: Tensor) -> Tensor:
    """x in single precision where it has less."""
    return x.float() if x.dtype.itemsize < 4 else x


def divided(weight: Tensor, level: Tensor) -> Tensor:
    """weight / level in the weight's format, which need not hold the level."""
    return (single(weight) / level).to(weight.dtype) if weight.dtype.itemsize < 4 else weight / level


class HandedOut(NamedTuple):
    """What was made of a weight, and of which."""

    weight: Tensor
    version: int  # of the weight, which torch counts up with each edit in place
    training: bool
    level: Tensor  # what the weight was divided by
    made: Tensor


class Shared:
    """Holds what was handed out last: one tensor, and the node of the graph that made it.

    A copy, or what pickle brings back, holds nothing.
    """

    def __init__(self) -> None:
        self.last: HandedOut | None = None

    def __reduce__(self) -> tuple[type[Shared], tuple[()]]:
        return Shared, ()

    def fits(self, weight: Tensor, training: bool) -> bool:
        """Whether what is held was made of this weight, as far as can be told without looking at numbers."""
        last = self.last
        if last is None:
            return False
        differentiable = weight.requires_grad and torch.is_grad_enabled()
        same = last.weight is weight and last.version == weight._version
        return same and last.training == training and last.made.requires_grad == differentiable

    def get(self, weight: Tensor, training: bool) -> Tensor | None:
        """What `put` made, where it is still right: the quotient shows edits through `.data`, of either."""
        last = self.last
        if last is None or not self.fits(weight, training):
            return None
        return last.made if torch.equal(divided(weight.detach(), last.level), last.made.detach()) else None

    def put(self, weight: Tensor, training: bool, division: Division) -> Tensor:
        """division(weight), kept to be handed out again."""
        raw = division.raw_level(weight.detach())
        made: Any = _Divide.apply(weight, raw, division)
        self.last = HandedOut(weight, weight._version, training, division.level(raw), made)
        return made

    def drop(self) -> None:
        self.last = None


def shareable(weight: Tensor) -> bool:
    """Whether a later read can use what is made of this weight now: no transform, trace or inference."""
    return (
        type(weight) is nn.Parameter
        and not torch.compiler.is_compiling()
        and not torch._C._is_tracing()
        and not torch.is_inference_mode_enabled()
        and not torch._C._are_functorch_transforms_active()
    )


class _Divide(torch.autograd.Function):
    """division(weight), by a node that keeps its numbers after a backward, for that of the next forward.

    They are no saved tensors, which a backward frees and checkpointing counts.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, raw: Tensor, division: Division) -> Tensor:
        ctx.weight, ctx.version, ctx.raw, ctx.division = weight, weight._version, raw, division
        return divided(weight, division.level(raw))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """dW = (g − ⟨g, W⟩ / (level · target) · G) / level; without the second term where soft holds."""
        (g,), weight, division = grad_outputs, ctx.weight, ctx.division
        if weight._version != ctx.version:
            raise RuntimeError(CHANGED.format(now=weight._version, then=ctx.version))
        raw = division.raw_level(weight) if torch.is_grad_enabled() else ctx.raw
        level = division.level(raw)
        g, weight, slope = single(g), single(weight), single(division.slope)
        along = torch.dot(g.flatten(), weight.flatten()) / (level * division.target)
        if division.soft:
            along = along * (raw >= 1)
        return ((g - along * slope.view_as(g)) / level).to(ctx.weight.dtype), None, None
