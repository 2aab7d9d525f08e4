"""`follow` of one map and `settle` as operators that torch.compile takes whole.

How often they iterate depends on the weight, which a graph cannot hold. An operator's arguments are tensors
and plain values, so that a map travels as the integers that describe its geometry. What comes back are
copies, for backward: at its end a graph writes over what its operators may change, changed or not.
"""

from itertools import chain
from typing import Any

import torch
from torch import Tensor

from onelip.constraint.estimate import Estimate, Slope, settle
from onelip.constraint.follow import Followed, follow
from onelip.constraint.patches import on_patches
from onelip.constraint.reshaped import Reshaped
from onelip.linear.maps import Convolution, Dense, LinearMap

_TAGS = (torch.Tag.cudagraph_unsafe,)


@torch.library.custom_op(
    "onelip::follow", mutates_args=("u", "pair", "slope", "seen", "is_zero", "reach"), tags=_TAGS
)
def follow_operator(
    weight: Tensor,
    u: Tensor,
    pair: Tensor,
    slope: Tensor,
    seen: Tensor,
    is_zero: Tensor,
    reach: Tensor,
    random_direction: Tensor,
    tolerance: float,
    iterations: int,
    geometry: list[int],
    padding_mode: str,
) -> tuple[Tensor, Tensor]:
    """follow.follow, and copies of slope and is_zero; 0 iterations stand for None."""
    estimate = Estimate(u, pair, slope, seen, is_zero, reach)
    map = on_patches(decode(weight, geometry, padding_mode))
    (renewed,) = follow([Followed(map, weight, estimate, random_direction)], tolerance, iterations or None)
    if renewed is not None:
        slope.copy_(renewed)
    return slope.clone(), is_zero.clone()


@torch.library.custom_op(
    "onelip::settle", mutates_args=("slope_at_rest", "seen_at_rest", "is_zero_at_rest"), tags=_TAGS
)
def settle_operator(
    weight: Tensor,
    u: Tensor,
    pair: Tensor,
    slope: Tensor,
    seen: Tensor,
    is_zero: Tensor,
    reach: Tensor,
    slope_at_rest: Tensor,
    seen_at_rest: Tensor,
    is_zero_at_rest: Tensor,
    random_direction: Tensor,
    tolerance: float,
    geometry: list[int],
    padding_mode: str,
) -> tuple[Tensor, Tensor]:
    """estimate.settle, and copies of slope and is_zero."""
    estimate, rest = (
        Estimate(u, pair, slope, seen, is_zero, reach),
        Slope(slope_at_rest, seen_at_rest, is_zero_at_rest),
    )
    settle(
        on_patches(decode(weight, geometry, padding_mode)),
        weight,
        estimate,
        rest,
        random_direction,
        tolerance,
    )
    return slope_at_rest.clone(), is_zero_at_rest.clone()


@follow_operator.register_fake
@settle_operator.register_fake
def _like_the_weight(weight: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return weight.new_empty(weight.numel()), weight.new_empty(())


def encode(map: LinearMap) -> tuple[list[int], str]:
    """The geometry of a map as integers, and its padding mode; "dense" and "reshaped" are the two others.

    >>> encode(Dense(torch.zeros(2, 3)))
    ([], 'dense')
    """
    if isinstance(map, Dense):
        return [], "dense"
    if isinstance(map, Reshaped):
        return [map.axis], "reshaped"
    assert isinstance(map, Convolution), type(map)
    output_padding = map.output_padding or (0,) * len(map.space)
    axes = zip(map.space, map.stride, map.padding, map.dilation, output_padding, strict=True)
    per_axis = ([n, s, before, after, d, extra] for n, s, (before, after), d, extra in axes)
    return [map.groups, int(map.transposed), *chain.from_iterable(per_axis)], map.padding_mode


def decode(weight: Tensor, geometry: list[int], padding_mode: Any) -> LinearMap:
    """The map that `encode` described, around `weight`."""
    if padding_mode == "dense":
        return Dense(weight)
    if padding_mode == "reshaped":
        return Reshaped(weight, *geometry)
    groups, transposed, *per_axis = geometry
    n, s, before, after, d, extra = (tuple(per_axis[i::6]) for i in range(6))
    padding = tuple(zip(before, after, strict=True))
    return Convolution(weight, n, s, padding, padding_mode, d, groups, bool(transposed), extra)
