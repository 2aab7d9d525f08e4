"""Pairs of laws whose W₁ and optimal potential are known in closed form: points, translations, cones.

C. Anil, J. Lucas, R. Grosse, "Sorting out Lipschitz function approximation", ICML 2019 (|x| and
cones). M. Serrurier, F. Mamalet, A. González-Sanz, T. Boissin, J.-M. Loubes, E. del Barrio, "Achieving
robustness in classification using optimal transport with hinge regularization", CVPR 2021 (squares come
with its library).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from onelip.errors import ArgumentError
from onelip.transport.pair import CoupledSamples, KnownPair, as_given
from onelip.transport.samples import as_real, distances, require_positive

_UNIT = 1e-6  # how far a unit vector's norm may be from one

Sampler = Callable[[torch.Generator, int], Tensor]


@dataclass(frozen=True, eq=False)
class TranslationPair(KnownPair):
    """P is the law that `sampler` draws, Q is P moved by `shift`: W₁ = ‖shift‖, f falls along it."""

    sampler: Sampler
    shift: Float[Tensor, "*shape"]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.shift.shape)

    @property
    def w1(self) -> float:
        return float(torch.linalg.vector_norm(self.shift))

    @property
    def _slope(self) -> Float[Tensor, "*shape"]:
        return -self.shift / max(self.w1, torch.finfo(self.shift.dtype).tiny)

    def sample(self, generator: torch.Generator, size: int) -> CoupledSamples:
        x = self.sampler(generator, size)
        return CoupledSamples(x, x + self.shift, self._slope.expand_as(x), x.new_full((size,), self.w1))

    def potential(self, points: Float[Tensor, "size *shape"]) -> Float[Tensor, "size"]:
        return as_given(points.to(self.shift).flatten(1) @ self._slope.flatten(), points)


def dirac_pair(x: Shaped[Tensor, "*shape"], y: Shaped[Tensor, "*shape"]) -> TranslationPair:
    """Two points: W₁ = ‖x − y‖. Integers are taken as float64.

    >>> dirac_pair(torch.zeros(2), torch.tensor([3.0, 4.0])).w1
    5.0
    """
    x, y = as_real(x), as_real(y)
    return TranslationPair(lambda _, size: x.expand(size, *x.shape), y - x)


@dataclass(frozen=True, eq=False)
class ConePair(KnownPair):
    """P on spheres of one radius about the apexes, Q on the apexes: W₁ = radius, f = distance to the nearest.

    apexes: [N, *shape], equally likely. directions: [K, *shape] unit vectors, equally likely; None
    stands for the whole sphere.
    """

    apexes: Float[Tensor, "apexes *shape"]
    radius: float
    directions: Float[Tensor, "directions *shape"] | None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.apexes.shape[1:])

    @property
    def w1(self) -> float:
        return self.radius

    def sample(self, generator: torch.Generator, size: int) -> CoupledSamples:
        y = _pick(self.apexes, generator, size)
        v = self._unit_vectors(generator, size)
        return CoupledSamples(y + self.radius * v, y, v, y.new_full((size,), self.radius))

    def potential(self, points: Float[Tensor, "size *shape"]) -> Float[Tensor, "size"]:
        to_apexes = distances(points.to(self.apexes).flatten(1), self.apexes.flatten(1))
        return as_given(to_apexes.amin(1), points)

    def _unit_vectors(self, generator: torch.Generator, size: int) -> Tensor:
        if self.directions is not None:
            return _pick(self.directions, generator, size)
        gaussian = torch.randn(size, *self.shape, generator=generator, dtype=self.apexes.dtype)
        return torch.nn.functional.normalize(gaussian.flatten(1), dim=1).reshape(gaussian.shape)


def _pick(rows: Tensor, generator: torch.Generator, size: int) -> Tensor:
    return rows[torch.randint(len(rows), (size,), generator=generator)]


def cone_pair(
    apexes: Shaped[Tensor, "apexes *shape"],
    radius: float,
    directions: Shaped[Tensor, "directions *shape"] | None = None,
) -> ConePair:
    """A ConePair; raises ArgumentError where spheres overlap, for W₁ may then be less than the radius.

    directions: unit vectors; raises ArgumentError for others. Integers are taken as float64.

    >>> cone_pair(torch.zeros(1, 128), radius=1.0).w1  # a cone in 128 dimensions
    1.0
    """
    require_positive("apexes", len(apexes))
    apexes, directions = as_real(apexes), None if directions is None else as_real(directions)
    nearest = distances(apexes.flatten(1), apexes.flatten(1)).fill_diagonal_(math.inf).min()
    if not 0 < radius <= nearest / 2:
        raise ArgumentError(
            "radius",
            f"positive and at most half the distance between apexes, {nearest / 2:g}",
            radius,
            "shrink it",
        )
    if directions is not None and not ((directions.flatten(1).norm(dim=1) - 1).abs() <= _UNIT).all():
        remedy = "divide them by their norms"
        raise ArgumentError("directions", "unit vectors", "others", remedy)
    return ConePair(apexes, radius, directions)


def absolute_value_pair() -> ConePair:
    """±1 against the point 0 on the line: W₁ = 1, f = |x|.

    >>> absolute_value_pair().potential(torch.tensor([[-2.0], [0.5]], dtype=torch.float64))
    tensor([2.0000, 0.5000], dtype=torch.float64)
    """
    return cone_pair(torch.zeros(1, 1, dtype=torch.float64), 1.0)


def three_cones_pair() -> ConePair:
    """Circles of radius 1 about (−2, 0), (0, 0) and (2, 0) against these points: W₁ = 1."""
    return cone_pair(torch.tensor([[-2.0, 0.0], [0.0, 0.0], [2.0, 0.0]], dtype=torch.float64), 1.0)


def squares_pair(size: int = 64, side: int = 35) -> ConePair:
    """Images [1, size, size]: a centred square of side `side`, all 1 or all −1, against black: W₁ = side.

    >>> pair = squares_pair()
    >>> pair.w1, pair.sample(torch.Generator(), 2).x.flatten(1).norm(dim=1)
    (35.0, tensor([35., 35.], dtype=torch.float64))
    """
    require_positive("side", side)
    if side > size:
        raise ArgumentError("side", f"at most the size of the image, {size}", side, "draw a smaller square")
    square = torch.zeros(1, size, size, dtype=torch.float64)
    start = (size - side) // 2
    square[:, start : start + side, start : start + side] = 1 / side
    return cone_pair(
        torch.zeros(1, 1, size, size, dtype=torch.float64), float(side), torch.stack([square, -square])
    )
