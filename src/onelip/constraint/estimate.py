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

from onelip.constraint.tracking import BLOCK, converge, direction_of_change
from onelip.linear.maps import LinearMap
from onelip.linear.power import lanczos, normalize, power_iteration, start_vector

SHORTEST_STRIDE, LONGEST_STRIDE = 0.002, 0.25
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
    path, stride, wait = estimate.pace.tolist()
    path, wait = path + _step_length(map.weight, estimate), wait - 1
    if iterations is not None or path >= stride or wait <= 0:
        audit = wait <= 0
        renewal = renew(map, estimate, tolerance / 3, STEPS_IN_TRAINING, audit=audit, iterations=iterations)
        if renewal is not None:
            estimate.u.copy_(renewal.u)
            estimate.basis.copy_(renewal.basis)
            estimate.slope.copy_(slope_of(map, estimate.u, estimate.basis))
            path, stride = 0.0, _next_stride(stride, renewal.missed, tolerance)
            wait = _next_wait(renewal.missed, tolerance) if audit else wait
    estimate.pace.copy_(torch.tensor([path, stride, wait], dtype=torch.float64))
    estimate.seen.copy_(map.weight)


@torch.no_grad()
def settle(map: LinearMap, estimate: Estimate, rest: Slope, tolerance: float) -> None:
    """Eval: make `rest` the converged slope of the weight of `map`, starting from `estimate`, which stays."""
    if torch.equal(map.weight, rest.seen):
        return
    rest.seen.copy_(map.weight)
    renewal = renew(map, estimate, tolerance / 100, STEPS_AT_REST, audit=True)
    if renewal is not None:
        rest.slope.copy_(slope_of(map, renewal.u, renewal.basis))


def renew(
    map: LinearMap,
    estimate: Estimate,
    tolerance: float,
    max_steps: int,
    *,
    audit: bool,
    iterations: int | None = None,
) -> Renewal | None:
    """Singular vectors for the weight of `map`, or None: one that is zero or not finite has no directions."""
    largest = map.weight.abs().amax()
    if not 0 < largest < math.inf:
        return None
    # Half precision is too coarse to iterate in, and a weight of size 1 cannot over- or underflow.
    exact = torch.promote_types(map.weight.dtype, torch.float32)
    change = (map.weight - estimate.seen).to(exact)
    map = map.with_weight(map.weight.to(exact) / largest)
    basis = estimate.basis.to(exact)
    before = (estimate.slope * map.weight).sum()
    with torch.autocast(map.weight.device.type, enabled=False):
        if iterations is None:
            far = start_vector(map, BLOCK)
            fresh = lanczos(map, far, AUDIT_STEPS).v if audit else direction_of_change(map, change, far)
            basis = torch.cat([basis[:-1], fresh[None]])
            sigma, u, basis = converge(map, basis, before, tolerance, max_steps)
        else:
            sigma, u, v = power_iteration(map, basis[0], iterations)
            basis = torch.cat([v[None], basis[1:]])
    return Renewal(u, basis, (sigma / before - 1).item() if before > 0 else math.inf)


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
        return max(stride / 2, SHORTEST_STRIDE)
    return min(stride * 2, LONGEST_STRIDE) if missed < tolerance / 8 else stride


def _next_wait(missed: float, tolerance: float) -> float:
    return 8.0 if missed > tolerance / 4 else 32.0 if missed > tolerance / 16 else 64.0


def fingerprint(weight: Tensor) -> float:
    """A whole number below 2⁵² that follows from the bits of the weight and their places."""
    bits = weight.detach().cpu().contiguous().flatten().view(torch.uint8).long()
    place = torch.arange(1, len(bits) + 1) * 0x9E3779B1 % 2**31
    return float((bits * place).sum().item() % 2**52)
