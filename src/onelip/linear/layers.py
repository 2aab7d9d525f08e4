"""Read a torch.nn layer as the linear map that it applies: the one file here that knows nn.Module."""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

from onelip.errors import ArgumentError, UnknownOperatorError
from onelip.linear.maps import Convolution, Dense, LinearMap, PaddingMode

LINEAR_LAYERS = (nn.Linear, _ConvNd)


def linear_map(layer: nn.Module, input_shape: tuple[int, ...], weight: Tensor | None = None) -> LinearMap:
    """The map that `layer` applies to one input of `input_shape` (no batch axis), without its bias.

    weight: another weight to put in the layer's place; by default its current one, with every
    parametrization evaluated. Raises ArgumentError for a layer that is not linear.

    >>> linear_map(nn.Conv2d(1, 8, 4, stride=2, padding=1), (1, 28, 28)).out_shape
    (8, 14, 14)
    """
    if isinstance(layer, nn.Linear):
        return Dense(layer.weight if weight is None else weight)
    if isinstance(layer, _ConvNd):
        return _convolution(layer, input_shape, layer.weight if weight is None else weight)
    raise _not_linear(layer)


def _not_linear(layer: nn.Module) -> ArgumentError:
    return ArgumentError(
        "layer",
        "nn.Linear, nn.Conv1d/2d/3d or nn.ConvTranspose1d/2d/3d",
        type(layer).__name__,
        "pass one of the linear layers inside it",
    )


def _convolution(layer: _ConvNd, input_shape: tuple[int, ...], weight: Tensor) -> Convolution:
    axes = len(layer.kernel_size)
    if len(input_shape) != axes + 1 or input_shape[0] != layer.in_channels:
        raise ArgumentError(
            "input_shape",
            f"({layer.in_channels}, {', '.join(['size'] * axes)}) for {type(layer).__name__}",
            input_shape,
            "give channels and sizes, without the batch axis",
        )
    map = Convolution(
        weight,
        space=tuple(input_shape[1:]),
        stride=tuple(layer.stride),
        padding=layer_padding(layer),
        padding_mode=cast(PaddingMode, layer.padding_mode),
        dilation=tuple(layer.dilation),
        groups=layer.groups,
        transposed=isinstance(layer, _ConvTransposeNd),
        output_padding=tuple(layer.output_padding),
    )
    if min(map.out_shape) < 1:
        raise ArgumentError(
            "input_shape",
            f"large enough for the kernel {tuple(layer.kernel_size)} of {type(layer).__name__}",
            input_shape,
            "use a larger input or more padding",
        )
    return map


@torch.no_grad()
def current_weight(layer: nn.Module) -> Tensor:
    """The weight that `layer` applies in eval mode, its parametrizations evaluated and none advanced."""
    if not isinstance(layer, LINEAR_LAYERS):
        raise _not_linear(layer)
    if not parametrize.is_parametrized(layer, "weight"):
        return layer.weight.detach()
    parametrizations = cast(nn.ModuleDict, layer.parametrizations)
    training = {part: part.training for part in parametrizations.modules()}
    try:
        parametrizations.eval()
        return layer.weight.detach().clone()
    finally:
        for part, flag in training.items():
            part.training = flag


def ample_shape(layer: nn.Module) -> tuple[int, ...]:
    """An input_shape so large that every tap of the kernel meets more than padding."""
    if isinstance(layer, nn.Linear):
        return (layer.in_features,)
    if not isinstance(layer, _ConvNd):
        raise _not_linear(layer)
    pads = layer_padding(layer)
    sides = zip(layer.kernel_size, layer.dilation, layer.stride, pads, strict=True)
    return (layer.in_channels, *(2 * (d * k + s + sum(pad)) for k, d, s, pad in sides))


def layer_padding(layer: _ConvNd) -> tuple[tuple[int, int], ...]:
    """(before, after) per axis; 'same' puts the odd one behind, as torch does."""
    if layer.padding == "valid":
        return ((0, 0),) * len(layer.kernel_size)
    if layer.padding == "same":
        totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple((p, p) for p in cast(tuple[int, ...], layer.padding))


def input_shapes(module: nn.Module, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shape (no batch axis) that each linear layer inside `module` receives for inputs of `input_shape`.

    One forward pass in eval mode, the training flags put back; a layer that is never called is not listed.
    Raises UnknownOperatorError for a convolution that is applied at two sizes: it is two operators.

    >>> input_shapes(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 1)), (1, 8, 8))
    {'0': (1, 8, 8), '2': (144,)}
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def record(name: str, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # A hook returns None, or its result would replace the input.
        shape = tuple(inputs[0].shape[1:])
        if shapes.setdefault(name, shape) != shape and isinstance(layer, _ConvNd):
            raise UnknownOperatorError(
                f"{name!r} is applied to inputs of {shapes[name]} and of {shape}, with a norm at each: "
                "use a layer for each size"
            )

    hooks = [
        layer.register_forward_pre_hook(partial(record, name))
        for name, layer in module.named_modules()
        if isinstance(layer, LINEAR_LAYERS)
    ]
    training = {child: child.training for child in module.modules()}
    parameter = next(module.parameters())
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device))
    finally:
        for hook in hooks:
            hook.remove()
        for child, flag in training.items():
            child.training = flag
    return shapes
