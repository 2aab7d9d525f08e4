"""One call that constrains every linear layer of a module, and the calls that go with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple, TypeVar, cast, get_args

from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils import parametrize

from onelip.constraint.pickling import make_picklable
from onelip.constraint.reshaped import Reshaped
from onelip.constraint.spectral import SpectralNorm
from onelip.errors import ArgumentError, UnknownOperatorError
from onelip.linear.layers import LINEAR_LAYERS, input_shapes, linear_map
from onelip.linear.maps import Dense, LinearMap

M = TypeVar("M", bound=nn.Module)
Kind = Literal["spectral", "spectral-reshaped"]
Names = str | Sequence[str]


def constrain(
    module: M,
    kind: Kind,
    *,
    input_shape: tuple[int, ...] | None = None,
    target: float = 1.0,
    network: float | None = None,
    soft: bool = False,
    tolerance: float | None = None,
    iterations: int | None = None,
    only: Names = "*",
    exclude: Names = (),
    allow: Sequence[str | type[nn.Module]] = (),
) -> M:
    """Keep the norm of every linear layer of `module` at a target while it trains; in place, and returned.

    kind: "spectral" holds the norm of the operator that a layer applies to inputs of its size, "spectral-
        reshaped" that of W.flatten(1), as Miyato et al. 2018 and torch do.
    input_shape: one input of the module without the batch axis. Convolutions of kind "spectral" need it:
        one forward pass finds the size that each of them receives.
    target: the constant of each layer. network: instead, the constant of n layers in series, the n-th root
        of it for each. soft: let a layer below its target be.
    tolerance: how far the estimate may lag behind a moving weight, relative; 0.01 by default.
    iterations: instead, that many power iterations for each change of the weight.
    only, exclude: patterns (fnmatch) of the qualified names of linear layers.
    allow: patterns of names, or classes, of modules to leave alone with all that they contain.

    A module with parameters that is not a known linear layer raises UnknownOperatorError unless it is
    allowed. Parameters stay the same objects, so that an optimizer may be made before or after.

    >>> critic = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 1))
    >>> critic = constrain(critic, "spectral", input_shape=(1, 28, 28))
    >>> critic[3].weight.norm()
    tensor(1.0000, grad_fn=<LinalgVectorNormBackward0>)
    """
    _check(kind, target, network, tolerance, iterations)
    layers = {
        name: layer
        for name, layer in linear_layers(module, allow).items()
        if _matches(name, only) and not _matches(name, exclude)
    }
    if not layers:
        raise ArgumentError("module", "a network with linear layers to constrain", repr(module), "see only=")
    for name, layer in layers.items():
        if not isinstance(layer.weight, nn.Parameter) or set(layer._parameters) - {"weight", "bias"}:
            raise ArgumentError(
                f"{name or 'module'}.weight",
                "a plain parameter",
                "a computed tensor",
                "remove its parametrization",
            )
    shapes = input_shapes(module, input_shape) if input_shape is not None else {}
    maps = {name: _map(kind, name, layer, shapes.get(name)) for name, layer in layers.items()}
    made: dict[_Operator, SpectralNorm] = {}
    for name, layer in layers.items():
        operator = _Operator.of(maps[name])
        if operator not in made:
            made[operator] = SpectralNorm(
                maps[name],
                target if network is None else network ** (1 / len(layers)),
                soft=soft,
                tolerance=0.01 if tolerance is None else tolerance,
                iterations=iterations,
            )
        parametrize.register_parametrization(layer, "weight", made[operator])
        make_picklable(layer)
    return module


def linear_layers(module: nn.Module, allow: Sequence[str | type[nn.Module]] = ()) -> dict[str, nn.Module]:
    """The linear layers by qualified name, each once; any other owner of parameters raises unless allowed."""
    layers: dict[str, nn.Module] = {}
    left_alone: set[nn.Module] = set()
    for name, child in module.named_modules():
        if child in left_alone or any(_allows(entry, name, child) for entry in allow):
            left_alone.update(child.modules())
        elif is_linear(child):
            layers[name] = child
            left_alone.update(child.modules())
        elif any(True for _ in child.parameters(recurse=False)):
            kind = type(child).__name__
            raise UnknownOperatorError(
                f"{name or 'the module itself'!r} ({kind}) has parameters that no constraint is known for: "
                f"pass allow=[{name!r}] or allow=[{kind}] to leave it alone"
            )
    return layers


def is_linear(module: nn.Module) -> bool:
    """Whether this is a linear layer of torch.nn; a subclass with a forward of its own is not."""
    forward = type(module).forward
    return isinstance(module, LINEAR_LAYERS) and forward.__module__.startswith("torch.nn.modules.")


def _allows(entry: str | type[nn.Module], name: str, module: nn.Module) -> bool:
    return fnmatchcase(name, entry) if isinstance(entry, str) else isinstance(module, entry)


def _matches(name: str, patterns: Names) -> bool:
    return any(fnmatchcase(name, p) for p in ([patterns] if isinstance(patterns, str) else patterns))


def _map(kind: Kind, name: str, layer: nn.Module, shape: tuple[int, ...] | None) -> LinearMap:
    weight = cast(nn.Parameter, layer.weight)
    if kind == "spectral-reshaped":
        return Reshaped(weight, axis=1 if isinstance(layer, _ConvTransposeNd) else 0)
    if isinstance(layer, nn.Linear):
        return Dense(weight)
    if shape is None:
        raise ArgumentError(
            "input_shape",
            f"given and such that {name!r} is reached, whose norm depends on the size of its input",
            None,
            "pass the shape of one input of the module, or exclude the layer",
        )
    return linear_map(layer, shape)


class _Operator(NamedTuple):
    """Layers that share a weight and apply it in the same way share the estimate."""

    weight: int
    geometry: str

    @classmethod
    def of(cls, map: LinearMap) -> _Operator:
        geometry = {name: value for name, value in vars(map).items() if name != "weight"}
        return cls(id(map.weight), f"{type(map).__name__} {geometry}")


def _check(
    kind: str, target: float, network: float | None, tolerance: float | None, iterations: int | None
) -> None:
    if kind not in get_args(Kind):
        raise ArgumentError("kind", f"one of {', '.join(get_args(Kind))}", repr(kind), "see the docstring")
    for argument, value in (("target", target), ("network", network)):
        if value is not None and not 0 < value < math.inf:
            raise ArgumentError(argument, "a positive number", value, "1.0 makes the layer 1-Lipschitz")
    if network is not None and target != 1.0:
        raise ArgumentError("network", "given without target", (target, network), "pass one of them")
    if tolerance is not None and not 0 < tolerance < 1:
        raise ArgumentError("tolerance", "between 0 and 1", tolerance, "0.01 is the default")
    if iterations is not None and iterations < 1:
        raise ArgumentError("iterations", "a positive integer", iterations, "torch uses 1")
    if iterations is not None and tolerance is not None:
        raise ArgumentError("iterations", "given without tolerance", (iterations, tolerance), "pass one")
