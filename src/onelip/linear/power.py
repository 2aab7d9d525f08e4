"""Power iteration: the largest singular value of a linear map, from below.

Golub & Van Loan, "Matrix Computations", 4th ed., §8.2.1 applied to AᵀA, normalised in each half
step as in Miyato et al., "Spectral Normalization for GANs", ICLR 2018, algorithm 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.linear.maps import LinearMap


class SingularTriple(NamedTuple):
    """sigma = ⟨u, A v⟩ with unit u and v: always a lower bound of ‖A‖₂, exact once they converged."""

    sigma: Float[Tensor, ""]
    u: Float[Tensor, "*out_shape"]
    v: Float[Tensor, "*in_shape"]


def power_iteration(map: LinearMap, v: Float[Tensor, "*in_shape"], steps: int) -> SingularTriple:
    """`steps` iterations v ← Aᵀ(Av), normalised in each half step, from a start v of any length.

    The error of sigma shrinks by (σ₂/σ₁)² an iteration. A zero map gives sigma = 0 and u = 0.

    >>> from onelip.linear.maps import Dense
    >>> power_iteration(Dense(torch.diag(torch.tensor([3.0, 1.0]))), torch.ones(2), steps=20).sigma
    tensor(3.)
    """
    v = normalize(v.unsqueeze(0))
    u = normalize(map.apply(v))
    for _ in range(steps):
        v = normalize(map.adjoint(u), otherwise=v)
        u = normalize(map.apply(v))
    return SingularTriple((u * map.apply(v)).sum(), u.squeeze(0), v.squeeze(0))


def normalize(x: Tensor, otherwise: Tensor | None = None) -> Tensor:
    """x/‖x‖, or zeros (or `otherwise`) where x is zero: an iterate must never become NaN."""
    norm = torch.linalg.vector_norm(x)
    unit = x / norm.clamp_min(torch.finfo(x.dtype).tiny)
    return unit if otherwise is None else torch.where(norm > 0, unit, otherwise)


def start_vector(map: LinearMap, seed: int = 0) -> Float[Tensor, "*in_shape"]:
    """A reproducible random unit start, almost surely not orthogonal to the leading singular vector."""
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(map.in_shape, generator=generator, dtype=torch.float64)
    return (v / torch.linalg.vector_norm(v)).to(map.weight)
