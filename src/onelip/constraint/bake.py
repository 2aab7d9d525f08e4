"""Replace constraints by plain weights whose norm is proved to be at most the target."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from onelip.constraint.checkpoints import forget_foreign_checkpoints
from onelip.constraint.describe import Constraint, constraint_of
from onelip.constraint.pickling import parametrizations
from onelip.constraint.together import forget
from onelip.errors import ArgumentError
from onelip.linear.autocast import without_autocast
from onelip.linear.layers import current_weight, plain_class
from onelip.linear.norm import operator_norm

M = TypeVar("M", bound=nn.Module)
ATTEMPTS = 10


@torch.no_grad()
@without_autocast()
def bake(module: M) -> M:
    """A plain copy of `module`: no constraint of ours in it, every norm at most its target, and proved so.

    Each weight is the one used in eval mode, divided by the upper end of its interval over the target; if
    only a bound was asked for (soft, orthogonal) it is left as it is where that holds already. Outputs move
    by what the intervals are wide. What is frozen stays so. Raises ArgumentError for kind
    "spectral-reshaped", which bounds no operator, and for a target that is too small for the format of the
    weights.

    >>> from onelip.constraint.apply import constrain
    >>> plain = bake(constrain(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), "spectral"))
    >>> type(plain[0]).__name__, operator_norm(plain[0]).upper <= 1
    ('Linear', True)
    """
    module = copy.deepcopy(module)
    baked: dict[tuple[int, int], nn.Parameter] = {}
    for name, layer in list(module.named_modules()):
        constraint = constraint_of(layer)
        if constraint is None:
            continue
        if constraint.kind == "spectral-reshaped":
            raise ArgumentError(
                f"the constraint on {name!r}",
                "of kind 'spectral' or 'orthogonal'",
                "spectral-reshaped",
                "use torch.nn.utils.parametrize.remove_parametrizations to keep the weights as they are",
            )
        original = next(parametrizations(layer)["weight"].parameters())
        weight = _strip(layer)
        key = id(original), id(constraint)
        layer.register_parameter("weight", baked.setdefault(key, weight))
        _shrink(name, layer, constraint)
    forget(module)
    return module


def _strip(layer: nn.Module) -> nn.Parameter:
    """Take the constraint off a layer of a copy; the class of the parametrized original stays as it is."""
    originals = parametrizations(layer)["weight"].parameters()
    weight = nn.Parameter(current_weight(layer), any(p.requires_grad for p in originals))
    others = [name for name in parametrizations(layer) if name != "weight"]
    if others:
        raise ArgumentError("module", "constrained in weights alone", others, "remove these parametrizations")
    layer.__class__ = plain_class(layer)
    del layer.parametrizations
    forget_foreign_checkpoints(layer)
    return weight


def _shrink(name: str, layer: nn.Module, constraint: Constraint) -> None:
    """Scale the weight until the proof holds for the numbers that rounding leaves, too."""
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    for attempt in range(ATTEMPTS):
        upper = operator_norm(layer, constraint.in_shape, name=name).upper
        if upper == 0 or (upper <= constraint.target and (attempt > 0 or constraint.soft)):
            return
        weight.mul_(constraint.target / upper * (1 - 4 * torch.finfo(weight.dtype).eps))
    # The smallest numbers of a format no longer scale.
    requirement, remedy = f"one that weights of {weight.dtype} can meet", "call module.float() before"
    raise ArgumentError(f"the target of {name or 'module'}", requirement, constraint.target, remedy)
