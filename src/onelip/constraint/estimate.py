"""Estimates of σ(W) = ⟨G, W⟩ that follow W, kept in tensors that are changed in place.

In training they follow by steps (follow.py). In eval mode every change is followed at once until the estimate
has converged, in tensors of its own: to look at a network does not change how it goes on to train. The
weight is compared with a copy, so that a change is noticed however it was made, through `.data` too.

random_direction: a fixed random unit vector among inputs. Some of it is fed to the steps, so that what u and
v are orthogonal to is found as well; power iterations go on from it where Aᵀ forgets u.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from onelip.constraint.stack import side_by_side, stacked
from onelip.constraint.tracking import Leading, converge, orthonormal
from onelip.linear.maps import LinearMap
from onelip.linear.power import start_vector

NO_REACH = -1.0  # any change counts, one whose square is zero too


class Slope(NamedTuple):
    """G of a weight at rest, for which σ(W) = ⟨G, W⟩."""

    slope: Tensor  # G, the gradient of ⟨u, A(W) v⟩, flattened
    seen: Tensor  # the weight that it was made for; NaN before the first
    is_zero: Tensor  # 1 where that weight is zero or not finite, else 0


class Estimate(NamedTuple):
    """What is known of σ in training: the vectors that hold it, and what follows from them."""

    u: Tensor  # the leading left vector
    pair: Tensor  # right vectors: the leading one, v, and one aside (tracking.py)
    slope: Tensor  # G, the gradient of ⟨u, A(W) v⟩, flattened
    seen: Tensor  # the weight of the last renewal; NaN before the first
    is_zero: Tensor  # 1 where that weight is zero or not finite, else 0
    reach: Tensor  # how far the weight may go, ‖W − seen‖, until u and v are renewed


def start_pair(map: LinearMap) -> Tensor:
    """Reproducible random directions to start from."""
    size = min(2, math.prod(map.in_shape))
    rows = torch.stack([start_vector(map, seed) for seed in range(size)]).flatten(1)
    exact = torch.promote_types(rows.dtype, torch.float32)
    return orthonormal(rows.to(exact)).to(rows).reshape(size, *map.in_shape)


@torch.no_grad()
def settle(
    map: LinearMap,
    weight: Tensor,
    estimate: Estimate,
    rest: Slope,
    random_direction: Tensor,
    tolerance: float,
) -> None:
    """Eval: make `rest` the converged slope of the weight, starting from `estimate`, which stays."""
    if torch.equal(weight, rest.seen):
        return
    leading = at_rest(map, weight, estimate.pair, random_direction, tolerance)
    rest.is_zero.fill_(leading is None)
    if leading is not None:
        exact = map.with_weight(weight.to(leading.u.dtype))
        rest.slope.copy_(slope_of(exact, leading.u, leading.pair[0]))
    rest.seen.copy_(weight)


@torch.inference_mode()
def at_rest(
    map: LinearMap, weight: Tensor, pair: Tensor, random_direction: Tensor, tolerance: float
) -> Leading | None:
    """The leading singular pair to a hundredth of the tolerance; None where the weight has no directions."""
    with without_autocast(weight.device):
        (scaled,) = safe([map.with_weight(weight)])
        if scaled is None:
            return None
        rows = pair.flatten(1)[None].to(scaled.map.weight)
        direction = random_direction.flatten()[None].to(scaled.map.weight)
        leading = converge(stacked([scaled.map]), rows, direction, tolerance / 100)
    return leading if leading.sigma[0] > 0 else None


class Scaled(NamedTuple):
    """A map in a format that is fine enough to iterate in, and what its weight was divided by."""

    map: LinearMap
    factor: float


def safe(maps: Sequence[LinearMap]) -> list[Scaled | None]:
    """Maps around their weights, scaled where squares would over- or underflow.

    None for a weight that is zero or not finite: it has no directions, and those that are there are kept.
    """
    exact = [map.weight.to(torch.promote_types(map.weight.dtype, torch.float32)) for map in maps]
    norms = numbers([torch.linalg.vector_norm(weight) for weight in exact])
    return [_scaled(*those) for those in zip(maps, exact, norms, strict=True)]


def _scaled(map: LinearMap, weight: Tensor, norm: float) -> Scaled | None:
    if 1e-9 < norm < 1e9:
        return Scaled(map if weight is map.weight else map.with_weight(weight), 1.0)
    largest = weight.abs().amax().item()
    return Scaled(map.with_weight(weight / largest), largest) if 0 < largest < math.inf else None


def numbers(scalars: Sequence[Tensor]) -> list[float]:
    """What tensors of one number hold, by one transfer."""
    return side_by_side(scalars).tolist() if scalars else []


def slope_of(map: LinearMap, u: Tensor, pair: Tensor) -> Tensor:
    """G for u and the leading row of the pair, in their format."""
    exact = torch.promote_types(u.dtype, torch.float32)
    u_row, v_row = u.reshape(1, *map.out_shape).to(exact), pair[:1].reshape(1, *map.in_shape).to(exact)
    with without_autocast(u.device):
        return map.weight_gradient(u_row, v_row).flatten().to(u.dtype)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A context without autocast; to ask first is quicker than to enter one."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def fingerprint(weight: Tensor) -> float:
    """A whole number below 2⁵² that follows from the bits of the weight and their places."""
    bits = weight.detach().cpu().contiguous().flatten().view(torch.uint8).long()
    place = torch.arange(1, len(bits) + 1) * 0x9E3779B1 % 2**31
    return float((bits * place).sum().item() % 2**52)
