"""One constrained weight for all forwards that see the same weight, and its derivative.

D(real) and D(fake) of one step read the weight twice. The second read hands out what the first made, so that
it costs a comparison, and backward passes through the constraint once for both.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        """What `divide` made, where it is still right: the quotient shows edits through `.data`."""
        last = self.last
        if last is None or not self.fits(weight, training):
            return None
        return last.made if torch.equal(divided(weight.detach(), last.level), last.made.detach()) else None

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


class Part(NamedTuple):
    """A weight to divide, and where to keep what is made of it."""

    shared: Shared
    weight: Tensor
    training: bool
    division: Division


def divide(parts: Sequence[Part]) -> list[Tensor]:
    """division(weight) of each, by one node of the graph; kept to be handed out again."""
    raws = [part.division.raw_level(part.weight.detach()) for part in parts]
    divisions = [part.division for part in parts]
    made: Any = _Divide.apply(divisions, raws, *(part.weight for part in parts))
    for part, raw, quotient in zip(parts, raws, made, strict=True):
        shared, weight, training, division = part
        shared.last = HandedOut(weight, weight._version, training, division.level(raw), quotient)
    return list(made)


class _Divide(torch.autograd.Function):
    """Divisions of weights, by a node that keeps its numbers after a backward, for that of the next forward.

    They are no saved tensors, which a backward frees and checkpointing counts.
    """

    @staticmethod
    def forward(ctx: Any, divisions: list[Division], raws: list[Tensor], *weights: Tensor) -> Any:
        ctx.divisions, ctx.raws, ctx.weights = divisions, raws, weights
        ctx.versions = [weight._version for weight in weights]
        ctx.set_materialize_grads(False)
        triples = zip(weights, divisions, raws, strict=True)
        made = tuple(divided(weight, division.level(raw)) for weight, division, raw in triples)
        frozen = (out for out, needed in zip(made, ctx.needs_input_grad[2:], strict=True) if not needed)
        ctx.mark_non_differentiable(*frozen)
        return made

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        lists = grad_outputs, ctx.weights, ctx.versions, ctx.divisions, ctx.raws
        return None, None, *(_gradient(*those) for those in zip(*lists, strict=True))


def _gradient(g: Tensor | None, weight: Tensor, version: int, division: Division, raw: Tensor) -> Any:
    """dW = (g − ⟨g, W⟩ / (level · target) · G) / level; without the second term where soft holds."""
    if g is None:
        return None
    if weight._version != version:
        raise RuntimeError(CHANGED.format(now=weight._version, then=version))
    if torch.is_grad_enabled():
        raw = division.raw_level(weight)
    level = division.level(raw)
    g, W = single(g), single(weight)
    along = torch.dot(g.flatten(), W.flatten()) / (level * division.target)
    if division.soft:
        along = along * (raw >= 1)
    rest = torch.addcmul(g, single(division.slope).view_as(g), along, value=-1)
    # In place where nothing is differentiated once more: large weights cost what they move through memory.
    return (rest / level if torch.is_grad_enabled() else rest.div_(level)).to(weight.dtype)
