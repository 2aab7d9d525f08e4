"""Spectral normalization: a weight divided by the norm of the operator that it makes, while it trains.

σ(W) = ⟨u, A(W) v⟩ = ⟨G, W⟩, where u and v are the leading singular vectors of the operator A(W), unit and
held constant, and G is the gradient of ⟨u, A(W) v⟩, because A is linear in W. One dot product gives σ,
and ∂σ = uᵀ∂A v with it, for every layer alike (Miyato et al., "Spectral Normalization for Generative
Adversarial Networks", ICLR 2018, eq. 9 and 12).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onelip.constraint.compiled import encode, follow_operator, settle_operator
from onelip.constraint.estimate import (
    STEPS_AT_REST,
    Estimate,
    Slope,
    fingerprint,
    follow,
    renew,
    settle,
    slope_of,
)
from onelip.constraint.reshaped import Reshaped
from onelip.constraint.tracking import start_block
from onelip.linear.maps import Dense, LinearMap
from onelip.linear.norm import operator_norm


class SpectralNorm(nn.Module):
    """W ↦ W · target / σ(W): a parametrization for torch.nn.utils.parametrize.

    map: the operator that the weight makes; its own weight is the one to start from.
    soft: divide only where σ exceeds the target. tolerance: how far σ may lag behind a moving weight,
    relative. iterations: a fixed number of steps for each change of the weight in training instead.

    σ is an estimate from below: the norm may exceed the target by the tolerance or so while the weight
    moves, by far less at rest; `bake` divides by a proved bound. A zero weight stays zero, and its gradient
    is that of W ↦ W.

    >>> from onelip.linear.maps import Dense
    >>> weight = torch.diag(torch.tensor([4.0, 2.0]))
    >>> SpectralNorm(Dense(weight))(weight)
    tensor([[1.0000, 0.0000],
            [0.0000, 0.5000]])
    """

    u: Tensor
    basis: Tensor

    def __init__(
        self,
        map: LinearMap,
        target: float = 1.0,
        *,
        soft: bool = False,
        tolerance: float = 0.01,
        iterations: int | None = None,
    ):
        super().__init__()
        weight = map.weight.detach()
        self.map = map.with_weight(torch.empty_like(weight, device="meta"))
        self.geometry = encode(map)
        self.target, self.soft, self.tolerance, self.iterations = target, soft, tolerance, iterations
        self.register_buffer("u", weight.new_zeros(map.out_shape))
        self.register_buffer("basis", start_block(map.with_weight(weight)))
        # No buffers: averaging or broadcasting these would part them from the weight that they belong to.
        self.slope, self.seen = torch.zeros_like(weight), torch.full_like(weight, torch.nan)
        self.slope_at_rest, self.seen_at_rest = self.slope.clone(), self.seen.clone()
        self.pace = torch.tensor([math.inf, tolerance, 0.0], dtype=torch.float64)
        self.refresh(weight)

    @property
    def kind(self) -> str:
        return "spectral-reshaped" if isinstance(self.map, Reshaped) else "spectral"

    @property
    def in_shape(self) -> tuple[int, ...] | None:
        """The input for which the operator is normalised; None where it is the reshaped kernel."""
        return None if isinstance(self.map, Reshaped) else self.map.in_shape

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.u, self.basis, self.slope, self.seen, self.pace)

    def forward(self, weight: Float[Tensor, "*weight"]) -> Float[Tensor, "*weight"]:
        sigma = (self._current_slope(weight.detach()) * weight).sum()
        scale = self.target / torch.where(sigma > 0, sigma, self.target)
        return weight * (scale.clamp_max(1) if self.soft else scale)

    def _current_slope(self, weight: Tensor) -> Tensor:
        map, estimate, rest = self.map, self.estimate, Slope(self.slope_at_rest, self.seen_at_rest)
        if torch.compiler.is_compiling() and self.training:
            return follow_operator(weight, *estimate, self.tolerance, self.iterations or 0, *self.geometry)
        if torch.compiler.is_compiling():
            return settle_operator(weight, *estimate, *rest, self.tolerance, *self.geometry)
        if self.training:
            follow(map.with_weight(weight), estimate, self.tolerance, self.iterations)
            return self.slope
        settle(map.with_weight(weight), estimate, rest, self.tolerance)
        return self.slope_at_rest

    def right_inverse(self, weight: Float[Tensor, "*weight"]) -> Float[Tensor, "*weight"]:
        return weight

    def contains(self, weight: Float[Tensor, "*weight"], atol: float = 1e-3) -> bool:
        """Whether the constrained norm is proved to be within atol of the target; if soft, not above it."""
        map = self.map.with_weight(weight)
        norm = operator_norm(Dense(map.matrix) if isinstance(map, Reshaped) else map, rtol=1e-4)
        return norm.upper <= self.target + atol and (self.soft or norm.lower >= self.target - atol)

    @torch.no_grad()
    def refresh(self, weight: Float[Tensor, "*weight"]) -> None:
        """Estimate σ anew until it has converged, as after loading, averaging or editing the weight."""
        map = self.map.with_weight(weight.detach())
        renewal = renew(map, self.estimate, self.tolerance / 100, STEPS_AT_REST, audit=True)
        if renewal is not None:
            self.u.copy_(renewal.u)
            self.basis.copy_(renewal.basis)
        self.restart(map.weight, (0.0, self.tolerance, 0.0))

    def restart(self, seen: Tensor, pace: tuple[float, ...]) -> None:
        """Go on from u and the basis as they are now."""
        self.seen.copy_(seen)
        self.slope.copy_(slope_of(self.map.with_weight(self.seen), self.u, self.basis))
        self.seen_at_rest.fill_(torch.nan)
        self.pace.copy_(torch.tensor(pace, dtype=torch.float64))

    def extra_repr(self) -> str:
        steps = f"iterations={self.iterations}" if self.iterations else f"tolerance={self.tolerance:g}"
        return f"{type(self.map).__name__}, target={self.target:g}, {steps}" + ", soft" * self.soft

    def get_extra_state(self) -> Tensor:
        """What a run needs besides u and the basis to go on bit for bit: pace and last seen weight."""
        header = torch.tensor([fingerprint(self.seen), *self.pace.tolist()], dtype=torch.float64)
        return torch.cat([header.view(self.seen.dtype), self.seen.cpu().flatten()])

    @torch.no_grad()
    def set_extra_state(self, state: Tensor) -> None:
        """Where averaging or another edit broke the seal, the next forward estimates anew."""
        header, seen = state.cpu().tensor_split([state.numel() - self.seen.numel()])
        mark, *pace = header.view(torch.float64).tolist()
        if mark == fingerprint(seen):
            self.restart(seen.reshape(self.seen.shape), tuple(pace))
        else:
            self.restart(torch.full_like(self.seen, torch.nan), (math.inf, self.tolerance, 0.0))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SpectralNorm:
        super()._apply(fn, recurse)
        for name in ("slope", "seen", "slope_at_rest", "seen_at_rest"):
            setattr(self, name, fn(getattr(self, name)))
        return self
