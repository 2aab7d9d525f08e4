"""Neighbouring linear operators as one map: padding before a convolution, scaling behind a linear layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from onelip.certificate.effects import Linear, Scales, up
from onelip.certificate.graph import Node
from onelip.certificate.nodes import argument
from onelip.linear.cholesky import U
from onelip.linear.maps import Convolution, LinearMap, PaddingMode

_MODES: dict[str, PaddingMode] = {
    "constant": "zeros",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}


@dataclass(frozen=True, eq=False)
class Fused:
    """A node as one map of an earlier node. error: the map's distance from the exact one, in the 2-norm."""

    map: LinearMap
    source: Node
    error: float = 0.0


def with_padding(node: Node, effect: Linear) -> Fused | None:
    """A linear layer with a weight, and the padding before it taken in where there is one."""
    (u,) = node.inputs
    if effect.map is None:
        return None
    alone = Fused(effect.map, u)
    if not isinstance(effect.map, Convolution) or u.operator != "pad" or len(u.inputs) != 1:
        return alone
    widths, mode = argument(u, "pad"), _MODES[argument(u, "mode")]
    unpadded = all(side == 0 for pair in effect.map.padding for side in pair)
    cut = any(width < 0 for width in widths)
    if effect.map.transposed or not unpadded or len(widths) > 2 * len(effect.map.space) or cut:
        return alone
    return Fused(_padded(effect.map, u.inputs[0].shape[2:], list(widths), mode), u.inputs[0])


def _padded(map: Convolution, space: tuple[int, ...], widths: list[int], mode: PaddingMode) -> Convolution:
    widths = widths + [0] * (2 * len(space) - len(widths))
    pairs = [(widths[i], widths[i + 1]) for i in range(0, len(widths), 2)]
    return replace(map, space=space, padding=tuple(reversed(pairs)), padding_mode=mode)


def with_scaling(before: Fused | None, node: Node, effect: Scales) -> Fused | None:
    """A fused map followed by one factor an output channel: the weight takes the factors in.

    None where the multiplication also copies entries, which no factor of a weight does.
    """
    if before is None or node.shape != node.inputs[0].shape:
        return None
    factors = _per_channel(before.map, node, effect.factor)
    if factors is None:
        return None
    weight = before.map.weight
    if _smallest(weight) * _smallest(factors) < torch.finfo(weight.dtype).tiny:
        return None  # what underflows is lost beyond the error that is allowed for
    transposed = isinstance(before.map, Convolution) and before.map.transposed
    scaled = before.map.with_weight(
        _scale_inputs_first(weight, factors) if transposed else weight * _column(factors, weight)
    )
    if not scaled.weight.isfinite().all():
        return None
    size = factors.abs().max().item()
    return Fused(scaled, before.source, up(before.error * size + 8 * U * _norm_of_absolutes(scaled), 8))


def _smallest(numbers: Tensor) -> float:
    """Of the magnitudes that are not zero."""
    return numbers.abs()[numbers != 0].min().item() if bool((numbers != 0).any()) else 1.0


def _per_channel(map: LinearMap, node: Node, factor: Tensor) -> Tensor | None:
    """The factor of each output channel, or None where it varies otherwise."""
    channel = 1 if isinstance(map, Convolution) else len(node.shape) - 1
    whole = factor.expand(node.shape).movedim(channel, 0).flatten(1)
    return whole[:, 0] if bool((whole == whole[:, :1]).all()) else None


def _column(factors: Tensor, weight: Tensor) -> Tensor:
    return factors.reshape(-1, *[1] * (weight.ndim - 1))


def _scale_inputs_first(weight: Tensor, factors: Tensor) -> Tensor:
    """A transposed weight is [in, out/groups, *kernel]: each group of inputs has its own factors."""
    per_group = factors.reshape(-1, weight.shape[1])
    rows = per_group.repeat_interleave(weight.shape[0] // len(per_group), dim=0)
    return weight * rows.reshape(*rows.shape, *[1] * (weight.ndim - 2))


def _norm_of_absolutes(map: LinearMap) -> float:
    """A crude bound on the norm of the map with |W| for W: it multiplies one unit of rounding."""
    frobenius = up(map.weight.norm().item(), map.weight.numel())
    if not isinstance(map, Convolution):
        return frobenius
    copied = 1 if map.padding_mode == "zeros" else math.prod(map.padded_space)
    return frobenius * math.sqrt(math.prod(cast(tuple[int, ...], map.kernel)) * copied)
