"""One call that constrains every linear layer of a module, and the calls that go with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from typing import NamedTuple, TypeGuard, TypeVar, cast

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils import parametrize

from onelip.constraint.checkpoints import accept_foreign_checkpoints
from onelip.constraint.describe import constraint_of
from onelip.constraint.orthogonal import OrthogonalKernel, OrthogonalMatrix
from onelip.constraint.pickling import make_picklable, parametrizations
from onelip.constraint.reshaped import Reshaped
from onelip.constraint.select import Names, select
from onelip.constraint.spectral import SpectralNorm
from onelip.constraint.together import PrepareTogether
from onelip.errors import ArgumentError, require_name
from onelip.linear.layers import ample_shape, calls, input_shapes, linear_map
from onelip.linear.maps import Convolution, Dense, LinearMap

M = TypeVar("M", bound=nn.Module)
KINDS = ("spectral", "spectral-reshaped", "orthogonal")
TOLERANCE = 0.01
SMALLEST = 2.0**-126  # normal number of float32


def constrain(
    module: M,
    kind: str,
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
        reshaped" that of W.flatten(1), as Miyato et al. 2018 and torch do. "orthogonal" makes all singular
        values of the operator 1 where that is possible, else at most 1; a convolution gets new parameters
        then, which an optimizer made before does not know.
    input_shape: one input of the module without the batch axis. Convolutions of kind "spectral" need it:
        one forward pass finds the size that each of them receives.
    target: the constant of each layer. network: instead, the constant of n layers in series, the n-th root
        of it for each; with input_shape a layer counts as often as a forward pass calls it.
    soft: let a layer below its target be.
    tolerance: how far the estimate should lag behind a moving weight at most, relative; 0.01 by default. It
        is an aim: early in training steps of Adam can miss it several times over. At rest it is held.
    iterations: instead, that many power iterations for each change of the weight.
    only, exclude: patterns (fnmatch) of the qualified names of linear layers.
    allow: patterns of names, or classes, of modules to leave alone with all that they contain.

    A module with parameters that is not a known linear layer raises UnknownOperatorError unless it is
    allowed. Parameters stay the same objects, so that an optimizer may be made before or after.

    >>> critic = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 1))
    >>> critic = constrain(critic, "spectral", input_shape=(1, 28, 28))
    >>> round(critic[3].weight.norm().item(), 3)
    1.0
    """
    _check(kind, target, network, soft, tolerance, iterations)
    layers = select(module, only, exclude, allow)
    if kind == "orthogonal":
        _refuse_shared_weights(module, layers)
    shapes = input_shapes(module, input_shape) if input_shape is not None else {}
    level = target if network is None else network ** (1 / _in_series(module, layers, input_shape))
    spectral = partial(SpectralNorm, soft=soft, tolerance=tolerance or TOLERANCE, iterations=iterations)
    maps = {name: _map(kind, name, layer, shapes.get(name)) for name, layer in layers.items()}

    def constraint(name: str) -> nn.Module:
        if kind == "orthogonal":
            return _orthogonal(maps[name], level, sized=name in shapes)
        return spectral(maps[name], level)

    constraints = _shared(maps, constraint)
    # Only now, so that what is refused is left as it was.
    for name, layer in layers.items():
        _hold(layer, constraints[name])
    if kind != "orthogonal" and len(layers) > 1:
        module.register_forward_pre_hook(PrepareTogether(layers.values()))
    return module


def refresh(module: M) -> M:
    """Let every estimate inside `module` converge for the weights as they are now; in place, and returned.

    Eval mode does so by itself, and training catches up within a step: call this after loading, averaging or
    editing weights where the very next training forward is to be exact.

    >>> critic = constrain(nn.Sequential(nn.Linear(4, 1)), "spectral")
    >>> critic[0].parametrizations.weight.original.data[:, 2] += 5
    >>> round(refresh(critic)[0].weight.norm().item(), 3)
    1.0
    """
    for layer in module.modules():
        constraint = constraint_of(layer)
        if isinstance(constraint, SpectralNorm):
            constraint.refresh(cast(Tensor, parametrizations(layer)["weight"].original))
    return module


def _shared(maps: dict[str, LinearMap], make: Callable[[str], nn.Module]) -> dict[str, nn.Module]:
    """The constraint of each layer; one for all that apply one weight alike."""
    made: dict[_Operator, nn.Module] = {}
    for name, map in maps.items():
        operator = _Operator.of(map)
        if operator not in made:
            made[operator] = make(name)
    return {name: made[_Operator.of(map)] for name, map in maps.items()}


def _in_series(module: nn.Module, layers: dict[str, nn.Module], input_shape: tuple[int, ...] | None) -> int:
    """How many times one of the layers is applied, at most one after the other."""
    if input_shape is None:
        return len(layers)
    received = calls(module, input_shape)
    return max(1, sum(len(received.get(name, ())) for name in layers))


def _map(kind: str, name: str, layer: nn.Module, shape: tuple[int, ...] | None) -> LinearMap:
    weight = cast(nn.Parameter, layer.weight)
    if kind == "spectral-reshaped":
        return Reshaped(weight, axis=1 if isinstance(layer, _ConvTransposeNd) else 0)
    if isinstance(layer, nn.Linear):
        return Dense(weight)
    if shape is None and (kind == "spectral" or getattr(layer, "padding_mode", "") == "circular"):
        raise ArgumentError(
            "input_shape",
            f"given and such that {name!r} is reached, whose norm depends on the size of its input",
            None,
            "pass the shape of one input of the module, or exclude the layer",
        )
    return linear_map(layer, ample_shape(layer) if shape is None else shape)


def _orthogonal(map: LinearMap, target: float, sized: bool) -> nn.Module:
    """sized: for inputs of the map's size alone, else for those of every size."""
    if isinstance(map, Dense):
        return OrthogonalMatrix(target)
    assert isinstance(map, Convolution), type(map)
    return OrthogonalKernel(map, target, map.in_shape if sized else None)


def _hold(layer: nn.Module, constraint: nn.Module) -> None:
    parametrize.register_parametrization(layer, "weight", constraint)
    make_picklable(layer)
    accept_foreign_checkpoints(layer)


def _refuse_shared_weights(module: nn.Module, layers: dict[str, nn.Module]) -> None:
    """Kernels get new parameters, each layer its own; what is left alone would change with these, or not."""
    kernels: dict[int, str] = {}
    for name, layer in layers.items():
        if not isinstance(layer, nn.Linear) and kernels.setdefault(id(layer.weight), name) != name:
            received = f"{name}.weight, which is {kernels[id(layer.weight)]}.weight too"
            remedy = "give each its own, or use kind 'spectral'"
            raise ArgumentError("module", "free of kernels that two layers share", received, remedy)
    selected = set(layers.values())
    weights = {id(layer.weight): f"{name}.weight" for name, layer in layers.items()}
    for prefix, child in module.named_modules():
        for name, parameter in child.named_parameters(prefix, recurse=False):
            if child not in selected and id(parameter) in weights:
                requirement = "free of weights shared with what is left alone"
                received = f"{weights[id(parameter)]}, which is {name} too"
                remedy = "constrain both, give each its own, or use kind 'spectral'"
                raise ArgumentError("module", requirement, received, remedy)


class _Operator(NamedTuple):
    """Layers that share a weight and apply it in the same way share the estimate."""

    weight: int
    geometry: str

    @classmethod
    def of(cls, map: LinearMap) -> _Operator:
        geometry = {name: value for name, value in vars(map).items() if name != "weight"}
        return cls(id(map.weight), f"{type(map).__name__} {geometry}")


def _check(
    kind: str,
    target: object,
    network: object,
    soft: bool,
    tolerance: object,
    iterations: object,
) -> None:
    require_name("kind", kind, KINDS)
    for argument, value in (("target", target), ("network", network)):
        if value is not None and not (_is_number(value) and SMALLEST <= value <= 1 / SMALLEST):
            requirement = "a positive number within the range of float32"
            raise ArgumentError(argument, requirement, repr(value), "1.0 makes the layer 1-Lipschitz")
    if network is not None and target != 1.0:
        raise ArgumentError("network", "given without target", (target, network), "pass one of them")
    if tolerance is not None and not (_is_number(tolerance) and 0 < tolerance < 1):
        raise ArgumentError("tolerance", "between 0 and 1", repr(tolerance), "0.01 is the default")
    if iterations is not None and not (isinstance(iterations, int) and iterations >= 1):
        raise ArgumentError("iterations", "a positive integer", iterations, "torch uses 1")
    if iterations is not None and tolerance is not None:
        raise ArgumentError("iterations", "given without tolerance", (iterations, tolerance), "pass one")
    if kind == "orthogonal":
        for argument, value in (("soft", soft or None), ("tolerance", tolerance), ("iterations", iterations)):
            if value is not None:
                remedy = "drop it, for nothing is estimated there, or use kind 'spectral'"
                raise ArgumentError(argument, "left out for kind 'orthogonal'", value, remedy)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real)
