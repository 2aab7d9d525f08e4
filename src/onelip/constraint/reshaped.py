"""A kernel reshaped to a matrix: what Miyato et al. 2018 and torch normalise.

Its norm is not that of the convolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from onelip.linear.maps import LinearMap


@dataclass(frozen=True, eq=False)
class Reshaped(LinearMap):
    """x ↦ M x with M = W.movedim(axis, 0).flatten(1).

    axis: the weight's output axis, 1 for transposed convolutions and 0 for all other layers, as in torch.

    >>> import torch
    >>> Reshaped(torch.zeros(8, 3, 5, 5), axis=0).in_shape
    (75,)
    """

    axis: int

    @property
    def in_shape(self) -> tuple[int, ...]:
        return (math.prod(self.weight.shape) // self.weight.shape[self.axis],)

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (self.weight.shape[self.axis],)

    def apply(self, x: Tensor) -> Tensor:
        return x @ self.matrix.T

    def adjoint(self, y: Tensor) -> Tensor:
        return y @ self.matrix

    def weight_gradient(self, u: Tensor, v: Tensor) -> Tensor:
        moved = self.weight.movedim(self.axis, 0)
        return (u.T @ v).reshape(moved.shape).movedim(0, self.axis)

    @property
    def matrix(self) -> Tensor:
        """M."""
        return self.weight.movedim(self.axis, 0).flatten(1)
