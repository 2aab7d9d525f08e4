"""Benchmark pairs in any dimension whose W₁, optimal potential and optimal plan are known.

u(x) = min_n ‖x − a_n‖ + b_n is 1-Lipschitz and falls with slope one along every ray towards the centre
of its active funnel. Q is uniform on a cube; moving its mass down these rays gives P, and no plan is
cheaper, because −u falls by exactly the distance moved: W₁(P, Q) = E‖x − y‖ = E_P(−u) − E_Q(−u).

A. Korotin, A. Kolesov, E. Burnaev, "Kantorovich Strikes Back! Wasserstein GANs are not Optimal
Transport?", NeurIPS 2022.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from onelip.errors import ArgumentError
from onelip.transport.pair import CoupledSamples, KnownPair, as_given, stream
from onelip.transport.samples import distances, require_positive

HALF_WIDTH = 2.5
_BIAS_SCALE = 0.1
# x moves from the fraction t of its ray to t⁸.
_POWER = 8
# Distances at a time. Larger temporaries get fresh pages from the system at every operation, which costs more
# than the arithmetic.
_DISTANCES = 2**17


@dataclass(frozen=True, eq=False)
class FunnelPair(KnownPair):
    """The pair that N funnels in D dimensions define.

    centers: [N, D]. bias: [N]. Samples have the dtype and the device of the centers.
    """

    centers: Float[Tensor, "funnels dim"]
    bias: Float[Tensor, "funnels"]

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.centers.shape[1],)

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> FunnelPair:
        """The same pair in another dtype or on another device."""
        return replace(self, centers=self.centers.to(device, dtype), bias=self.bias.to(device, dtype))

    def potential(self, points: Float[Tensor, "size dim"]) -> Float[Tensor, "size"]:
        """The optimal potential −u.

        >>> FunnelPair(torch.zeros(1, 2), torch.zeros(1)).potential(torch.tensor([[3.0, 4.0]]))
        tensor([-5.])
        """
        u = (distances(points.to(self.centers), self.centers) + self.bias).amin(1)
        return as_given(-u, points)

    @torch.no_grad()
    def sample(self, generator: torch.Generator, size: int) -> CoupledSamples:
        """Rows of the optimal plan: y uniform on the cube, x where its mass comes from.

        The numbers are drawn on the generator's device: one on the CPU gives the same sample everywhere.
        """
        require_positive("size", size)
        uniform = torch.rand(
            size, *self.shape, generator=generator, dtype=self.centers.dtype, device=generator.device
        )
        return self.couple(((2 * uniform - 1) * HALF_WIDTH).to(self.centers.device))

    def couple(self, y: Shaped[Tensor, "size dim"]) -> CoupledSamples:
        """x = low + t⁸(up − low), t = ‖y − low‖/‖up − low‖: x on the ray of each y, nearer to its centre.

        Computed in the pair's dtype, whatever that of y: float64 as pairs are drawn. float32 takes less time,
        and is enough where seven digits are, as for training in many dimensions. Raises ArgumentError for
        integers and for points outside the cube.

        >>> coupled = FunnelPair(torch.zeros(1, 1), torch.zeros(1)).couple(torch.tensor([[1.25]]))
        >>> coupled.x, coupled.gradient, coupled.distance  # a ray from 0 to 2.5, t = 1/2
        (tensor([[0.0098]]), tensor([[-1.]]), tensor([1.2402]))
        """
        _require_in_cube(y)
        portions = [self._coupled(rows) for rows in y.split(max(1, _DISTANCES // len(self.bias)))]
        x, gradient, distance = (torch.cat(parts) for parts in zip(*portions, strict=True))
        return CoupledSamples(x, y, gradient, distance)

    def _coupled(self, y: Float[Tensor, "size dim"]) -> tuple[Tensor, Tensor, Tensor]:
        """x, gradient and distance of some rows."""
        same_y = y.to(self.centers)
        ray = _rays(self, same_y)
        to_up = torch.minimum(_to_face(same_y, ray.v), _to_crossing(self, same_y, ray))
        t = ray.length / (ray.length + to_up)
        kept = t ** (_POWER - 1)  # t⁸ ‖up − low‖ = t⁷ ‖y − low‖
        x, distance = ray.low + kept[:, None] * (same_y - ray.low), (1 - kept) * ray.length
        return x.to(y), -ray.v.to(y), distance.to(y)


def _require_in_cube(y: Shaped[Tensor, "size dim"]) -> None:
    outside = int((~(y.abs() <= HALF_WIDTH)).any(1).sum())  # NaN too
    if outside or not y.is_floating_point():
        requirement = f"floating-point numbers of at most {HALF_WIDTH} in size"
        received = f"{y.dtype}, {outside} of {len(y)} points outside this cube"
        raise ArgumentError("y", requirement, received, "draw from the uniform law on it")


class _Rays(NamedTuple):
    """Of each y: its distances to all centres, the active funnel, its centre, ‖y − low‖, and the way up."""

    to_centers: Float[Tensor, "size funnels"]
    active: Int[Tensor, "size"]
    low: Float[Tensor, "size dim"]
    length: Float[Tensor, "size"]
    v: Float[Tensor, "size dim"]


def _rays(pair: FunnelPair, y: Tensor) -> _Rays:
    # Through squares: ten digits choose the funnel, five times as fast. The length itself is exact.
    to_centers = torch.cdist(y, pair.centers, compute_mode="use_mm_for_euclid_dist")
    active = (to_centers + pair.bias).argmin(1)
    low = pair.centers[active]
    length = torch.linalg.vector_norm(y - low, dim=1)
    v = (y - low) / length.clamp_min(torch.finfo(y.dtype).tiny)[:, None]
    return _Rays(to_centers, active, low, length, v)


def _to_face(y: Float[Tensor, "size dim"], v: Float[Tensor, "size dim"]) -> Float[Tensor, "size"]:
    """How far the cube reaches from y in the direction v."""
    return ((HALF_WIDTH * v.sign() - y) / v).where(v != 0, torch.inf).amin(1)


def _to_crossing(pair: FunnelPair, y: Tensor, ray: _Rays) -> Float[Tensor, "size"]:
    """How far from y along v another funnel m becomes as deep: ‖y + rv − a_m‖ + b_m = u(y) + r.

    Squared, with δ = u(y) − b_m: r = ½(‖y − a_m‖² − δ²)/(δ − ⟨y − a_m, v⟩), a solution where r > 0 and
    r > −δ. Infinity where no other funnel is met.
    """
    delta = (ray.length + pair.bias[ray.active])[:, None] - pair.bias
    along = (y * ray.v).sum(1, keepdim=True) - ray.v @ pair.centers.T
    # In place, and with one mask for both conditions: most of the time goes into temporaries.
    r = (ray.to_centers - delta).mul_(ray.to_centers + delta).div_(along.sub_(delta).mul_(-2))
    r.masked_fill_(
        (torch.minimum(r, delta.add_(r)) > 0).logical_not_(), torch.inf
    )  # 0/0 of equal funnels too
    return r.scatter_(1, ray.active[:, None], torch.inf).amin(1)


def funnel_pair(dim: int, funnels: int, seed: int) -> FunnelPair:
    """A pair drawn afresh: a_n ~ U[−2.5, 2.5]^D and b_n ~ 0.1·N(0, 1), in float64 on the CPU.

    Raises ArgumentError unless dim and funnels are positive.

    >>> pair = funnel_pair(dim=16, funnels=4, seed=0)
    >>> sample = pair.sample(torch.Generator().manual_seed(1), 1000)
    >>> dual = (pair.potential(sample.x) - pair.potential(sample.y)).mean()
    >>> abs(float(sample.distance.mean() - dual)) < 1e-12
    True
    """
    require_positive("dim", dim)
    require_positive("funnels", funnels)
    generator = stream("funnels", seed)
    uniform = torch.rand(funnels, dim, generator=generator, dtype=torch.float64)
    normal = torch.randn(funnels, generator=generator, dtype=torch.float64)
    return stored_pair((2 * uniform - 1) * HALF_WIDTH, _BIAS_SCALE * normal)


def stored_pair(centers: Tensor, bias: Tensor) -> FunnelPair:
    """The pair of given parameters, in float64; raises ArgumentError unless [N, D] and [N], finite.

    Equal funnels are refused: where a ray leaves the one for the other is no number.
    """
    for name, tensor, form in (("centers", centers, "[N, D]"), ("bias", bias, "[N]")):
        matches = tensor.ndim == len(form.split(",")) and tensor.numel() > 0 and tensor.is_floating_point()
        if not (matches and len(tensor) == len(centers)):
            received = f"{tensor.dtype} of shape {list(tensor.shape)} beside centers {list(centers.shape)}"
            raise ArgumentError(name, f"floating-point numbers {form}", received, "give one bias a center")
        if not tensor.isfinite().all():
            received = f"{int((~tensor.isfinite()).sum())} of {tensor.numel()} that are NaN or infinite"
            raise ArgumentError(name, "finite", received, "leave those funnels out")
    funnels = torch.cat([centers, bias[:, None]], dim=1).double()
    if len(different := funnels.unique(dim=0)) < len(funnels):
        received = f"{len(funnels)}, of which {len(different)} are different"
        raise ArgumentError("centers", "funnels that are all different", received, "leave out what is twice")
    return FunnelPair(centers.detach().double(), bias.detach().double())
