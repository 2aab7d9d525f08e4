"""Estimates of σ(W) = ⟨G, W⟩ that follow W, kept in tensors that are changed in place.

The weight is compared with the copy that was seen last, so that a change is noticed however it was made,
through `.data` too. In training u and v are then kept until the weight has gone a stride (the path Σ‖ΔW‖/σ
since the last estimate), because ⟨G, W⟩ follows all that happens along u and v. The next estimate shows how
much was missed meanwhile: the stride is halved where that was too much, doubled where it was next to nothing.
In eval mode every change is followed at once until the estimate has converged, in tensors of its own: to
look at a network does not change how it goes on to train.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from onelip.constraint.tracking import BLOCK, converge, direction_of_change, put_in
from onelip.linear.maps import LinearMap
from onelip.linear.power import lanczos, normalize, start_vector

SHORTEST_STRIDE, LONGEST_STRIDE = 0.2, 3.0  # in units of the tolerance
STEPS_IN_TRAINING, STEPS_AT_REST = 8, 300
AUDIT_STEPS = 16


class Slope(NamedTuple):
    """G, the gradient of ⟨u, A(W) v⟩, and the weight that was seen last."""

    slope: Tensor
    seen: Tensor


class Estimate(NamedTuple):
    """u and basis (right vectors, the leading one first) of an earlier weight, and what follows from them."""

    u: Tensor
    basis: Tensor
    slope: Tensor
    seen: Tensor
    pace: Tensor  # path, stride and renewals until an audit; float64 on the CPU


class Renewal(NamedTuple):
    """New singular vectors, and by how much, relative, σ rose with them."""

    u: Tensor
    basis: Tensor
    missed: float


@torch.no_grad()
def follow(map: LinearMap, estimate: Estimate, tolerance: float, iterations: int | None) -> None:
    """Training: bring `estimate` up to date with the weight of `map`."""
    if torch.equal(map.weight, estimate.seen):
        return
    if iterations is not None:
        _follow_fixed(map, estimate, iterations)
        return
    path, stride, wait = estimate.pace.tolist()
    path, wait = path + _step_length(map.weight, estimate), wait - 1
    audit, renewal = wait <= 0, None
    if path >= stride or audit:
        renewal = renew(map, estimate, tolerance / 3, STEPS_IN_TRAINING, audit=audit)
    if renewal is not None:
        _take(renewal, map, estimate)
        path, stride = 0.0, _next_stride(stride, renewal.missed, tolerance)
        wait = _next_wait(renewal.missed, tolerance) if audit else wait
    estimate.pace.copy_(torch.tensor([path, stride, wait], dtype=torch.float64))
    estimate.seen.copy_(map.weight)


def _follow_fixed(map: LinearMap, estimate: Estimate, iterations: int) -> None:
    renewal = iterate(map, estimate, iterations)
    if renewal is not None:
        _take(renewal, map, estimate)
    estimate.seen.copy_(map.weight)


def _take(renewal: Renewal, map: LinearMap, estimate: Estimate) -> None:
    estimate.u.copy_(renewal.u)
    estimate.basis.copy_(renewal.basis)
    estimate.slope.copy_(slope_of(map, estimate.u, estimate.basis))


@torch.no_grad()
def settle(map: LinearMap, estimate: Estimate, rest: Slope, tolerance: float) -> None:
    """Eval: make `rest` the converged slope of the weight of `map`, starting from `estimate`, which stays."""
    if torch.equal(map.weight, rest.seen):
        return
    rest.seen.copy_(map.weight)
    renewal = renew(map, estimate, tolerance / 100, STEPS_AT_REST, audit=True)
    if renewal is not None:
        rest.slope.copy_(slope_of(map, renewal.u, renewal.basis))


def iterate(map: LinearMap, estimate: Estimate, iterations: int) -> Renewal | None:
    """Power iterations from u, as in Miyato et al. 2018, algorithm 1."""
    unit = _of_size_one(map)
    if unit is None:
        return None
    with torch.autocast(unit.weight.device.type, enabled=False):
        basis = estimate.basis.to(unit.weight.dtype)
        u, v = estimate.u[None].to(basis), basis[:1]
        for _ in range(iterations):
            v = normalize(unit.adjoint(u), otherwise=v)
            u = normalize(unit.apply(v))
    return Renewal(u[0], torch.cat([v, basis[1:]]), missed=0.0)


def renew(
    map: LinearMap, estimate: Estimate, tolerance: float, max_steps: int, *, audit: bool
) -> Renewal | None:
    """Ritz steps from the basis, and from what the weight moved along; in an audit, from far away instead."""
    unit = _of_size_one(map)
    if unit is None:
        return None
    change = (map.weight - estimate.seen).to(unit.weight)
    before = (estimate.slope * unit.weight).sum()
    with torch.autocast(unit.weight.device.type, enabled=False):
        far = start_vector(unit, BLOCK)
        fresh = lanczos(unit, far, AUDIT_STEPS).v if audit else direction_of_change(unit, change, far)
        basis = put_in(fresh, estimate.basis.to(unit.weight))
        sigma, u, basis = converge(unit, basis, before, tolerance, max_steps)
    return Renewal(u, basis, (sigma / before - 1).item() if before > 0 else math.inf)


def _of_size_one(map: LinearMap) -> LinearMap | None:
    """The map scaled so that nothing over- or underflows, in a format that is fine enough to iterate in.

    None for a weight that is zero or not finite: it has no directions, and those that are there are kept.
    """
    largest = map.weight.abs().amax()
    if not 0 < largest < math.inf:
        return None
    return map.with_weight(map.weight.to(torch.promote_types(map.weight.dtype, torch.float32)) / largest)


def slope_of(map: LinearMap, u: Tensor, basis: Tensor) -> Tensor:
    """G for u and the leading row of the basis."""
    exact = torch.promote_types(u.dtype, torch.float32)
    with torch.autocast(u.device.type, enabled=False):
        map = map.with_weight(map.weight.to(exact))
        return map.weight_gradient(normalize(u[None].to(exact)), normalize(basis[:1].to(exact)))


def _step_length(weight: Tensor, estimate: Estimate) -> float:
    """‖W − seen‖ / σ; infinite where one of them has no meaning."""
    sigma = (estimate.slope * weight).sum()
    step = (torch.linalg.vector_norm(weight - estimate.seen) / sigma).item()
    return step if 0 <= step < math.inf else math.inf


def _next_stride(stride: float, missed: float, tolerance: float) -> float:
    if missed > tolerance / 2:
        return max(stride / 2, SHORTEST_STRIDE * tolerance)
    return min(stride * 2, LONGEST_STRIDE * tolerance) if missed < tolerance / 8 else stride


def _next_wait(missed: float, tolerance: float) -> float:
    return 8.0 if missed > tolerance / 4 else 16.0 if missed > tolerance / 16 else 32.0


def fingerprint(weight: Tensor) -> float:
    """A whole number below 2⁵² that follows from the bits of the weight and their places."""
    bits = weight.detach().cpu().contiguous().flatten().view(torch.uint8).long()
    place = torch.arange(1, len(bits) + 1) * 0x9E3779B1 % 2**31
    return float((bits * place).sum().item() % 2**52)
