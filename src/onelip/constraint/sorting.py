"""Sorted rows for activations: on the CPU several times faster than torch's sort.

torch carries the indices along through a comparison sort. Here they ride in the numbers: a float32 leaves
the last 29 bits of a float64 unused, so that value and index are one float64, and NumPy's vectorised sort of
plain float64 orders both at once.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

SHORTEST = 16  # entries: a call a row has its price, and below it torch's sort is as fast
_INDEX = (1 << 28) - 1
_SMALLEST = 5e-324  # a zero with its index is a number as small, and zero itself where such are flushed


def sorted_rows(x: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
    """x with its last axis ascending; differentiable, twice as well.

    >>> sorted_rows(torch.arange(32.0).flip(0))[:3]
    tensor([0., 1., 2.])
    """
    return _Sorted.apply(x) if _packs(x) else x.sort(-1).values  # pyright: ignore[reportReturnType]


def _packs(x: Tensor) -> bool:
    """Whether nobody looks on who has to see a sort, and numbers of x can carry their index.

    An index makes infinity a NaN, so that numbers have to be finite; a sum beyond float32 counts as not.
    """
    return (
        type(x) in (Tensor, torch.nn.Parameter)
        and not torch.compiler.is_compiling()
        and not torch._C._is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and torch._C._len_torch_dispatch_stack() == 0
        and x.dtype == torch.float32
        and x.device.type == "cpu"
        and x.dim() > 0
        and SHORTEST <= x.shape[-1] <= _INDEX
        and _SMALLEST > 0
        and bool(x.detach().sum().isfinite())
    )


class _Sorted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        packed = x.contiguous().double().view(torch.int64)
        packed |= torch.arange(x.shape[-1], device=x.device)
        packed.view(torch.float64).numpy().sort(-1)
        values = packed.view(torch.float64).float()
        order = packed.bitwise_and_(_INDEX)
        ctx.save_for_backward(order)
        ctx.save_for_forward(order)
        return values

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (g,), (order,) = grad_outputs, ctx.saved_tensors
        return torch.zeros_like(g).scatter(-1, order, g)

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (tangent,), (order,) = grad_inputs, ctx.saved_tensors
        return tangent.gather(-1, order)
