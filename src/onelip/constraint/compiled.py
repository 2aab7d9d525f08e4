"""`follow` and `settle` as operators that torch.compile takes whole.

How often they iterate depends on the weight, which a graph cannot hold. An operator's arguments are tensors
and plain values, so that a map travels as the integers that describe its geometry. What comes back is a copy
of the slope, for backward: at its end a graph writes over what its operators may change, changed or not.
"""

from itertools import chain
from typing import Any

import torch
from torch import Tensor

from onelip.constraint.estimate import Estimate, Slope, follow, settle
from onelip.constraint.reshaped import Reshaped
from onelip.linear.maps import Convolution, Dense, LinearMap

_TAGS = (torch.Tag.cudagraph_unsafe,)


@torch.library.custom_op("onelip::follow", mutates_args=("u", "basis", "slope", "seen", "pace"), tags=_TAGS)
def follow_operator(
    weight: Tensor,
    u: Tensor,
    basis: Tensor,
    slope: Tensor,
    seen: Tensor,
    pace: Tensor,
    tolerance: float,
    iterations: int,
    geometry: list[int],
    padding_mode: str,
) -> Tensor:
    """estimate.follow, and a copy of the slope; 0 iterations stand for None."""
    estimate = Estimate(u, basis, slope, seen, pace)
    follow(decode(weight, geometry, padding_mode), estimate, tolerance, iterations or None)
    return slope.clone()


@torch.library.custom_op("onelip::settle", mutates_args=("slope_at_rest", "seen_at_rest"), tags=_TAGS)
def settle_operator(
    weight: Tensor,
    u: Tensor,
    basis: Tensor,
    slope: Tensor,
    seen: Tensor,
    pace: Tensor,
    slope_at_rest: Tensor,
    seen_at_rest: Tensor,
    tolerance: float,
    geometry: list[int],
    padding_mode: str,
) -> Tensor:
    """estimate.settle, and a copy of the slope."""
    estimate, rest = Estimate(u, basis, slope, seen, pace), Slope(slope_at_rest, seen_at_rest)
    settle(decode(weight, geometry, padding_mode), estimate, rest, tolerance)
    return slope_at_rest.clone()


@follow_operator.register_fake
@settle_operator.register_fake
def _like_the_weight(weight: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(weight)


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
