"""Orthogonal weights: all singular values of the operator that a layer applies are 1, or at most 1.

A matrix is the polar factor of its parameter. A convolution is a kernel K = F₁ ∗ … ∗ Fₘ ∗ H: H a polar factor
reshaped to a kernel as large as the stride, whose windows do not overlap, and Fⱼ = P + (I − P) zₐ with an
orthogonal projection P and a shift zₐ along one axis. Each factor is an isometry on the infinite lattice and
on a torus (H, or its transpose), and so is their product.

Anil, Lucas, Grosse, "Sorting out Lipschitz function approximation", ICML 2019 (orthogonal layers).
Li et al., "Preventing Gradient Attenuation in Lipschitz Constrained Convolutional Networks", NeurIPS 2019
(block convolution: the factors Fⱼ).
Boissin et al., "An Adaptive Orthogonal Convolution Scheme", ICML 2025 (with a stride).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from onelip.constraint.polar import polar_factor
from onelip.errors import ArgumentError
from onelip.linear.maps import Convolution
from onelip.linear.norm import operator_norm

NEARING = 50


class OrthogonalMatrix(nn.Module):
    """W ↦ target · polar(W): orthonormal columns if [out, in] is tall, rows if it is wide.

    >>> weight = OrthogonalMatrix()(torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
    >>> weight @ weight.T
    tensor([[1., 0.],
            [0., 1.]])
    """

    kind = "orthogonal"
    soft = True

    def __init__(self, target: float = 1.0):
        super().__init__()
        self.target = target
        self.in_shape = None  # a matrix has but one

    def forward(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        return self.target * polar_factor(weight)

    def right_inverse(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        return polar_factor(weight)

    def contains(self, weight: Float[Tensor, "out in"], atol: float = 1e-3) -> bool:
        """Whether all singular values are within atol of the target."""
        return bool((torch.linalg.svdvals(weight) - self.target).abs().max() <= atol)

    def extra_repr(self) -> str:
        return f"target={self.target:g}"


@dataclass(frozen=True)
class KernelPlan:
    """How a kernel is put together: sizes of H, and for each factor its axis and how far it shifts.

    groups, rows, columns: of the channel matrices of the kernel [groups·rows, columns, *kernel].
    outside: whether the factors act on the rows (after H) or on the columns (before H).
    """

    groups: int
    rows: int
    columns: int
    core: tuple[int, ...]
    shifts: tuple[tuple[int, int], ...]
    outside: bool

    @classmethod
    def of(cls, map: Convolution) -> KernelPlan:
        rows, columns = map.weight.shape[0] // map.groups, map.weight.shape[1]
        core = tuple(min(s, k) for s, k in zip(map.stride, map.kernel, strict=True))
        fits = all((k - c) % c == 0 for k, c in zip(map.kernel, core, strict=True))
        outside = rows > columns and fits
        reach = core if outside else (1,) * len(core)
        shifts = [
            (axis, r)
            for axis, (k, c, r) in enumerate(zip(map.kernel, core, reach, strict=True))
            for _ in range((k - c) // r)
        ]
        return cls(map.groups, rows, columns, core, tuple(shifts), outside)

    @property
    def channels(self) -> int:
        return self.rows if self.outside else self.columns


class OrthogonalKernel(nn.Module):
    """(H, R) ↦ kernel, where factor j has the projection onto the span of the columns of R[j].

    With circular padding all singular values are 1 (the smaller side of the operator counts: with more
    channels out than in times the stride, it keeps norms; with fewer, its transpose does). Zero padding cuts
    a piece out of the operator on the infinite lattice: singular values are at most 1, less at the border. A
    kernel smaller than its stride skips inputs, whose singular values are 0. With one channel a kernel can
    only shift.

    right_inverse: where kernel and stride agree, the nearest kernel there is. Elsewhere no closed form is
    known: NEARING steps of Adam lead towards the given kernel, from one whose middle holds the polar factor
    of the given one's middle and whose factors cancel, which stays where the steps end no nearer. With
    default weights of 64 channels and 3 × 3 taps that takes the cosine between both from 0.28 to 0.55.
    """

    kind = "orthogonal"
    soft = True

    def __init__(self, map: Convolution, target: float = 1.0, in_shape: tuple[int, ...] | None = None):
        super().__init__()
        _check(map)
        self.plan, self.target, self.in_shape = KernelPlan.of(map), target, in_shape
        self.map = map.with_weight(torch.empty_like(map.weight, device="meta"))

    def forward(self, H: Float[Tensor, "g r c"], R: Float[Tensor, "m g n h"]) -> Tensor:
        plan = self.plan
        kernel = polar_factor(H).reshape(plan.groups, plan.rows, plan.columns, *plan.core)
        for (axis, shift), P in zip(plan.shifts, self._projections(R), strict=True):
            kernel = _multiply(kernel, P, 3 + axis, shift, plan.outside)
        return self.target * kernel.flatten(0, 1)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        # In float64, so that what rounding moves is lost in the weight's own: steps of Adam amplify it.
        exact = weight.detach().double()
        H, R = start = self._centred(exact)
        if self.plan.shifts and exact.any():
            W = exact / torch.linalg.vector_norm(exact)
            H, R = max(start, self._nearer(W, *start), key=lambda p: (self(*p) * W).sum().item())
        return H.to(weight), R.to(weight)

    @torch.enable_grad()
    def _nearer(self, W: Tensor, *start: Tensor) -> tuple[Tensor, Tensor]:
        """All kernels K here have one norm, so that ‖K − W‖ is least where ⟨K, W⟩ is greatest."""
        H, R = (parameter.clone().requires_grad_() for parameter in start)
        optimizer = torch.optim.Adam([H, R], lr=0.1 / math.sqrt(self.plan.channels))
        for _ in range(NEARING):
            optimizer.zero_grad()
            (-(self(H, R) * W).sum()).backward()
            optimizer.step()
        return polar_factor(H.detach()), polar_factor(R.detach())

    def contains(self, weight: Float[Tensor, "*weight"], atol: float = 1e-3) -> bool:
        """Whether the norm at `in_shape` is proved to be at most the target + atol."""
        return operator_norm(self.map.with_weight(weight), rtol=1e-4).upper <= self.target + atol

    def _centred(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        plan = self.plan
        middle = weight.unflatten(0, (plan.groups, plan.rows))
        for axis, (k, c) in enumerate(zip(weight.shape[2:], plan.core, strict=True)):
            middle = middle.narrow(3 + axis, (k - c) // 2, c)
        generator = torch.Generator().manual_seed(0)
        n = plan.channels
        R = torch.randn(plan.groups, n, n // 2, generator=generator).to(weight)
        return polar_factor(middle.flatten(2)), polar_factor(R).repeat(len(plan.shifts), 1, 1, 1)

    def extra_repr(self) -> str:
        return f"target={self.target:g}, factors={len(self.plan.shifts)}"

    def _projections(self, R: Tensor) -> Iterator[Tensor]:
        """Along each axis P and I − P take turns, so that equal neighbours make a mere shift."""
        Q = polar_factor(R)
        eye = torch.eye(Q.shape[-2], dtype=Q.dtype, device=Q.device)
        for j, (axis, _) in enumerate(self.plan.shifts):
            turn = sum(a == axis for a, _ in self.plan.shifts[:j])
            P = Q[j] @ Q[j].mT
            yield P if turn % 2 == 0 else eye - P


def _multiply(kernel: Tensor, P: Float[Tensor, "g n n"], axis: int, shift: int, outside: bool) -> Tensor:
    """K ∗ (P + (I − P) z^shift), or the factor on the other side."""
    product = "gno...,gni->gio..." if outside else "gon...,gni->goi..."
    kept = torch.einsum(product, kernel, P)
    moved = kernel - kept
    pad = [0, 0] * (kernel.dim() - 1 - axis)
    return F.pad(kept, [*pad, 0, shift]) + F.pad(moved, [*pad, shift, 0])


def _check(map: Convolution) -> None:
    if not map.transposed and map.padding_mode in ("reflect", "replicate"):
        raise ArgumentError(
            "padding_mode",
            "zeros or circular for kind 'orthogonal'",
            map.padding_mode,
            "copies add to the norm",
        )
    if any(s > 1 and d > 1 and k > 1 for s, d, k in zip(map.stride, map.dilation, map.kernel, strict=True)):
        raise ArgumentError(
            "dilation", "1 where the stride is not, for kind 'orthogonal'", map.dilation, "set one to 1"
        )
    if map.padding_mode == "circular" and not map.transposed:
        for n, s, out in zip(map.space, map.stride, map.out_shape[1:], strict=True):
            if n % s or out > n // s:
                raise ArgumentError(
                    "padding",
                    "so small that output · stride ≤ input, and the stride one that divides the input",
                    f"input {n}, stride {s}, output {out}",
                    "use padding (kernel − stride) / 2",
                )
