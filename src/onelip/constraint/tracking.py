"""Follow the leading singular pair of an operator whose weight moves a little at a time.

A block of right vectors V goes through one Rayleigh–Ritz step on span{V, AᵀA V}: block Lanczos, restarted
after each step (Golub & Van Loan, "Matrix Computations", 4th ed., §10.3.6). One vector alone would lag when
another singular value overtakes the first, because it holds next to nothing of that one's direction; a block
holds the runners-up already.
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
    """sigma = ⟨u, A V[0]⟩, a lower bound of ‖A‖₂; V: orthonormal right vectors, the leading one first."""

    sigma: Float[Tensor, ""]
    u: Float[Tensor, "*out_shape"]
    V: Float[Tensor, "block *in_shape"]


def start_block(map: LinearMap) -> Float[Tensor, "block *in_shape"]:
    """Reproducible random directions to start from."""
    n, m = math.prod(map.in_shape), math.prod(map.out_shape)
    size = min(BLOCK, n, max(2, min(m, LARGEST_BLOCK_ELEMENTS // n)))
    return torch.stack([start_vector(map, seed) for seed in range(size)])


def converge(
    map: LinearMap,
    V: Float[Tensor, "block *in_shape"],
    sigma: Float[Tensor, ""],
    tolerance: float,
    max_steps: int,
) -> Leading:
    """Ritz steps, at least one, until one raises the estimate `sigma` by no more than `tolerance` (relative).

    A fixed random direction takes the last one's place at first: what has no part at all in V, such as
    another group of a convolution, would never be found otherwise.
    """
    V = torch.cat([V[:-1], start_vector(map, seed=BLOCK)[None]])
    leading = ritz_step(map, V)
    for _ in range(max_steps - 1):
        if leading.sigma <= (1 + tolerance) * sigma:
            break
        sigma = leading.sigma
        leading = ritz_step(map, leading.V)
    return leading


def ritz_step(map: LinearMap, V: Float[Tensor, "block *in_shape"]) -> Leading:
    """The directions in span{V, AᵀA V} that A stretches most; a V that is not orthonormal will do.

    >>> from onelip.linear.maps import Dense
    >>> ritz_step(Dense(torch.diag(torch.tensor([3.0, 2.0, 1.0]))), torch.ones(1, 3)).sigma
    tensor(2.9...)
    """
    AV = map.apply(V)
    rows = V.flatten(1)
    R = map.adjoint(AV).flatten(1)
    # What is left beside V is tiny once V has converged: scaled up here, or the Gram matrix would lose it.
    R = _unit_rows(_unit_rows(R) - (_unit_rows(R) @ rows.T) @ rows)
    S = torch.cat([rows, R])
    AS = torch.cat([AV, map.apply(R.reshape(V.shape))])
    Q = _ritz_coefficients(S, AS.flatten(1))[: len(V)]
    V, AV = (Q @ S).reshape(V.shape), torch.tensordot(Q, AS, 1)
    # Rounding leaves V[0] a little off unit length; by its true length sigma stays a lower bound.
    length = torch.linalg.vector_norm(V[0])
    return Leading(torch.linalg.vector_norm(AV[0]) / length, normalize(AV[0]), V)


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
