"""Sound upper bounds on norms: a Cholesky factorisation that runs to its end is a proof.

Rump, "Verification of positive definiteness", BIT Numerical Mathematics 46 (2006): if floating-point
Cholesky of H = t·I − A*A succeeds, then λ_min(H) ≥ −(a small known number), hence ‖A‖₂² ≤ t + allowance.

Note: rounding. u = 2⁻⁵³ and everything is float64, real or complex; item 7 is about single precision. The
arithmetic may run in any order and may fuse multiply and add; fast (Strassen-like) products are excluded,
and so is overflow.

1.  One real operation rounds by a factor 1 + δ with |δ| ≤ u, one complex operation with |δ| ≤ √2·γ₂ < 3u
    (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., Lemma 3.5). A product of k such
    factors differs from 1 by at most γ₃ₖ = 3ku/(1 − 3ku) ≤ 4ku =: growth(k) wherever ku ≤ 1/12.
2.  A computed Gram matrix Ĝ of A with m rows obeys |Ĝ − A*A| ≤ growth(m)·|A|*|A| entry by entry (ibid. §3.5),
    so ‖Ĝ − A*A‖₂ ≤ growth(m)·‖A‖_F². Only one triangle of it is read; the bound is symmetric.
3.  H = t·I − Ĝ rounds on its diagonal only, by at most u·h_ii, and 0 < h_ii ≤ t if it succeeds.
4.  Entry (i, j) of the computed factor's product obeys |R*R − H|_ij ≤ c_min(i,j)·(|R*||R|)_ij with
    c_i = growth(i + 2) (ibid. Lemma 8.4; one operation more, for pivots that are applied as rounded
    reciprocals). The diagonal gives Σₖ|r_ki|² ≤ h_ii/(1 − c_i), Cauchy–Schwarz |R*R − H|_ij ≤ √(d_i d_j)
    with d_i = c_i/(1 − c_i)·h_ii, as Rump does; and 1 − c_i ≥ 2/3, so that the norm of such a
    matrix is at most Σ d_i ≤ 3/2·t·Σ c_i = 3/4·t·n·growth(n + 5) < t·n·growth(n + 5).
5.  Underflow adds at most 2⁻¹⁰⁷⁴ an operation: below 2⁻⁹⁰⁰ in all for any matrix that fits a memory.
6.  Items 2 and 3 hold on any device. Item 4 is about substitution, and GPU libraries are known to multiply by
    inverted blocks instead; so factorisations, which are the cheap part, run on the CPU.
7.  All the same holds in single precision with u = 2⁻²⁴, and proves less at half the cost. That Ĝ and H are
    rounded once from float64 adds 2u·‖Ĝ‖_F to the error of Ĝ, that they may underflow less than 2⁻⁹⁰: where
    ‖Ĝ‖_F ≤ size and size ≥ 1, callers add 4u·size.

Together λ_max(A*A) ≤ t + t·(u + n·growth(n + 5)) + ‖Ĝ − A*A‖₂ + 2⁻⁹⁰⁰. Callers scale a
weight by a power of two first: with its largest entry in [1, 2) squares stay finite and 2⁻⁹⁰⁰ is nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Inexact
from torch import Tensor

U, SINGLE_U = 2.0**-53, 2.0**-24
UNDERFLOW = 2.0**-900
BLOCK = 256
# Covers the rounding of a bound's own evaluation: a handful of float64 operations on its way out.
OUTWARD = 1 + 2.0**-50


def growth(k: int, u: float = U) -> float:
    """Bound on |Π(1 + δᵢ) − 1| over k real or complex roundings: item 1 of the note.

    >>> growth(1000) < 1e-12
    True
    """
    assert k * u <= 1 / 12, f"{k} operations are too many for this bound"
    return 4 * k * u


def proves(G: Inexact[Tensor, "batch n n"], t: Float[Tensor, "batch"]) -> Bool[Tensor, "batch"]:
    """Whether Cholesky of t·I − G runs to its end, matrix by matrix; reads lower triangles.

    On the CPU: item 6 of the note. The transposed upper factor costs up to a third less than the lower one.
    """
    H = -G.cpu()
    H.diagonal(dim1=-2, dim2=-1).add_(t.cpu().unsqueeze(-1))
    return (torch.linalg.cholesky_ex(H.mT, upper=True).info == 0).to(G.device)


def proved_squares(
    G: Inexact[Tensor, "batch n n"], estimate: Float[Tensor, "batch"], rtol: float
) -> Float[Tensor, "batch"]:
    """Per matrix a t ≥ estimate·(1 + rtol) for which Cholesky of t·I − G succeeded.

    A matrix that refuses gets four times the margin and is tried again: a bad estimate costs width and
    time, never soundness.
    """
    floor = (rtol * 2.0**-10 * estimate.max()).clamp_min(UNDERFLOW)
    t = (estimate * (1 + rtol)).clamp_min(floor)
    margin, open_ = rtol, (~proves(G, t)).nonzero().squeeze(1)
    while len(open_):
        margin *= 4
        t[open_] = (estimate[open_] * (1 + margin)).clamp_min(floor * margin / rtol)
        open_ = open_[~proves(G[open_], t[open_])]
    return t


Square = TypeVar("Square", float, Tensor)


def square_bound(t: Square, n: int, gram_error: float, u: float = U) -> Square:
    """λ_max(A*A) ≤ this, once Cholesky of t·I − Ĝ succeeded for a Ĝ of order n within gram_error of A*A."""
    allowance = t * (u + n * growth(n + 5, u)) + gram_error + UNDERFLOW
    return (t + allowance) * OUTWARD


def leading_eigenvalues(G: Inexact[Tensor, "batch n n"], steps: int = 20) -> Float[Tensor, "batch"]:
    """Estimates of each largest eigenvalue by Lanczos in single precision. No bound in either direction.

    Vectors are not kept orthogonal: an eigenvalue that is then found twice does no harm.
    """
    G = G.to(torch.complex64 if G.is_complex() else torch.float32)
    x = torch.randn(1, 1, G.shape[-1], generator=torch.Generator().manual_seed(0)).to(G)
    x, before, beta = x / torch.linalg.vector_norm(x), torch.zeros_like(x), x.real.new_zeros(1)
    alphas, betas = [], []
    for _ in range(min(steps, G.shape[-1])):
        y = x @ G - beta * before
        alphas.append((x.conj() * y).real.sum(-1, keepdim=True))
        y = y - alphas[-1] * x
        betas.append(torch.linalg.vector_norm(y, dim=-1, keepdim=True))
        beta, fresh = betas[-1], betas[-1] > torch.finfo(y.dtype).eps * alphas[0].abs()
        before, x = x, torch.where(fresh, y / beta, 0)  # else nothing but rounding is left
    diagonal, below = torch.cat(alphas, -1).squeeze(1), torch.cat(betas, -1).squeeze(1)[:, :-1]
    T = torch.diag_embed(diagonal) + torch.diag_embed(below, -1)
    return torch.linalg.eigvalsh(T)[..., -1].double().clamp_min(0)


@dataclass(frozen=True)
class DenseGram:
    """AᵀA or AAᵀ, whichever is smaller, its lower triangle at least, and a bound on ‖G − that‖₂."""

    G: Float[Tensor, "n n"]
    error: float

    @property
    def order(self) -> int:
        return len(self.G)

    def proves(self, t: float) -> bool:
        return bool(proves(self.G.unsqueeze(0), self.G.new_full((1,), t)))


def dense_gram(A: Float[Tensor, "m n"]) -> DenseGram:
    """Item 2 of the note. By blocks, which spares most of the upper triangle that nobody reads."""
    X = A if A.shape[1] < A.shape[0] else A.mT
    G = X.new_zeros(X.shape[1], X.shape[1])
    for i in range(0, X.shape[1], BLOCK):
        G[i : i + BLOCK, : i + BLOCK] = X[:, i : i + BLOCK].mT @ X[:, : i + BLOCK]
    frobenius_square = float(torch.linalg.vector_norm(A)) ** 2 * (1 + growth(A.numel() + 4))
    return DenseGram(G, growth(max(A.shape)) * frobenius_square * OUTWARD)
