"""Linear maps that are alike, side by side: one product moves the vectors of all of them.

A network of many small layers spends its time on the number of operations, not on their size. Vectors are
flat and have two axes before them: that of the maps, and one of rows for each.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.constraint.patches import Patches
from onelip.constraint.reshaped import Reshaped
from onelip.linear.maps import Dense, LinearMap

SMALL = 2**14  # entries of a matrix; a larger one costs what it moves through memory, and copies cost more


class Stack(ABC):
    """Maps of one geometry, in any number."""

    def __init__(self, maps: Sequence[LinearMap]):
        self.map = maps[0]
        self.in_shape, self.out_shape = self.map.in_shape, self.map.out_shape
        self.in_size = math.prod(self.in_shape)

    @abstractmethod
    def apply(self, x: Float[Tensor, "maps rows in"]) -> Float[Tensor, "maps rows out"]:
        """A x of each map, row by row."""

    @abstractmethod
    def adjoint(self, y: Float[Tensor, "maps rows out"]) -> Float[Tensor, "maps rows in"]:
        """Aᵀ y of each map, row by row."""


class _Matrices(Stack):
    def __init__(self, maps: Sequence[LinearMap]):
        super().__init__(maps)
        matrices = [map.matrix if isinstance(map, Reshaped) else map.weight for map in maps]
        self.matrices = side_by_side(matrices, *self.out_shape, *self.in_shape)

    def apply(self, x: Tensor) -> Tensor:
        return x @ self.matrices.mT

    def adjoint(self, y: Tensor) -> Tensor:
        return y @ self.matrices


class _OnPatches(Stack):
    map: Patches

    def __init__(self, maps: Sequence[LinearMap]):
        super().__init__(maps)
        kernels = [map.weight for map in maps]
        self.kernels = side_by_side(kernels, 1, len(self.map.weight), -1)

    def apply(self, x: Tensor) -> Tensor:
        patches = self.map.unfold(x.reshape(-1, *self.in_shape))
        return (self.kernels @ patches.unflatten(0, x.shape[:2])).flatten(2)

    def adjoint(self, y: Tensor) -> Tensor:
        columns = self.kernels.mT @ y.unflatten(2, (self.out_shape[0], -1))
        return self.map.fold(columns.flatten(0, 1)).reshape(*y.shape[:2], -1)


class _Alone(Stack):
    def apply(self, x: Tensor) -> Tensor:
        return self.map.apply(x.reshape(-1, *self.in_shape)).reshape(1, x.shape[1], -1)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.map.adjoint(y.reshape(-1, *self.out_shape)).reshape(1, y.shape[1], -1)


def stacked(maps: Sequence[LinearMap]) -> Stack:
    """Maps that are `alike`, or one map of any kind.

    >>> stack = stacked([Dense(torch.eye(2)), Dense(2 * torch.eye(2))])
    >>> stack.apply(torch.ones(2, 1, 2))
    tensor([[[1., 1.]],
    <BLANKLINE>
            [[2., 2.]]])
    """
    if is_matrix(maps[0]):
        return _Matrices(maps)
    return _OnPatches(maps) if isinstance(maps[0], Patches) else _Alone(maps)


def likeness(map: LinearMap) -> tuple[object, ...] | None:
    """The same for maps that can be stacked and gain by it, None where a map stays alone."""
    if is_matrix(map):
        return (map.out_shape, map.in_shape) if map.weight.numel() <= SMALL else None
    if isinstance(map, Patches):
        return map.space, map.stride, map.padding, map.dilation, map.weight.shape
    return None


def is_matrix(map: LinearMap) -> bool:
    return isinstance(map, Dense | Reshaped)


def side_by_side(tensors: Sequence[Tensor], *shape: int) -> Tensor:
    """Each in this shape, behind a first axis of all; no copy is made of one alone."""
    if len(tensors) == 1:
        return tensors[0].reshape(1, *shape)
    return torch.stack(list(tensors)).reshape(len(tensors), *shape)
