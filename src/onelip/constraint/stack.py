"""Linear maps that are alike, side by side: one product moves the vectors of all of them.

A network of many small layers spends its time on the number of operations, not on their size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.constraint.reshaped import Reshaped
from onelip.linear.maps import Dense, LinearMap

SMALL = 2**14  # entries


class Stack:
    """Matrices of one shape in any number, or one map of another kind; vectors are flat.

    >>> stack = Stack([Dense(torch.eye(2)), Dense(2 * torch.eye(2))])
    >>> stack.apply(torch.ones(2, 1, 2))
    tensor([[[1., 1.]],
    <BLANKLINE>
            [[2., 2.]]])
    """

    def __init__(self, maps: Sequence[LinearMap]):
        self.map, self.matrices = maps[0], None
        self.in_shape, self.out_shape = self.map.in_shape, self.map.out_shape
        self.in_size = math.prod(self.in_shape)
        if is_matrix(self.map):
            self.matrices = side_by_side([matrix(map) for map in maps], *self.out_shape, *self.in_shape)

    def apply(self, x: Float[Tensor, "maps rows in"]) -> Float[Tensor, "maps rows out"]:
        """A x of each map, row by row."""
        if self.matrices is not None:
            return x @ self.matrices.mT
        return self.map.apply(x.reshape(-1, *self.in_shape)).reshape(1, x.shape[1], -1)

    def adjoint(self, y: Float[Tensor, "maps rows out"]) -> Float[Tensor, "maps rows in"]:
        """Aᵀ y of each map, row by row."""
        if self.matrices is not None:
            return y @ self.matrices
        return self.map.adjoint(y.reshape(-1, *self.out_shape)).reshape(1, y.shape[1], -1)


def is_matrix(map: LinearMap) -> bool:
    return isinstance(map, Dense | Reshaped)


def is_small_matrix(map: LinearMap) -> bool:
    """Whether side by side with others it costs less: a large one costs what it moves through memory."""
    return is_matrix(map) and map.weight.numel() <= SMALL


def matrix(map: LinearMap) -> Float[Tensor, "out in"]:
    return map.matrix if isinstance(map, Reshaped) else map.weight


def side_by_side(tensors: Sequence[Tensor], *shape: int) -> Tensor:
    """Each in this shape, behind a first axis of all; no copy is made of one alone."""
    if len(tensors) == 1:
        return tensors[0].reshape(1, *shape)
    return torch.stack(list(tensors)).reshape(len(tensors), *shape)
