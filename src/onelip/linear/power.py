"""The largest singular value of a linear map from below: power iteration and Lanczos.

Power iteration: Golub & Van Loan, "Matrix Computations", 4th ed., §8.2.1 applied to AᵀA, normalised in
each half step as in Miyato et al., "Spectral Normalization for GANs", ICLR 2018, algorithm 1.
Lanczos: ibid. §10.1–10.4, as Rayleigh–Ritz on the Krylov space of AᵀA with full reorthogonalisation.
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

    The tangent of the angle to v shrinks by (σ₂/σ₁)² an iteration, the error of sigma by (σ₂/σ₁)⁴. A zero map
    gives sigma = 0 and u = 0.

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


def lanczos(map: LinearMap, v: Float[Tensor, "*in_shape"], steps: int) -> SingularTriple:
    """The unit vector of span{v, AᵀAv, …, (AᵀA)^steps v} that A stretches most, from a v of any length.

    Costs what as many power iterations cost and finds at least as much: the error shrinks like that of
    Chebyshev polynomials, not of monomials. Meant for few steps: it keeps 2·(steps + 1) vectors. A start
    that has converged costs nothing in accuracy. A zero map gives sigma = 0 and u = 0; NaN stays NaN.

    >>> from onelip.linear.maps import Dense
    >>> map = Dense(torch.diag(torch.tensor([1.0, 0.99, 0.5])))
    >>> lanczos(map, torch.ones(3), steps=2).sigma, power_iteration(map, torch.ones(3), steps=2).sigma
    (tensor(1.), tensor(0.9945))
    """
    V, AV = [normalize(v.unsqueeze(0))], []
    for _ in range(steps):
        AV.append(map.apply(V[-1]))
        V.append(_orthonormal(map.adjoint(normalize(AV[-1])), torch.cat(V)))
    AV.append(map.apply(V[-1]))
    q = _leading_eigenvector(torch.cat(AV).flatten(1)).to(v.dtype)
    v, Av = torch.tensordot(q, torch.cat(V), 1), torch.tensordot(q, torch.cat(AV), 1)
    # Rounding may leave the basis short of orthonormal; dividing by the true length keeps a lower bound.
    length = torch.linalg.vector_norm(v).clamp_min(torch.finfo(v.dtype).tiny)
    u = normalize(Av)
    return SingularTriple((u * Av).sum() / length, u, v / length)


def _orthonormal(
    x: Float[Tensor, "1 *in_shape"], basis: Float[Tensor, "k *in_shape"]
) -> Float[Tensor, "1 *in_shape"]:
    """x less its part in the basis, normalised; zeros where nothing but rounding is left of x.

    Two passes are enough, and a second one that still takes half away says that x lies in the span
    (Parlett, "The Symmetric Eigenvalue Problem", §6.9). Normalising in between lets a start that has
    converged go on in the fresh direction that rounding gives it.
    """
    rows = basis.flatten(1)
    once = _project_out(normalize(x.flatten(1)), rows)
    twice = _project_out(normalize(once), rows)
    fresh = torch.linalg.vector_norm(twice) > 0.5
    return torch.where(fresh, normalize(twice), torch.zeros_like(twice)).reshape(x.shape)


def _project_out(x: Float[Tensor, "1 n"], rows: Float[Tensor, "k n"]) -> Float[Tensor, "1 n"]:
    return x - (x @ rows.T) @ rows


def _leading_eigenvector(rows: Float[Tensor, "k n"]) -> Float[Tensor, "k"]:
    """The unit q that maximises ‖Σ qᵢ rowᵢ‖, by raising the k×k Gram matrix to the power 2²⁰.

    Unlike eigh it needs no word from the device to the host, and it lets NaN through to the caller.
    """
    gram = (rows @ rows.T).double()
    for _ in range(5):
        trace = gram.trace().clamp_min(torch.finfo(gram.dtype).tiny)
        gram = torch.linalg.matrix_power(gram / trace, 16)
    leading = gram.diagonal().argmax().reshape(1)
    first = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)[0]
    return normalize(gram.index_select(1, leading).squeeze(1), otherwise=first)


def normalize(x: Tensor, otherwise: Tensor | None = None, dim: int | None = None) -> Tensor:
    """x/‖x‖, of all of x or along `dim`; zeros (or `otherwise`) where x is zero: an iterate is never NaN."""
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=dim is not None)
    unit = x / norm.clamp_min(torch.finfo(x.dtype).tiny)
    return unit if otherwise is None else torch.where(norm > 0, unit, otherwise)


def start_vector(map: LinearMap, seed: int = 0) -> Float[Tensor, "*in_shape"]:
    """A reproducible random unit start, almost surely not orthogonal to the leading singular vector."""
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(map.in_shape, generator=generator, dtype=torch.float64)
    return (v / torch.linalg.vector_norm(v)).to(map.weight)
