"""The nearest matrix with orthonormal rows or columns, and its derivative.

Higham, "Computing the Polar Decomposition—with Applications", SIAM J. Sci. Stat. Comput. 7, 1986: W = QP with
P positive semidefinite; for W = U S Vᵀ that is Q = U Vᵀ, the nearest such matrix in Frobenius norm.
The SVD finds it for a singular W, too, on which Newton–Schulz and Björck do not converge.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from onelip.errors import ArgumentError


def polar_factor(W: Float[Tensor, "*batch m n"]) -> Float[Tensor, "*batch m n"]:
    """Q of the polar decomposition: all its singular values are 1. NaN or infinity in W give NaN.

    Where W is singular, Q is one of several nearest matrices. The derivative is bounded by 1/(eps·‖W‖) there,
    and everywhere by 10¹⁹ in single precision: at zero it has no bound of its own.

    Raises ArgumentError within the transforms of torch.func.

    >>> polar_factor(torch.tensor([[3.0, 0.0], [0.0, -2.0]]))
    tensor([[ 1.,  0.],
            [ 0., -1.]])
    """
    if W.numel() == 0:
        return W
    if not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
        wanted, remedy = "read outside the transforms of torch.func", "transform what onelip.bake returns"
        raise ArgumentError("an orthogonal weight", wanted, "within one", remedy)
    return _Polar.apply(W)  # pyright: ignore[reportReturnType]


class _Polar(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, W: Tensor) -> Tensor:
        exact = torch.promote_types(W.dtype, torch.float32)
        finite = torch.isfinite(W).all()
        U, S, Vh = torch.linalg.svd(torch.where(finite, W, 0).to(exact), full_matrices=False)
        ctx.save_for_backward(U, S, Vh)
        return torch.where(finite, U @ Vh, torch.nan).to(W.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """dQ = U [(M − Mᵀ) / (sᵢ + sⱼ)] Vᵀ + (I − UUᵀ) dW V S⁻¹ Vᵀ + U S⁻¹ Uᵀ dW (I − VVᵀ), M = Uᵀ dW V.

        From dW = dQ P + Q dP with QᵀdQ skew; the map is its own adjoint, so that it takes gradients too.
        """
        U, S, Vh = ctx.saved_tensors
        V, G = Vh.mT, grad_outputs[0].to(U.dtype)
        kind = torch.finfo(S.dtype)
        floor = (kind.eps * S.amax(-1, keepdim=True)).clamp_min(math.sqrt(kind.tiny))
        S = S.maximum(floor)
        M = U.mT @ G @ V
        dW = U @ ((M - M.mT) / (S[..., :, None] + S[..., None, :])) @ Vh
        # The other two terms are zero where U, or V, is square.
        if U.shape[-2] > U.shape[-1]:
            dW = dW + (G @ V - U @ M) / S[..., None, :] @ Vh
        if V.shape[-2] > V.shape[-1]:
            dW = dW + U / S[..., None, :] @ (U.mT @ G - M @ Vh)
        return dW.to(grad_outputs[0].dtype)
