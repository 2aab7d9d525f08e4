"""Training: estimates of σ that follow weights which move a little with every step.

u and v are kept until W has gone further than their reach, because ⟨G, W⟩ follows all that happens along u
and v. The next estimate shows how much was missed meanwhile: the reach is halved where that was too much,
doubled where it was little. Layers of one geometry are followed together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple

import torch
from torch import Tensor

from onelip.constraint.estimate import NO_REACH, Estimate, numbers, safe, slope_of, without_autocast
from onelip.constraint.stack import Stack, side_by_side, stacked
from onelip.constraint.tracking import CURIOSITY, Leading, converge, direction_of_change, krylov_step
from onelip.linear.maps import LinearMap
from onelip.linear.power import normalize

FAST = 10  # a change beyond this, in units of tolerance · σ, is looked into for itself
MAX_POWERS = 8  # for one change of the weight
SHORTEST_REACH, LONGEST_REACH = 0.2, 3.0  # in units of tolerance · σ


class Followed(NamedTuple):
    """The estimate of a map's norm, and the weight to bring it up to date with, detached."""

    map: LinearMap
    weight: Tensor
    estimate: Estimate
    random_direction: Tensor


class Moved(NamedTuple):
    """One whose weight went further than its reach."""

    place: int  # among those that are followed
    map: LinearMap  # around the weight over factor (`safe`)
    factor: float
    drift: float  # how far it went, over factor
    sigma: float  # what the estimate makes of the map until now; 0 where nobody asks
    estimate: Estimate
    random_direction: Tensor


class Pace(Enum):
    """How far a weight went, which decides how σ is sought."""

    ITERATE = auto()  # a fixed number of power iterations, however far
    SLOW = auto()
    FAST = auto()
    JUMP = auto()  # another weight, or one after NaN


def follow(those: Sequence[Followed], tolerance: float, iterations: int | None) -> list[Tensor | None]:
    """Bring estimates up to date: of one map, or of maps alike in geometry (`likeness`) and format.

    All is changed in place but G, which a backward may still need: the new one is returned, None where the
    old one goes on.
    """
    slopes: list[Tensor | None] = [None] * len(those)
    drifts = _out_of_reach(those)
    if not drifts:
        return slopes
    device, renewed = those[0].weight.device, []
    with torch.inference_mode(), without_autocast(device):
        batches: dict[Pace, list[Moved]] = {}
        for one in _moved(those, drifts, with_sigma=iterations is None):
            batches.setdefault(_pace(one, tolerance, iterations), []).append(one)
        for pace, batch in batches.items():
            leading = _seek(pace, batch, tolerance, iterations)
            for one, sigma, u, pair in zip(batch, *leading, strict=True):
                one.estimate.is_zero.fill_(sigma == 0)
                if sigma > 0:
                    one.estimate.u.copy_(u.view_as(one.estimate.u))
                    one.estimate.pair[: len(pair)].copy_(pair.reshape(-1, *one.map.in_shape))
                    renewed.append(one)
                by_reach = iterations is None and one.factor == 1
                one.estimate.reach.fill_(_next_reach(one, sigma, tolerance) if by_reach else NO_REACH)
        for place in drifts:
            those[place].estimate.seen.copy_(those[place].weight)
    # From what is kept, not from what was found: a run that is continued makes it anew, and of the same bits.
    for one in renewed:
        slopes[one.place] = slope_of(one.map, one.estimate.u, one.estimate.pair)
    return slopes


def _out_of_reach(those: Sequence[Followed]) -> dict[int, float]:
    """The places of those whose weight went further than the reach, and how far."""
    drifts = numbers([torch.dist(one.weight, one.estimate.seen) for one in those])
    reaches = numbers([one.estimate.reach for one in those])
    gone = {}
    for place, (one, drift, reach) in enumerate(zip(those, drifts, reaches, strict=True)):
        # The square of a small change may be zero.
        same = reach < 0 and not drift > 0 and torch.equal(one.weight, one.estimate.seen)
        if not (drift <= reach or same):
            gone[place] = drift
    return gone


def _moved(those: Sequence[Followed], drifts: dict[int, float], with_sigma: bool) -> list[Moved]:
    """Those that have directions; of the others it is noted that they have none."""
    scaled = safe([those[place].map.with_weight(those[place].weight) for place in drifts])
    moved = []
    for (place, drift), made in zip(drifts.items(), scaled, strict=True):
        estimate, direction = those[place].estimate, those[place].random_direction
        if made is None:
            estimate.is_zero.fill_(1)
            estimate.reach.fill_(NO_REACH)
        else:
            drift /= made.factor
            moved.append(Moved(place, *made, drift, 0.0, estimate, direction.to(made.map.weight)))
    if not with_sigma:
        return moved
    sigmas = numbers([torch.dot(m.estimate.slope.to(m.map.weight), m.map.weight.flatten()) for m in moved])
    return [one._replace(sigma=sigma) for one, sigma in zip(moved, sigmas, strict=True)]


def _pace(one: Moved, tolerance: float, iterations: int | None) -> Pace:
    if iterations is not None and not math.isnan(one.drift):  # few would not do from no weight's u
        return Pace.ITERATE
    if not one.drift <= one.sigma:
        return Pace.JUMP
    return Pace.FAST if one.drift > FAST * tolerance * one.sigma else Pace.SLOW


def _seek(pace: Pace, batch: Sequence[Moved], tolerance: float, iterations: int | None) -> Leading:
    stack = stacked([one.map for one in batch])
    directions = side_by_side([one.random_direction for one in batch], stack.in_size)
    if pace is Pace.ITERATE:
        assert iterations is not None
        u = side_by_side([one.estimate.u for one in batch], 1, -1).to(directions)
        return _iterate(stack, u, directions, iterations)
    pairs = side_by_side([one.estimate.pair for one in batch], -1, stack.in_size).to(directions)
    if pace is Pace.JUMP:
        return converge(stack, pairs, directions, tolerance / 5)
    feed, powers = CURIOSITY * directions, (1, MAX_POWERS)
    if pace is Pace.FAST:
        feed, powers = 0.1 * direction_of_change(_changes(batch), directions), (4, MAX_POWERS)
    return krylov_step(stack, pairs, feed, [one.sigma for one in batch], tolerance / 5, powers)


def _changes(batch: Sequence[Moved]) -> Stack:
    """The maps around what their weights changed by."""
    weights = [
        torch.sub(one.map.weight, one.estimate.seen.to(one.map.weight), alpha=1 / one.factor) for one in batch
    ]
    return stacked([one.map.with_weight(weight) for one, weight in zip(batch, weights, strict=True)])


def _iterate(stack: Stack, u: Tensor, directions: Tensor, iterations: int) -> Leading:
    """Power iterations from u, one or more, as in Miyato et al. 2018, algorithm 1."""
    sigma = v = u
    for _ in range(iterations):
        v = normalize(stack.adjoint(u), otherwise=directions[:, None], dim=-1)
        Av = stack.apply(v)
        sigma = torch.linalg.vector_norm(Av, dim=-1, keepdim=True)
        u = Av / sigma.clamp_min(torch.finfo(Av.dtype).tiny)
    return Leading(sigma.flatten().tolist(), u[:, 0], v)


def _next_reach(one: Moved, sigma: float, tolerance: float) -> float:
    missed = sigma / one.sigma - 1 if one.sigma > 0 else math.inf
    stretch = 0.5 if missed > tolerance else 2.0 if missed < tolerance / 4 else 1.0
    unit = tolerance * sigma * one.factor
    reach = stretch * one.estimate.reach.item()
    # An infinite one, in half precision, would end all renewals.
    longest = min(LONGEST_REACH * unit, torch.finfo(one.estimate.reach.dtype).max)
    return min(max(reach, SHORTEST_REACH * unit), longest)
