"""Linear maps as torch.nn applies them: apply, adjoint, and the gradient with respect to the weight.

A map is a value: a weight and the geometry that turns it into an operator. The norm of a
convolution is the norm of *this* operator, padding and stride included, not that of its kernel
reshaped to a matrix (Sedghi, Gupta, Long, "The Singular Values of Convolutional Layers", ICLR 2019).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

PaddingMode = Literal["zeros", "circular", "reflect", "replicate"]


@dataclass(frozen=True, eq=False)
class LinearMap(ABC):
    """A linear operator A between tensors of fixed shape, linear in its weight as well."""

    weight: Tensor

    @property
    @abstractmethod
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch axis."""

    @property
    @abstractmethod
    def out_shape(self) -> tuple[int, ...]:
        """Shape of one output, without the batch axis."""

    @abstractmethod
    def apply(self, x: Float[Tensor, "batch *in_shape"]) -> Float[Tensor, "batch *out_shape"]:
        """A x."""

    @abstractmethod
    def adjoint(self, y: Float[Tensor, "batch *out_shape"]) -> Float[Tensor, "batch *in_shape"]:
        """Aᵀ y."""

    @abstractmethod
    def weight_gradient(
        self, u: Float[Tensor, "batch *out_shape"], v: Float[Tensor, "batch *in_shape"]
    ) -> Float[Tensor, "*weight_shape"]:
        """The gradient of Σ ⟨u, A v⟩ with respect to the weight.

        A is linear in its weight W, so ⟨u, A v⟩ = ⟨G, W⟩ with this G: for unit u, v it is what
        uᵀ∂W v means for any layer (Miyato et al. 2018, eq. 12).
        """

    def with_weight(self, weight: Tensor) -> LinearMap:
        """The same geometry around another weight of the same shape."""
        return replace(self, weight=weight)

    def dense(self) -> Float[Tensor, "out in"]:
        """The matrix of the map, one column an input coordinate. For small maps and for tests."""
        size = math.prod(self.in_shape)
        eye = torch.eye(size, dtype=self.weight.dtype, device=self.weight.device)
        return self.apply(eye.reshape(size, *self.in_shape)).reshape(size, -1).T


@dataclass(frozen=True, eq=False)
class Dense(LinearMap):
    """x ↦ W x with a weight of shape [out, in], as in nn.Linear.

    >>> Dense(torch.tensor([[3.0, 0.0], [0.0, 4.0]])).apply(torch.ones(1, 2))
    tensor([[3., 4.]])
    """

    @property
    def in_shape(self) -> tuple[int, ...]:
        return (self.weight.shape[1],)

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (self.weight.shape[0],)

    def apply(self, x: Tensor) -> Tensor:
        return x @ self.weight.T

    def adjoint(self, y: Tensor) -> Tensor:
        return y @ self.weight

    def weight_gradient(self, u: Tensor, v: Tensor) -> Tensor:
        return u.T @ v


@dataclass(frozen=True, eq=False)
class Convolution(LinearMap):
    """A convolution, or a transposed one, of 1 to 3 dimensions on inputs of one size.

    weight: [out, in/groups, *kernel], or [in, out/groups, *kernel] where transposed.
    space: input size along each axis. padding: (before, after) along each axis.

    >>> pair = Convolution(torch.ones(1, 1, 2), (4,), (1,), ((0, 0),), "zeros", (1,), 1)
    >>> pair.dense()
    tensor([[1., 1., 0., 0.],
            [0., 1., 1., 0.],
            [0., 0., 1., 1.]])
    """

    space: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    padding_mode: PaddingMode
    dilation: tuple[int, ...]
    groups: int
    transposed: bool = False
    output_padding: tuple[int, ...] = ()

    @property
    def kernel(self) -> tuple[int, ...]:
        return tuple(self.weight.shape[2:])

    @property
    def in_channels(self) -> int:
        return self.weight.shape[0] if self.transposed else self.weight.shape[1] * self.groups

    @property
    def out_channels(self) -> int:
        return self.weight.shape[1] * self.groups if self.transposed else self.weight.shape[0]

    @property
    def in_shape(self) -> tuple[int, ...]:
        return (self.in_channels, *self.space)

    @property
    def out_shape(self) -> tuple[int, ...]:
        if self.transposed:
            extra = self._output_padding
            space = transposed_space(self.space, self.kernel, self.stride, self.padding, self.dilation, extra)
        else:
            space = convolved_space(self.space, self.kernel, self.stride, self.padding, self.dilation)
        return (self.out_channels, *space)

    @property
    def padded_space(self) -> tuple[int, ...]:
        """Input size after padding; a transposed convolution pads nothing."""
        if self.transposed:
            return self.space
        return tuple(n + a + b for n, (a, b) in zip(self.space, self.padding, strict=True))

    def apply(self, x: Tensor) -> Tensor:
        return torch.convolution(
            self._pad(x),
            self.weight,
            None,
            self.stride,
            self._native_padding,
            self.dilation,
            self.transposed,
            self._output_padding,
            self.groups,
        )

    def adjoint(self, y: Tensor) -> Tensor:
        batch = y.shape[0]
        space = self.space if self._pads_natively else self.padded_space
        shape_of_input = y.new_empty(()).expand(batch, self.in_channels, *space)
        return self._unpad(self._backward(y, shape_of_input, input_gradient=True))

    def weight_gradient(self, u: Tensor, v: Tensor) -> Tensor:
        return self._backward(u, self._pad(v), input_gradient=False)

    def _backward(self, grad_output: Tensor, x: Tensor, input_gradient: bool) -> Tensor:
        # The backward pass of a linear map *is* its adjoint, remainders of the stride included.
        gradients = torch.ops.aten.convolution_backward(
            grad_output,
            x,
            self.weight,
            None,
            self.stride,
            self._native_padding,
            self.dilation,
            self.transposed,
            self._output_padding,
            self.groups,
            [input_gradient, not input_gradient, False],
        )
        return gradients[0] if input_gradient else gradients[1]

    @property
    def _output_padding(self) -> tuple[int, ...]:
        return self.output_padding or (0,) * len(self.space)

    @property
    def _pads_natively(self) -> bool:
        return self.transposed or (self.padding_mode == "zeros" and all(a == b for a, b in self.padding))

    @property
    def _native_padding(self) -> tuple[int, ...]:
        return tuple(a for a, _ in self.padding) if self._pads_natively else (0,) * len(self.space)

    def _pad(self, x: Tensor) -> Tensor:
        if self._pads_natively:
            return x
        if self.padding_mode == "zeros":
            return F.pad(x, [side for pair in reversed(self.padding) for side in pair])
        for axis, index in enumerate(self._gathers(x.device), start=2):
            x = x.index_select(axis, index)
        return x

    def _unpad(self, y: Tensor) -> Tensor:
        """The adjoint of _pad: zeros are cut off, copies are added back to where they came from."""
        if self._pads_natively:
            return y
        if self.padding_mode == "zeros":
            for axis, ((before, _), n) in enumerate(zip(self.padding, self.space, strict=True), start=2):
                y = y.narrow(axis, before, n)
            return y
        for axis, (index, n) in enumerate(zip(self._gathers(y.device), self.space, strict=True), start=2):
            shape = (*y.shape[:axis], n, *y.shape[axis + 1 :])
            y = y.new_zeros(shape).index_add(axis, index, y)
        return y

    def _gathers(self, device: torch.device) -> list[Tensor]:
        return [
            padding_index(n, before, after, self.padding_mode).to(device)
            for n, (before, after) in zip(self.space, self.padding, strict=True)
        ]


Axes = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


@lru_cache(maxsize=1024)  # asked for with every product
def convolved_space(space: Axes, kernel: Axes, stride: Axes, padding: Pairs, dilation: Axes) -> Axes:
    """The output size of a convolution along each axis.

    >>> convolved_space((28,), (4,), (2,), ((1, 1),), (1,))
    (14,)
    """
    axes = zip(space, kernel, stride, padding, dilation, strict=True)
    return tuple((n + a + b - d * (k - 1) - 1) // s + 1 for n, k, s, (a, b), d in axes)


@lru_cache(maxsize=1024)
def transposed_space(
    space: Axes, kernel: Axes, stride: Axes, padding: Pairs, dilation: Axes, extra: Axes
) -> Axes:
    """The output size of a transposed convolution along each axis; extra: its output padding.

    >>> transposed_space((14,), (4,), (2,), ((1, 1),), (1,), (0,))
    (28,)
    """
    axes = zip(space, kernel, stride, padding, dilation, extra, strict=True)
    return tuple((n - 1) * s - a - b + d * (k - 1) + 1 + e for n, k, s, (a, b), d, e in axes)


def padding_pairs(
    padding: str | Sequence[int], kernel: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """(before, after) per axis of what torch calls padding; 'same' puts the odd one behind, as torch does.

    >>> padding_pairs("same", kernel=(4,), dilation=(1,)), padding_pairs((2, 1), (3, 3), (1, 1))
    (((1, 2),), ((2, 2), (1, 1)))
    """
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    assert not isinstance(padding, str), padding
    return tuple((p, p) for p in padding)


def padding_index(n: int, before: int, after: int, mode: PaddingMode) -> Tensor:
    """Which of n entries each padded position copies: these paddings are gathers, one axis at a time.

    >>> padding_index(4, 2, 1, "reflect").tolist()
    [2, 1, 0, 1, 2, 3, 2]
    """
    position = torch.arange(-before, n + after)
    if mode == "circular":
        return position % n
    if mode == "replicate":
        return position.clamp(0, n - 1)
    assert mode == "reflect", mode
    return (n - 1) - ((n - 1) - position.abs()).abs()
