"""Read a torch.nn layer as the linear map that it applies: its weight in use, and what it receives."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from onelip.errors import ArgumentError, OnelipError, UnknownOperatorError, typed_line
from onelip.linear.maps import Convolution, Dense, LinearMap, PaddingMode, padding_pairs

M = TypeVar("M", bound=nn.Module)
LINEAR_LAYERS = (nn.Linear, _ConvNd)
_FORWARD = ("forward", "_conv_forward", "__call__", "_wrapped_call_impl", "_call_impl")


def linear_map(layer: nn.Module, input_shape: tuple[int, ...], weight: Tensor | None = None) -> LinearMap:
    """The map that `layer` applies to one input of `input_shape` (no batch axis), without its bias.

    weight: another weight to put in the layer's place; by default its current one, with every
    parametrization evaluated. Raises ArgumentError for a layer that is not linear.

    >>> linear_map(nn.Conv2d(1, 8, 4, stride=2, padding=1), (1, 28, 28)).out_shape
    (8, 14, 14)
    """
    require_linear(layer)
    check_shape(input_shape)
    weight = cast(Tensor, layer.weight) if weight is None else weight
    if isinstance(layer, _ConvNd):
        return _convolution(layer, input_shape, weight)
    assert isinstance(layer, nn.Linear)
    if tuple(input_shape[-1:]) != (layer.in_features,):
        requirement, remedy = f"(…, {layer.in_features}) for Linear", "give it without the batch axis"
        raise ArgumentError("input_shape", requirement, input_shape, remedy)
    return Dense(weight)


def check_shape(input_shape: object) -> None:
    """Raises ArgumentError unless input_shape is a tuple of positive integers."""
    if not isinstance(input_shape, tuple | list) or not all(
        isinstance(size, int) and size > 0 for size in input_shape
    ):
        remedy = "give the shape of one sample, without the batch axis, such as (1, 28, 28)"
        raise ArgumentError("input_shape", "a tuple of positive integers", repr(input_shape), remedy)


def is_linear(layer: nn.Module) -> bool:
    """Whether this is a linear layer of torch.nn; one with a forward of its own is not."""
    if not isinstance(layer, LINEAR_LAYERS) or vars(layer).keys() & set(_FORWARD):
        return False
    methods = [getattr(type(layer), name) for name in _FORWARD if hasattr(type(layer), name)]
    return all(method.__module__.startswith("torch.nn.modules.") for method in methods)


def require_linear(layer: nn.Module) -> None:
    """Raises ArgumentError for what `is_linear` is not true of."""
    if not is_linear(layer):
        raise ArgumentError(
            "layer",
            "nn.Linear, nn.Conv1d/2d/3d or nn.ConvTranspose1d/2d/3d with the forward of torch",
            type(layer).__name__,
            "pass one of the linear layers inside it",
        )


def require_dense(tensor: Tensor, name: str) -> None:
    """Raises ArgumentError for a tensor that holds no numbers yet, or not one for each entry."""
    if is_lazy(tensor):
        received, remedy = "one that is not initialised", "run the module on one input first"
    elif tensor.is_meta:
        received, remedy = "one on the meta device", "load its numbers first"
    elif tensor.layout != torch.strided:
        received, remedy = f"one of layout {tensor.layout}", "convert it with to_dense()"
    else:
        return
    raise ArgumentError(name, "a dense tensor that holds numbers", received, remedy)


def require_numbers(weight: Tensor, name: str) -> None:
    """Raises ArgumentError for a weight in which there is nothing to compute with."""
    require_dense(weight, name)
    if weight.is_complex() or (weight.is_floating_point() and weight.itemsize < 2):
        remedy = "take another format, such as float32"
        raise ArgumentError(name, "of real numbers of 16 bits or more", weight.dtype, remedy)


def require_no_hooks(layer: nn.Module, name: str) -> None:
    """Raises ArgumentError for forward hooks, its own or global: they may change its input and its output.

    Those of torch.nn.utils only compute a tensor of the layer: `current_weight` refuses them for the weight.
    """
    every_layer_s = (torch_module._global_forward_pre_hooks, torch_module._global_forward_hooks)
    its_own = (layer._forward_pre_hooks, layer._forward_hooks)
    hooks = [hook for held in (*every_layer_s, *its_own) for hook in held.values()]
    found = [hook for hook in hooks if not type(hook).__module__.startswith("torch.nn.utils.")]
    if found:
        called = ", ".join(getattr(hook, "__qualname__", type(hook).__qualname__) for hook in found)
        remedy = "remove the hook and put it back afterwards; certify follows hooks"
        raise ArgumentError("layer", "without forward hooks", f"{name} with {called}", remedy)


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
    _check_padding(map, type(layer).__name__)
    if min(map.out_shape) < 1:
        raise ArgumentError(
            "input_shape",
            f"large enough for the kernel {tuple(layer.kernel_size)} of {type(layer).__name__}",
            input_shape,
            "use a larger input or more padding",
        )
    return map


def _check_padding(map: Convolution, name: str) -> None:
    """As torch: a reflection needs one entry more than it pads, a wrapped input as many."""
    spare = {"reflect": 1, "circular": 0}.get(map.padding_mode)
    if spare is not None and any(max(pad) + spare > n for pad, n in zip(map.padding, map.space, strict=True)):
        requirement = f"large enough for the {map.padding_mode} padding {map.padding} of {name}"
        raise ArgumentError("input_shape", requirement, map.in_shape, "use a larger input or less padding")


@torch.no_grad()
def current_weight(layer: nn.Module) -> Tensor:
    """The weight that `layer` applies in eval mode, its parametrizations evaluated and none advanced.

    Raises ArgumentError for a weight that something else computes before each forward, as the hooks of
    torch.nn.utils.weight_norm, spectral_norm and prune do: between two forwards it is out of date.
    """
    require_linear(layer)
    if not parametrize.is_parametrized(layer, "weight"):
        weight = (layer._buffers | layer._parameters).get("weight")
        if weight is None:
            remedy = "remove the hook that computes it, or use torch.nn.utils.parametrizations"
            raise ArgumentError("weight", "a parameter of the layer", "a computed one", remedy)
        require_numbers(weight, "weight")
        return weight.detach()
    inside = cast(nn.ModuleDict, layer.parametrizations)
    for original in inside["weight"].parameters(recurse=False):
        require_numbers(original, "weight")
    with evaluating(inside):
        return cast(Tensor, layer.weight).detach().clone()


def plain_class(module: nn.Module) -> type[nn.Module]:
    """The class that a parametrized module was written in."""
    return type(module).__bases__[0]


@torch.no_grad()
def plain_copy(network: M) -> M:
    """A copy in which what parametrizations make in eval mode stands in their place; what is frozen stays so.

    >>> plain = plain_copy(torch.nn.utils.parametrizations.orthogonal(nn.Linear(2, 2)))
    >>> type(plain).__name__, list(plain.state_dict())
    ('Linear', ['bias', 'weight'])
    """
    copied = copy.deepcopy(network)
    with evaluating(copied):
        for layer in [part for part in copied.modules() if parametrize.is_parametrized(part)]:
            inside = cast(nn.ModuleDict, layer.parametrizations)
            frozen = {name for name in inside if not any(p.requires_grad for p in inside[name].parameters())}
            made = {name: getattr(layer, name).clone() for name in inside}
            layer.__class__ = plain_class(layer)  # that of the parametrized original stays as it is
            del layer.parametrizations
            for name, value in made.items():
                layer.register_parameter(name, nn.Parameter(value, name not in frozen))
    return copied


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """`module` in eval mode; afterwards every part of it in the mode that it was in."""
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, flag in training.items():
            part.training = flag


def ample_shape(layer: nn.Module) -> tuple[int, ...]:
    """An input_shape so large that every tap of the kernel meets more than padding."""
    require_linear(layer)
    if isinstance(layer, nn.Linear):
        return (layer.in_features,)
    assert isinstance(layer, _ConvNd)
    pads = layer_padding(layer)
    sides = zip(layer.kernel_size, layer.dilation, layer.stride, pads, strict=True)
    return (layer.in_channels, *(2 * (d * k + s + sum(pad)) for k, d, s, pad in sides))


def layer_padding(layer: _ConvNd) -> tuple[tuple[int, int], ...]:
    """(before, after) per axis. Raises ArgumentError where torch would pad by what was set at first."""
    pairs = padding_pairs(layer.padding, layer.kernel_size, layer.dilation)
    applied = list(layer._reversed_padding_repeated_twice)
    if layer.padding_mode != "zeros" and applied != [side for pair in reversed(pairs) for side in pair]:
        wanted, remedy = f"that of the {layer.padding_mode} padding", "make a new layer with it"
        raise ArgumentError("padding", wanted, f"{layer.padding}, which was changed since", remedy)
    return pairs


def input_shapes(module: nn.Module, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shape (no batch axis) that each linear layer inside `module` receives for inputs of `input_shape`.

    Of `calls`; a layer that is never called is not listed.
    Raises UnknownOperatorError for a convolution that is applied at two sizes: it is two operators.

    >>> input_shapes(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 1)), (1, 8, 8))
    {'0': (1, 8, 8), '2': (144,)}
    """
    received = calls(module, input_shape)
    for name, shapes in received.items():
        if len(set(shapes)) > 1 and isinstance(module.get_submodule(name), _ConvNd):
            sizes = " and of ".join(map(str, dict.fromkeys(shapes)))
            raise UnknownOperatorError(
                f"{name!r} is applied to inputs of {sizes}, with a norm at each: use a layer for each size"
            )
    return {name: shapes[0] for name, shapes in received.items()}


def calls(module: nn.Module, input_shape: tuple[int, ...]) -> dict[str, list[tuple[int, ...]]]:
    """The shapes (no batch axis) that each linear layer inside `module` receives, one a call.

    One forward pass in eval mode for an input of `input_shape`, the training flags put back. Raises
    ArgumentError where the module does not take it, UnknownOperatorError for a call with an output_size.
    """
    check_shape(input_shape)
    received: dict[str, list[tuple[int, ...]]] = {}

    def record(name: str, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # A hook returns None, or its result would replace the input.
        x = args[0] if args else kwargs["input"]
        if (args[1] if len(args) > 1 else kwargs.get("output_size")) is not None:
            raise UnknownOperatorError(
                f"{name!r} is called with an output_size, which makes another operator of its weight: "
                "set output_padding and leave it out"
            )
        received.setdefault(name, []).append(tuple(x.shape[1:]))

    hooks = [
        layer.register_forward_pre_hook(partial(record, name), with_kwargs=True)
        for name, layer in module.named_modules()
        if isinstance(layer, LINEAR_LAYERS)
    ]
    parameter = next(module.parameters())
    try:
        with torch.no_grad(), evaluating(module):
            module(torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device))
    except OnelipError:
        raise
    except (Exception, SystemExit) as error:  # a module raises what it likes
        received_shape = f"{tuple(input_shape)}, for which it says: {typed_line(error)}"
        remedy = "give the shape of one input, without the batch axis"
        raise ArgumentError("input_shape", "one that the module takes", received_shape, remedy) from error
    finally:
        for hook in hooks:
            hook.remove()
    return received
