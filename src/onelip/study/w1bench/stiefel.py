"""Optimise on the Stiefel manifold without differentiating through an orthogonalisation.

A weight stays orthogonal because every step starts on the manifold, follows the tangential part of the
gradient, and is pulled back: so close to the manifold an iteration or two of Newton–Schulz do it. A few
products of matrices take the place of a decomposition and its derivative.

P.-A. Absil, R. Mahony, R. Sepulchre, "Optimization Algorithms on Matrix Manifolds", Princeton 2008, §3.6.
N. J. Higham, "Functions of Matrices", SIAM 2008, §8.3 (Newton–Schulz).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

CONVERGED = 8  # iterations from float32's rounding to float64's: the error is squared in each


def tangential(W: Float[Tensor, "m n"], G: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """The part of G tangent to the matrices with orthonormal rows (wide W) or columns (tall W), at W.

    G − W sym(WᵀG): along it WᵀW does not change to first order.

    >>> import torch
    >>> W = torch.eye(2)
    >>> tangential(W, torch.tensor([[5.0, 1.0], [3.0, 5.0]]))
    tensor([[ 0., -1.],
            [ 1.,  0.]])
    """
    if W.shape[0] < W.shape[1]:
        return tangential(W.mT, G.mT).mT
    S = W.mT @ G
    return G - W @ (S + S.mT) / 2


def newton_schulz(W: Float[Tensor, "m n"], iterations: int = 1) -> Float[Tensor, "m n"]:
    """W ← W(3I − WᵀW)/2: each singular value σ becomes σ(3 − σ²)/2, an error e about −3e²/2.

    Converges for 0 < σ < √3; whoever leaves the manifold farther must decompose.

    >>> import torch
    >>> newton_schulz(torch.diag(torch.tensor([1.01, 0.99])), 3)
    tensor([[1., 0.],
            [0., 1.]])
    """
    for _ in range(iterations):
        W = 1.5 * W - 0.5 * (W @ W.mT @ W if W.shape[0] < W.shape[1] else W @ (W.mT @ W))
    return W
