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


def sorted_rows(x: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
    """x with its last axis ascending; differentiable, twice as well.

    >>> sorted_rows(torch.arange(32.0).flip(0))[:3]
    tensor([0., 1., 2.])
    """
    return _Sorted.apply(x) if _packs(x) else x.sort(-1).values  # pyright: ignore[reportReturnType]


def _packs(x: Tensor) -> bool:
    """Whether numbers of x can carry their index, and nobody looks on who has to see a sort.

    An index makes infinity a NaN, so that numbers have to be finite; a sum beyond float32 counts as not.
    """
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and SHORTEST <= x.shape[-1] <= _INDEX
        and not torch.compiler.is_compiling()
        and not torch._C._is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and type(x) in (Tensor, torch.nn.Parameter)
        and bool(x.detach().sum().isfinite())
    )


class _Sorted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        packed = x.contiguous().double().view(torch.int64)
        packed |= torch.arange(x.shape[-1])
        packed.view(torch.float64).numpy().sort(-1)
        values = packed.view(torch.float64).float()
        ctx.save_for_backward(packed.bitwise_and_(_INDEX))
        return values

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (g,), (order,) = grad_outputs, ctx.saved_tensors
        return g.new_empty(g.shape).scatter(-1, order, g)
