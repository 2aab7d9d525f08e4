"""Estimates of σ(W) = ⟨G, W⟩ that follow W, kept in tensors that are changed in place.

In training u and v are kept until W has gone further than their reach, because ⟨G, W⟩ follows all that
happens along u and v. The next estimate shows how much was missed meanwhile: the reach is halved where that
was too much, doubled where it was little. In eval mode every change is followed at once until the estimate
has converged, in tensors of its own: to look at a network does not change how it goes on to train. The
weight is compared with a copy, so that a change is noticed however it was made, through `.data` too.

random_direction: a fixed random unit vector among inputs. Some of it is fed to the steps, so that what u and
v are orthogonal to is found as well; power iterations go on from it where Aᵀ forgets u.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from onelip.constraint.tracking import (
    CURIOSITY,
    Leading,
    converge,
    direction_of_change,
    krylov_step,
    orthonormal,
)
from onelip.linear.maps import LinearMap
from onelip.linear.power import normalize, start_vector

FAST = 10  # a change beyond this, in units of tolerance · σ, is looked into for itself
MAX_POWERS = 8  # for one change of the weight
SHORTEST_REACH, LONGEST_REACH = 0.2, 3.0  # in units of tolerance · σ
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


def follow(
    map: LinearMap,
    weight: Tensor,
    estimate: Estimate,
    random_direction: Tensor,
    tolerance: float,
    iterations: int | None,
) -> None:
    """Training: bring `estimate` up to date with the weight, which is detached."""
    drift, reach = torch.dist(weight, estimate.seen).item(), estimate.reach.item()
    if drift <= reach or (reach < 0 and torch.equal(weight, estimate.seen)):
        return
    with torch.inference_mode(), torch.autocast(weight.device.type, enabled=False):
        scaled = _safe(map, weight)
        if scaled is None:
            estimate.is_zero.fill_(1)
        elif iterations is not None and not math.isnan(drift):  # few would not do from no weight's u
            _take(scaled.map, _iterate(scaled.map, estimate, random_direction, iterations), estimate)
        else:
            _renew(scaled, estimate, random_direction, drift / scaled.factor, tolerance)
        if scaled is None or scaled.factor != 1 or iterations is not None:
            estimate.reach.fill_(NO_REACH)
        estimate.seen.copy_(weight)


def _renew(
    scaled: Scaled, estimate: Estimate, random_direction: Tensor, drift: float, tolerance: float
) -> None:
    map, W = scaled.map, scaled.map.weight
    before = torch.dot(estimate.slope.to(W), W.flatten()).item()
    pair, random_direction = estimate.pair.to(W), random_direction.to(W)
    if not drift <= before:  # another weight, or one after NaN
        leading = converge(map, pair, random_direction, tolerance / 5)
    elif drift > FAST * tolerance * before:
        change = torch.sub(W, estimate.seen.to(W), alpha=1 / scaled.factor)
        feed = 0.1 * direction_of_change(map, change, random_direction)
        leading = krylov_step(map, pair, feed, before, tolerance / 5, (4, MAX_POWERS))
    else:
        leading = krylov_step(map, pair, CURIOSITY * random_direction, before, tolerance / 5, (1, MAX_POWERS))
    _take(map, leading, estimate)
    missed = leading.sigma / before - 1 if before > 0 else math.inf
    stretch = 0.5 if missed > tolerance else 2.0 if missed < tolerance / 4 else 1.0
    unit = tolerance * leading.sigma * scaled.factor
    reach = stretch * estimate.reach.item()
    # An infinite one, in half precision, would end all renewals.
    longest = min(LONGEST_REACH * unit, torch.finfo(estimate.reach.dtype).max)
    estimate.reach.fill_(min(max(reach, SHORTEST_REACH * unit), longest))


def _take(map: LinearMap, leading: Leading, estimate: Estimate) -> None:
    estimate.is_zero.fill_(leading.sigma == 0)
    if leading.sigma == 0:
        return
    estimate.u.copy_(leading.u)
    estimate.pair[: len(leading.pair)].copy_(leading.pair)
    # From what is kept, not from `leading`: a run that is continued makes it anew, and of the same bits.
    estimate.slope.copy_(slope_of(map, map.weight, estimate.u, estimate.pair))


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
        rest.slope.copy_(slope_of(map, weight, leading.u, leading.pair))
    rest.seen.copy_(weight)


@torch.inference_mode()
def at_rest(
    map: LinearMap, weight: Tensor, pair: Tensor, random_direction: Tensor, tolerance: float
) -> Leading | None:
    """The leading singular pair to a hundredth of the tolerance; None where the weight has no directions."""
    with torch.autocast(weight.device.type, enabled=False):
        scaled = _safe(map, weight)
        if scaled is None:
            return None
        leading = converge(
            scaled.map, pair.to(scaled.map.weight), random_direction.to(scaled.map.weight), tolerance / 100
        )
    return leading if leading.sigma > 0 else None


def _iterate(map: LinearMap, estimate: Estimate, random_direction: Tensor, iterations: int) -> Leading:
    """Power iterations from u, as in Miyato et al. 2018, algorithm 1."""
    u, v, sigma = estimate.u[None].to(map.weight), estimate.pair[:1].to(map.weight), 0.0
    for _ in range(iterations):
        v = normalize(map.adjoint(u), otherwise=random_direction[None].to(v))
        Av = map.apply(v)
        sigma = torch.linalg.vector_norm(Av).item()
        u = Av / sigma if sigma > 0 else Av
    return Leading(sigma, u[0], v)


class Scaled(NamedTuple):
    """A map in a format that is fine enough to iterate in, and what its weight was divided by."""

    map: LinearMap
    factor: float


def _safe(map: LinearMap, weight: Tensor) -> Scaled | None:
    """The map around the weight, scaled where squares would over- or underflow.

    None for a weight that is zero or not finite: it has no directions, and those that are there are kept.
    """
    weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
    if 1e-9 < torch.linalg.vector_norm(weight).item() < 1e9:
        return Scaled(map.with_weight(weight), 1.0)
    largest = weight.abs().amax().item()
    return Scaled(map.with_weight(weight / largest), largest) if 0 < largest < math.inf else None


def slope_of(map: LinearMap, weight: Tensor, u: Tensor, pair: Tensor) -> Tensor:
    """G for u and the leading row of the pair."""
    exact = torch.promote_types(u.dtype, torch.float32)
    with torch.autocast(u.device.type, enabled=False):
        map = map.with_weight(weight.to(exact))
        return map.weight_gradient(u[None].to(exact), pair[:1].to(exact)).flatten()


def fingerprint(weight: Tensor) -> float:
    """A whole number below 2⁵² that follows from the bits of the weight and their places."""
    bits = weight.detach().cpu().contiguous().flatten().view(torch.uint8).long()
    place = torch.arange(1, len(bits) + 1) * 0x9E3779B1 % 2**31
    return float((bits * place).sum().item() % 2**52)
