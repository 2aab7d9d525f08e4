"""Spectral normalization: a weight divided by the norm of the operator that it makes, while it trains.

σ(W) = ⟨u, A(W) v⟩ = ⟨G, W⟩, where u and v are the leading singular vectors of the operator A(W), unit and
held constant, and G is the gradient of ⟨u, A(W) v⟩, because A is linear in W. One dot product gives σ,
and ∂σ = uᵀ∂A v with it, for every layer alike (Miyato et al., "Spectral Normalization for Generative
Adversarial Networks", ICLR 2018, eq. 9 and 12).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onelip.constraint.compiled import encode, follow_operator, settle_operator
from onelip.constraint.estimate import (
    NO_REACH,
    Estimate,
    Slope,
    at_rest,
    fingerprint,
    settle,
    slope_of,
    start_pair,
)
from onelip.constraint.follow import Followed, follow
from onelip.constraint.patches import on_patches
from onelip.constraint.reshaped import Reshaped
from onelip.constraint.shared import Division, Part, Shared, divide, divided, shareable
from onelip.constraint.stack import is_matrix, likeness
from onelip.linear.maps import Dense, LinearMap
from onelip.linear.norm import operator_norm
from onelip.linear.power import start_vector

# No buffers: averaging or broadcasting these would part them from the weight that they belong to.
UNSAVED = (
    "random_direction", "reach", "slope", "seen", "is_zero",
    "slope_at_rest", "seen_at_rest", "is_zero_at_rest",
)  # fmt: skip


class SpectralNorm(nn.Module):
    """W ↦ W · target / σ(W): a parametrization for torch.nn.utils.parametrize.

    map: the operator that the weight makes; its own weight is the one to start from.
    soft: divide only where σ exceeds the target. tolerance: how far σ may lag behind a moving weight,
    relative. iterations: a fixed number of steps for each change of the weight in training instead.

    σ is an estimate from below: the norm may exceed the target by several times the tolerance while the
    weight moves fast, by far less at rest; `bake` divides by a proved bound. A zero weight stays zero, and
    its gradient is that of W ↦ W.

    >>> from onelip.linear.maps import Dense
    >>> weight = torch.diag(torch.tensor([4.0, 2.0]))
    >>> SpectralNorm(Dense(weight))(weight)
    tensor([[1.0000, 0.0000],
            [0.0000, 0.5000]])
    """

    u: Tensor
    pair: Tensor

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
        map = on_patches(map)
        self.map = map.with_weight(torch.empty_like(weight, device="meta"))
        self.geometry = encode(map)
        self.is_vector = is_matrix(map) and 1 in (*map.in_shape, *map.out_shape)
        self.target, self.soft, self.tolerance, self.iterations = target, soft, tolerance, iterations
        self.register_buffer("u", weight.new_zeros(map.out_shape))
        self.register_buffer("pair", start_pair(map))
        self.slope, self.seen = torch.zeros_like(weight).flatten(), torch.full_like(weight, torch.nan)
        self.slope_at_rest, self.seen_at_rest = self.slope.clone(), self.seen.clone()
        self.is_zero, self.is_zero_at_rest, self.reach = (weight.new_zeros(()) for _ in range(3))
        self.random_direction = start_vector(map, seed=len(self.pair))
        self.shared = Shared()
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
        return Estimate(self.u, self.pair, self.slope, self.seen, self.is_zero, self.reach)

    @property
    def rest(self) -> Slope:
        return Slope(self.slope_at_rest, self.seen_at_rest, self.is_zero_at_rest)

    def forward(self, weight: Float[Tensor, "*weight"]) -> Float[Tensor, "*weight"]:
        if not shareable(weight):
            return self._division(weight.detach())(weight)
        made = self.shared.get(weight, self.training)
        return make_together([(self, weight)])[0] if made is None else made

    def _division(self, weight: Tensor) -> Division:
        if not self.is_vector:
            if torch.compiler.is_compiling():
                return self._as(*self._by_operators(weight))
            bring_up_to_date([(self, weight)])
        return self.current_division(weight)

    def current_division(self, weight: Tensor) -> Division:
        """By what is up to date for this weight. Copies, for backward, of what goes on in place."""
        if self.is_vector:
            # The norm of one row or column needs no estimate; in float64 its squares cannot overflow.
            sigma = torch.linalg.vector_norm(weight, dtype=torch.float64)
            is_zero = (sigma == 0).to(sigma)
            return self._as(divided(weight, sigma + is_zero).flatten(), is_zero.to(weight.dtype))
        if self.training:
            return self._as(self.slope, self.is_zero.clone())
        return self._as(self.slope_at_rest.clone(), self.is_zero_at_rest.clone())

    def _as(self, slope: Tensor, is_zero: Tensor) -> Division:
        return Division(slope, is_zero, self.target, self.soft)

    def _by_operators(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The slope and whether it is none, by operators that a compiled graph can hold."""
        options = self.random_direction, self.tolerance
        if self.training:
            return follow_operator(weight, *self.estimate, *options, self.iterations or 0, *self.geometry)
        return settle_operator(weight, *self.estimate, *self.rest, *options, *self.geometry)

    def likeness(self, weight: Tensor) -> object:
        """Equal for those that are followed together."""
        geometry = likeness(self.map)
        if geometry is None:
            return id(self)
        return geometry, weight.dtype, weight.device, self.tolerance, self.iterations

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
        leading = at_rest(self.map, weight.detach(), self.pair, self.random_direction, self.tolerance)
        if leading is not None:
            self.u.copy_(leading.u.view_as(self.u))
            self.pair.copy_(leading.pair.view_as(self.pair))
        self.restart(weight, NO_REACH)

    @torch.inference_mode(False)
    @torch.no_grad()
    def restart(self, seen: Tensor, reach: float) -> None:
        """Go on from u and the pair as they are now."""
        self.seen.copy_(seen)
        self.reach.fill_(reach)
        self._derive()

    def _derive(self) -> None:
        """Make anew what follows from the weight that was seen, u and the pair."""
        self.slope = slope_of(self.map.with_weight(self.seen), self.u, self.pair)
        self.is_zero.fill_(torch.dot(self.slope, self.seen.flatten()) == 0)
        self.seen_at_rest.fill_(torch.nan)
        self.random_direction.copy_(start_vector(self.map.with_weight(self.seen), seed=len(self.pair)))
        self.shared.drop()

    def extra_repr(self) -> str:
        what = "reshaped kernel" if self.in_shape is None else f"operator on inputs of {self.in_shape}"
        steps = f"iterations={self.iterations}" if self.iterations else f"tolerance={self.tolerance:g}"
        return f"{what}, target={self.target:g}, {steps}" + ", soft" * self.soft

    def get_extra_state(self) -> Tensor:
        """What a run needs besides u and the pair to go on bit for bit: the last seen weight, sealed."""
        seal = torch.tensor([fingerprint(self.seen), self.reach], dtype=torch.float64)
        return torch.cat([seal.view(self.seen.dtype), self.seen.cpu().flatten()])

    @torch.inference_mode(False)  # what is made here is changed in training, too
    @torch.no_grad()
    def set_extra_state(self, state: Tensor) -> None:
        """Where averaging, a cast or another edit broke the seal, the next forward estimates anew."""
        # u may have been assigned in a new format; memory that was never initialised gets its numbers here.
        for name in UNSAVED:
            setattr(
                self, name, torch.empty_like(getattr(self, name), device=self.u.device, dtype=self.u.dtype)
            )
        split = 16 // state.element_size()
        header, seen = state[:split].cpu(), state[split:].cpu()
        whole = len(state) == split + self.seen.numel()
        seal, reach = header.view(torch.float64).tolist() if whole else (math.nan, NO_REACH)
        if seal == fingerprint(seen):
            self.restart(seen.reshape(self.seen.shape), reach)
        else:
            self.restart(torch.full_like(self.seen, torch.nan), NO_REACH)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SpectralNorm:
        """In another format, or elsewhere, what no state dict holds is made anew, as loading one does."""
        before = self.slope
        super()._apply(fn, recurse)
        self.shared.drop()
        for name in UNSAVED:
            setattr(self, name, fn(getattr(self, name)))
        changed = (self.slope.dtype, self.slope.device) != (before.dtype, before.device)
        if changed and not self.slope.is_meta:
            self._derive()
        return self


@torch.inference_mode(False)  # a backward may save what is made here
@torch.no_grad()
def bring_up_to_date(those: Sequence[tuple[SpectralNorm, Tensor]]) -> None:
    """The estimates of these constraints, for their weights, which are detached; what is alike together."""
    alike: dict[object, list[tuple[SpectralNorm, Tensor]]] = {}
    for constraint, weight in those:
        if constraint.is_vector:
            continue
        if constraint.training:
            alike.setdefault(constraint.likeness(weight), []).append((constraint, weight))
        else:
            estimates = constraint.estimate, constraint.rest
            settle(constraint.map, weight, *estimates, constraint.random_direction, constraint.tolerance)
    for members in alike.values():
        followed = [Followed(one.map, weight, one.estimate, one.random_direction) for one, weight in members]
        slopes = follow(followed, members[0][0].tolerance, members[0][0].iterations)
        for (constraint, _), slope in zip(members, slopes, strict=True):
            constraint.slope = constraint.slope if slope is None else slope


def make_together(those: Sequence[tuple[SpectralNorm, Tensor]]) -> list[Tensor]:
    """The constrained weights of several layers, kept to be handed out again while they are right."""
    detached = [(constraint, weight.detach()) for constraint, weight in those]
    bring_up_to_date(detached)
    return divide(
        [
            Part(constraint.shared, weight, constraint.training, constraint.current_division(plain))
            for (constraint, weight), (_, plain) in zip(those, detached, strict=True)
        ]
    )
