"""Follow the leading singular pair of an operator whose weight moves a little at a time.

A block of right vectors V goes through one Rayleigh–Ritz step on span{V, AᵀA V, P}, P being what V was one
step ago: LOBPCG without a preconditioner (Knyazev, "Toward the Optimal Preconditioned Eigensolver", SIAM J.
Sci. Comput. 23, 2001, algorithm 5.1) for the largest eigenvalues of AᵀA. One vector alone would lag when
another singular value overtakes the first, because it holds next to nothing of that one's direction; a block
holds the runners-up already, and P makes up for the crowd of singular values at the edge of a spectrum.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.linear.maps import LinearMap
from onelip.linear.power import normalize, start_vector

BLOCK = 8
LARGEST_BLOCK_ELEMENTS = 2**20  # at inputs of more than 2¹⁷ entries memory says more than a runner-up


class Leading(NamedTuple):
    """sigma = ⟨u, A v⟩, a lower bound of ‖A‖₂, with v the first row of the basis [V; P]."""

    sigma: Float[Tensor, ""]
    u: Float[Tensor, "*out_shape"]
    basis: Float[Tensor, "block *in_shape"]


def start_block(map: LinearMap) -> Float[Tensor, "block *in_shape"]:
    """Reproducible random directions to start from."""
    n, m = math.prod(map.in_shape), math.prod(map.out_shape)
    size = min(BLOCK, n, max(2, min(m, LARGEST_BLOCK_ELEMENTS // n)))
    return torch.stack([start_vector(map, seed) for seed in range(size)])


def converge(
    map: LinearMap,
    basis: Float[Tensor, "block *in_shape"],
    sigma: Float[Tensor, ""],
    tolerance: float,
    max_steps: int,
) -> Leading:
    """Ritz steps, at least one, until one raises `sigma`, the last estimate, by at most `tolerance` of it."""
    leading = ritz_step(map, basis)
    for _ in range(max_steps - 1):
        if leading.sigma <= (1 + tolerance) * sigma:
            break
        sigma = leading.sigma
        leading = ritz_step(map, leading.basis)
    return leading


def direction_of_change(
    map: LinearMap, change: Float[Tensor, "*weight"], start: Float[Tensor, "*in_shape"]
) -> Float[Tensor, "*in_shape"]:
    """What a change of the weight acts on most, after one power iteration on A(change) from a random start.

    A singular value that overtakes all others does so along this. The basis may have no part in it, as where
    another group of a convolution grows, and would then never find it.
    """
    largest = change.abs().amax()
    if not 0 < largest < math.inf:
        return start
    A = map.with_weight(change / largest)
    return normalize(A.adjoint(A.apply(start[None])), otherwise=start[None])[0]


def ritz_step(map: LinearMap, basis: Float[Tensor, "block *in_shape"]) -> Leading:
    """The directions in span{V, AᵀA V, P} that A stretches most, for basis = [V; P] of any independent rows.

    >>> from onelip.linear.maps import Dense
    >>> ritz_step(Dense(torch.diag(torch.tensor([3.0, 2.0, 1.0]))), torch.ones(1, 3)).sigma
    tensor(2.9...)
    """
    count = _leading(basis)
    V, P = basis.flatten(1).tensor_split([count])
    AV = map.apply(basis[:count])
    # Both are tiny beside V once V has converged: scaled up here, or the Gram matrix would lose them.
    rest = torch.cat([_beside(V, map.adjoint(AV).flatten(1)), _beside(V, P)])
    S = torch.cat([V, rest])
    AS = torch.cat([AV, map.apply(rest.reshape(-1, *map.in_shape))])
    Q = _ritz_coefficients(S, AS.flatten(1))[:count]
    V_next, AV = (Q @ S).reshape(-1, *map.in_shape), torch.tensordot(Q, AS, 1)
    # Rounding leaves V[0] a little off unit length; by its true length sigma stays a lower bound.
    sigma = torch.linalg.vector_norm(AV[0]) / torch.linalg.vector_norm(V_next[0])
    return Leading(sigma, normalize(AV[0]), torch.cat([V_next, basis[: len(P)]]))


def put_in(fresh: Float[Tensor, "*in_shape"], basis: Float[Tensor, "block *in_shape"]) -> Tensor:
    """The basis with another direction in the place of the least of V."""
    least = _leading(basis) - 1
    return torch.cat([basis[:least], fresh[None], basis[least + 1 :]])


def _leading(basis: Tensor) -> int:
    """How many rows of [V; P] are V."""
    return len(basis) - len(basis) // 4


def _beside(V: Float[Tensor, "k n"], x: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """The part of x that is orthogonal to the orthonormal rows of V, each row scaled to length 1."""
    x = _unit_rows(x)
    return _unit_rows(x - (x @ V.T) @ V)


def _ritz_coefficients(S: Float[Tensor, "k n"], AS: Float[Tensor, "k m"]) -> Float[Tensor, "k k"]:
    """Rows q, best first, with Σ qᵢ Sᵢ orthonormal and ‖Σ qᵢ ASᵢ‖ stationary.

    Directions in which the rows of S depend on one another are weighted with zero.
    """
    values, vectors = torch.linalg.eigh((S @ S.T).double())
    independent = values > 1e-5 * values[-1]
    whiten = vectors * torch.where(independent, values, torch.inf).rsqrt()
    _, ritz = torch.linalg.eigh(whiten.T @ (AS @ AS.T).double() @ whiten)
    return (whiten @ ritz).T.flip(0).to(S.dtype)


def _unit_rows(x: Float[Tensor, "k n"]) -> Float[Tensor, "k n"]:
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
