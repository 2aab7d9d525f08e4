"""Activations that sort: 1-Lipschitz, and gradient-norm preserving where ReLU is not.

Anil, Lucas, Grosse, "Sorting out Lipschitz function approximation", ICML 2019, §4.2: GroupSort permutes the
entries of each group, so that its Jacobian is a permutation matrix almost everywhere.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onelip.constraint.sorting import sorted_rows
from onelip.errors import ArgumentError


class GroupSort(nn.Module):
    """Sort groups of `size` neighbouring channels, ascending.

    axis: that of the channels, 1 by default. Raises ArgumentError where size does not divide the channels.

    >>> GroupSort(2)(torch.tensor([[3.0, 1.0, 2.0, 4.0]]))
    tensor([[1., 3., 2., 4.]])
    """

    def __init__(self, size: int, axis: int = 1):
        super().__init__()
        if size < 1:
            raise ArgumentError("size", "a positive integer", size, "GroupSort(2) sorts pairs")
        self.size, self.axis = size, axis

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return _sorted(_grouped(x, self.axis, self.size), self.axis % x.dim() + 1).reshape(x.shape)

    def extra_repr(self) -> str:
        return f"size={self.size}, axis={self.axis}"


class FullSort(nn.Module):
    """Sort all channels, ascending.

    >>> FullSort()(torch.tensor([[3.0, 1.0, 2.0, 4.0]]))
    tensor([[1., 2., 3., 4.]])
    """

    def __init__(self, axis: int = 1):
        super().__init__()
        self.axis = axis

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return _sorted(x, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class MaxMin(nn.Module):
    """(max, min) of each pair of neighbouring channels: GroupSort(2), the larger first.

    axis: that of the channels, 1 by default. Raises ArgumentError for an odd number of channels.

    >>> MaxMin()(torch.tensor([[3.0, 1.0, 2.0, 4.0]]))
    tensor([[3., 1., 4., 2.]])
    """

    def __init__(self, axis: int = 1):
        super().__init__()
        self.axis = axis

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        axis = self.axis % x.dim() + 1
        a, b = _grouped(x, self.axis, 2).unbind(axis)
        return torch.stack((torch.maximum(a, b), torch.minimum(a, b)), axis).reshape(x.shape)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


def _sorted(x: Tensor, axis: int) -> Tensor:
    last = isinstance(x, Tensor) and axis in (-1, x.dim() - 1)  # what fx traces with is none and sees a sort
    return sorted_rows(x) if last else x.sort(axis).values


def _grouped(x: Tensor, axis: int, size: int) -> Tensor:
    if x.shape[axis] % size:
        raise ArgumentError(
            f"x.shape[{axis}]",
            f"a multiple of {size}",
            x.shape[axis],
            "change the width, the size or the axis",
        )
    return x.unflatten(axis, (-1, size))
