"""A convolution as one matrix product on its patches.

What a convolution kernel prepares costs more than its arithmetic where the batch is one or two, as in power
iterations. Many patches cost more than they save, in time and in memory.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from onelip.linear.maps import Convolution, LinearMap

FEW = 2**15  # entries of all patches of one input


class Patches(Convolution):
    """A 2-D zero-padded convolution without groups: the operator of its parent, computed by other means.

    >>> import torch
    >>> map = Patches(torch.ones(1, 1, 2, 2), (2, 3), (1, 1), ((0, 0), (0, 0)), "zeros", (1, 1), 1)
    >>> map.apply(torch.ones(1, 1, 2, 3))
    tensor([[[[4., 4.]]]])
    """

    def apply(self, x: Tensor) -> Tensor:
        return (self.weight.flatten(1) @ self.unfold(x)).unflatten(2, self.out_shape[1:])

    def adjoint(self, y: Tensor) -> Tensor:
        return self.fold(self.weight.flatten(1).T @ y.flatten(2))

    def weight_gradient(self, u: Tensor, v: Tensor) -> Tensor:
        return (u.flatten(2) @ self.unfold(v).mT).sum(0).reshape(self.weight.shape)

    def unfold(self, x: Float[Tensor, "batch *in_shape"]) -> Float[Tensor, "batch entries patches"]:
        """The patches of x that the kernel meets."""
        return F.unfold(x, self.kernel, self.dilation, self._native_padding, self.stride)

    def fold(self, columns: Float[Tensor, "batch entries patches"]) -> Float[Tensor, "batch *in_shape"]:
        """Patches added up where they came from: the adjoint of `unfold`."""
        return F.fold(columns, self.space, self.kernel, self.dilation, self._native_padding, self.stride)


def on_patches(map: LinearMap) -> LinearMap:
    """The same operator on its patches where that is possible and quick, else the map itself."""
    if not isinstance(map, Convolution) or map.transposed or map.groups > 1 or len(map.space) != 2:
        return map
    entries = map.weight[0].numel() * math.prod(map.out_shape[1:])
    return Patches(**vars(map)) if map._pads_natively and entries <= FEW else map
