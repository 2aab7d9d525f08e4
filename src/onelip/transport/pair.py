"""Two laws whose optimal coupling is known: the common form of every problem with a known answer."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.transport.estimate import Estimate
from onelip.transport.samples import require_positive


@dataclass(frozen=True, eq=False)
class CoupledSamples:
    """Rows (x_i, y_i) drawn from the optimal plan of P and Q, with the answer at each.

    x, y: [size, *shape], from P and from Q; the optimal plan moves x_i to y_i.
    gradient: [size, *shape], ∇f(x_i) of every optimal potential f that is differentiable there: the unit
      vector (x_i − y_i)/‖x_i − y_i‖, against the direction of transport; zero where nothing moves
      (Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, proposition 1).
    distance: [size], ‖x_i − y_i‖, whose mean is W₁.
    """

    x: Float[Tensor, "size *shape"]
    y: Float[Tensor, "size *shape"]
    gradient: Float[Tensor, "size *shape"]
    distance: Float[Tensor, "size"]


class KnownPair(ABC):
    """Laws P and Q with an optimal 1-Lipschitz potential f: W₁(P, Q) = E_P f − E_Q f = E‖x − y‖."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""

    @abstractmethod
    def sample(self, generator: torch.Generator, size: int) -> CoupledSamples:
        """`size` independent rows of the optimal plan; taken alone, x is a sample of P and y one of Q."""

    @abstractmethod
    def potential(self, points: Float[Tensor, "size *shape"]) -> Float[Tensor, "size"]:
        """f at any points; differentiable in them. In their dtype, whatever the pair is computed in."""


def as_given(values: Float[Tensor, "size"], points: Tensor) -> Float[Tensor, "size"]:
    """Values at points in the dtype and on the device of these; of integers, as they were computed."""
    return values.to(points) if points.is_floating_point() else values


def stream(purpose: str, seed: int) -> torch.Generator:
    """A generator on the CPU that shares no numbers with `torch.Generator().manual_seed(seed)`.

    Without it the centers of pair 0 would be the first samples that a user's generator 0 draws, and
    a critic trained on seed 0 would be scored on its training samples.

    >>> torch.rand(1, generator=stream("pair", 0)) == torch.rand(1, generator=stream("score", 0))
    tensor([False])
    """
    digest = hashlib.sha256(f"{purpose} {seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7]))


def monte_carlo_w1(
    pair: KnownPair, generator: torch.Generator, size: int = 10**6, batch: int = 2**14
) -> Estimate:
    """W₁ = E‖x − y‖ over `size` coupled samples, `batch` at a time, with its standard error.

    >>> from onelip.transport.funnel import funnel_pair
    >>> w1 = monte_carlo_w1(funnel_pair(2, 4, seed=0), torch.Generator().manual_seed(0), size=4096)
    >>> 0.4 < w1.value < 1.2, w1.standard_error < 0.02
    (True, True)
    """
    distances = [pair.sample(generator, count).distance for count in batch_sizes(size, batch)]
    return Estimate.of_mean(torch.cat(distances))


def batch_sizes(size: int, batch: int) -> Iterator[int]:
    """`size` in parts of `batch` and a rest.

    >>> list(batch_sizes(10, 4))
    [4, 4, 2]
    """
    require_positive("size", size)
    require_positive("batch", batch)
    return (min(batch, size - start) for start in range(0, size, batch))
