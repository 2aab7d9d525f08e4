"""Tighter than the product: an ellipsoid of differences carried through dense layers and activations.

The closed form of ECLipsE-Fast (Xu & Sivaranjani, "ECLipsE: Efficient Compositional Lipschitz Constant
Estimation for Deep Neural Networks", NeurIPS 2024) for any slopes [α, β] with |α| < β. The state is a matrix
P with ‖δ₀‖² ≥ δᵀPδ for the differences δ that inputs differing by δ₀ cause. Through x ↦ φ(Wx + b), with

    (δ′ − αWδ)ᵀ(βWδ − δ′) ≥ 0   (φ's slopes lie in [α, β])

times 2λ subtracted and δ eliminated (a Schur complement), the next state is any P′ with

    [ P + 2αβλ WᵀW    −(α + β)λ Wᵀ ]
    [ −(α + β)λ W       2λI − P′   ]  ⪰ 0.

λ = 1/(β(β − α)s) with s = ‖W P⁻¹ Wᵀ‖ gives P′ ⪰ I/(β²s): never worse than the product of norms. The formula
only proposes P′; a Cholesky factorisation with its rounding term proves the inequality (notes in
linear/cholesky.py), and a proposal without proof is not used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.certificate.effects import times, up
from onelip.certificate.slopes import Slopes
from onelip.linear.cholesky import UNDERFLOW, U, growth

WIDEST = 2048  # order of the largest matrix that is factorised: about a second


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """‖δ₀‖² · scale² ≥ δᵀPδ: scale keeps P near 1 and is a power of two times a bound."""

    P: Float[Tensor, "n n"]
    scale: float


@dataclass(frozen=True, eq=False)
class Matrix:
    """A matrix W that is known up to an error of at most `error` in the 2-norm."""

    W: Float[Tensor, "m n"]
    error: float = 0.0

    def normalized(self) -> tuple[Matrix, float]:
        """(self / t, t) for a power of two t near ‖W‖_F, or t = 0 for the zero matrix: no rounding."""
        norm = self.W.norm().item()
        if norm == 0 or not math.isfinite(norm):
            return self, 0.0
        t = 2.0 ** round(math.log2(norm))
        return Matrix(self.W / t, self.error / t), t


def start(n: int, bound: float) -> Ellipsoid:
    """All differences of norm at most bound·‖δ₀‖."""
    return Ellipsoid(torch.eye(n, dtype=torch.float64), bound)


def through_layer(ellipsoid: Ellipsoid, matrix: Matrix, slopes: Slopes) -> Ellipsoid | None:
    """The ellipsoid behind x ↦ φ(Wx + b), or None where none is proved (or the layer is too wide).

    >>> state = through_layer(start(2, 1.0), Matrix(torch.eye(2).double()), Slopes(0.0, 1.0))
    >>> bool((state.P / state.scale**2 <= torch.eye(2)).all())
    True
    """
    W, t = matrix.normalized()
    a, b = slopes.low, slopes.high
    m, n = W.W.shape
    if m + n > WIDEST or not (abs(a) < b) or not 2.0**-900 < ellipsoid.scale * t < 2.0**900:
        return None
    inverse = b * (b - a) * _spread(ellipsoid.P, W.W)
    if not 2.0**-900 < inverse < 2.0**900:
        return None
    weight = 1 / inverse
    top = ellipsoid.P + 2 * a * b * weight * (W.W.T @ W.W)
    side = -(a + b) * weight * W.W
    solution, failed = torch.linalg.solve_ex(top, side.T)
    if failed.item():
        return None
    complement = side @ solution
    proposal = 2 * weight * torch.eye(m, dtype=torch.float64) - (complement + complement.T) / 2
    doubt = _rounding(W, weight, a, b, n)
    for slack in (1e-9, 1e-7, 1e-5):
        P = proposal - slack * weight * torch.eye(m, dtype=torch.float64)
        block = torch.cat([torch.cat([top, side.T], 1), torch.cat([side, _minus(2 * weight, P)], 1)])
        proved = proves_semidefinite(block, doubt + 4 * U * (2 * weight + P.norm().item()))
        if proved and P.diagonal().max() > 0:  # else it bounds nothing
            return _rescaled(P, ellipsoid.scale * t)
    return None


def through_output(ellipsoid: Ellipsoid, matrix: Matrix) -> float | None:
    """The least proved c with ‖Wδ‖ ≤ c·‖δ₀‖, from c²P − WᵀW ⪰ 0; None where nothing is proved."""
    W, t = matrix.normalized()
    n = W.W.shape[1]
    if t == 0 or n > WIDEST:
        return None
    s, norm = _spread(ellipsoid.P, W.W), W.W.norm().item()
    gram = W.W.T @ W.W
    for slack in (1e-10, 1e-8, 1e-6, 1e-4):
        c = s * (1 + slack)
        doubt = growth(W.W.shape[0]) * norm**2 + W.error * (2 * norm + W.error)
        doubt += 4 * U * (c * ellipsoid.P.norm().item() + norm**2)
        if proves_semidefinite(c * ellipsoid.P - gram, doubt * (1 + 1e-6)):
            return times(up(math.sqrt(c), 2), times(ellipsoid.scale, t))
    return None


def proves_semidefinite(A: Float[Tensor, "n n"], doubt: float) -> bool:
    """Whether every symmetric matrix within `doubt` (2-norm) of A is proved positive semidefinite.

    Cholesky of A − shift·I runs to its end only if A − shift·I ⪰ −2c·trace with c = growth(n + 2).
    """
    n = len(A)
    trace = A.diagonal().abs().sum().item()
    shift = (doubt + (2 * growth(n + 2) + 4 * U) * trace) * (1 + 1e-6) + UNDERFLOW
    shifted = (A + A.T) / 2
    shifted.diagonal().sub_(shift + U * trace)
    return torch.linalg.cholesky_ex(shifted).info.item() == 0


def _spread(P: Tensor, W: Tensor) -> float:
    """‖W P⁻¹ Wᵀ‖₂, estimated: it only enters proposals."""
    L = torch.linalg.cholesky_ex(P).L
    half = torch.linalg.solve_triangular(L, W.T, upper=False)
    return torch.linalg.matrix_norm(half, 2).item() ** 2


def _rounding(W: Matrix, weight: float, a: float, b: float, n: int) -> float:
    """How far the block of `through_layer` may be from the exact one, in the 2-norm, from above."""
    norm = W.W.norm().item()
    gram = 2 * abs(a * b) * weight
    side = abs(a + b) * weight
    computed = gram * (growth(len(W.W)) + 8 * U) * norm**2 + 8 * U * (side * norm + n)
    uncertain = gram * W.error * (2 * norm + W.error) + side * W.error
    return (computed + uncertain) * (1 + 1e-6)


def _minus(diagonal: float, P: Tensor) -> Tensor:
    block = -P
    block.diagonal().add_(diagonal)
    return block


def _rescaled(P: Tensor, scale: float) -> Ellipsoid:
    """P/t² with scale/t for the power of two t that brings P near 1."""
    t = 2.0 ** round(math.log2(P.diagonal().max().item()) / 2)
    return Ellipsoid(P / t**2, scale / t)
