"""operator_norm: a proved interval around the norm of the linear map that a layer applies."""

from __future__ import annotations

import math
import sys

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from onelip.errors import ArgumentError, NonFiniteError, require_name
from onelip.linear.assembled import BlockGram, block_gram, factorisation_operations
from onelip.linear.autocast import on_cpu, require_subnormals, without_autocast
from onelip.linear.cholesky import OUTWARD, UNDERFLOW, DenseGram, dense_gram, square_bound
from onelip.linear.convolution import every_size_upper_bound, is_sharp, upper_bound
from onelip.linear.interval import NormInterval
from onelip.linear.layers import (
    ample_shape,
    check_shape,
    current_weight,
    linear_map,
    require_no_hooks,
    require_numbers,
)
from onelip.linear.lower import attained, climb
from onelip.linear.maps import Convolution, Dense, LinearMap
from onelip.linear.power import start_vector
from onelip.linear.symbol import stencil

METHODS = ("auto", "circular", "tight")
# How many operations a factorisation of the assembled operator may take: unasked, where symbols give a sharp
# bound anyhow (milliseconds); unasked, where they would give away up to a factor (seconds); and on request.
ASSEMBLED_OPERATIONS = {"sharp": 1e8, "blunt": 1e11, "tight": 4e12}
# A random start needs some 24 steps to come within 1e-3; a plane wave at the peak of the symbol needs few.
PROOF_STEPS, CIRCULAR_STEPS = 24, 5


@torch.no_grad()
@without_autocast()
def operator_norm(
    layer: nn.Module | LinearMap,
    input_shape: tuple[int, ...] | None = None,
    rtol: float = 1e-3,
    method: str = "auto",
    name: str | None = None,
) -> NormInterval:
    """lower ≤ ‖A‖₂ ≤ upper for the map A that `layer` applies to inputs of `input_shape`, its bias left out.

    layer: nn.Linear, Conv1d/2d/3d, ConvTranspose1d/2d/3d with any options, at its current weight, or a
        Dense or Convolution map. A parametrized weight is evaluated in eval mode: no estimate moves.
    input_shape: one input without the batch axis, (channels, *sizes). A convolution without it gets the
        supremum over all sizes: `upper` holds at every size, `lower` is approached at large ones.
    rtol: relative width that is aimed at; dense maps and circular padding reach it. Where only a wider
        interval was proved at reasonable cost that is returned, and `method` says how it was proved.
    method: "circular" bounds a convolution by its symbols, at a cost that hardly grows with the image;
        "tight" assembles the operator, which closes the gap that the former leaves for paddings other than
        circular, and costs a Cholesky factorisation in channels times pixels; "auto" assembles small ones.
    name: what an error calls the layer; its class by default. One with forward hooks is refused: they may
        change what it computes.

    Both ends are rounded outward (the note in cholesky.py). Raises NonFiniteError for NaN or infinity,
    ArgumentError under torch.set_flush_denormal(True).

    >>> operator_norm(nn.Conv2d(1, 1, 3, padding=1), (1, 28, 28)).relative_width < 3e-3
    True
    """
    require_subnormals()
    if not 1e-9 <= rtol < 1:
        raise ArgumentError("rtol", "between 1e-9 and 1", rtol, "1e-3 is the default")
    require_name("method", method, METHODS)
    if input_shape is not None:
        check_shape(input_shape)
    if isinstance(layer, LinearMap) and input_shape is not None and tuple(input_shape) != layer.in_shape:
        raise ArgumentError("input_shape", f"{layer.in_shape}, the map's own", input_shape, "leave it out")
    every_size = isinstance(layer, _ConvNd) and input_shape is None
    called = name or type(layer).__name__
    map = layer if isinstance(layer, LinearMap) else _map_of(layer, input_shape, called)
    require_numbers(map.weight, "weight")
    weight, exponent = _scaled(map.weight.detach(), called)
    map = map.with_weight(weight)
    with on_cpu():
        if not (stencil(map).weight if isinstance(map, Convolution) else weight).any():
            return NormInterval(0.0, 0.0, "zero map")
        interval = _every_size(map, rtol) if every_size else _interval(map, rtol, method)
    return _unscaled(interval, exponent)


@torch.no_grad()
@without_autocast()
def reshaped_norm(layer: nn.Module | Tensor, rtol: float = 1e-3, name: str | None = None) -> NormInterval:
    """The interval of ‖W.flatten(1)‖₂, the norm that Miyato et al. 2018 and torch normalise.

    Not the norm of the map that a convolution applies. Of a transposed convolution, whose weight is
    [in, out, …], torch flattens along the second axis; a plain tensor is flattened along its first.

    >>> 1.0 in reshaped_norm(torch.eye(3))
    True
    """
    weight = layer if isinstance(layer, Tensor) else current_weight(layer)
    if weight.ndim < 2:
        raise ArgumentError("layer", "a weight of two axes or more", list(weight.shape), "unsqueeze it")
    if isinstance(layer, _ConvTransposeNd):
        weight = weight.transpose(0, 1)
    return operator_norm(Dense(weight.flatten(1)), rtol=rtol, name=name or type(layer).__name__)


def _map_of(layer: nn.Module, input_shape: tuple[int, ...] | None, name: str) -> LinearMap:
    weight = current_weight(layer)
    require_no_hooks(layer, name)
    if isinstance(layer, nn.Linear) and input_shape is None:
        return Dense(weight)
    return linear_map(layer, ample_shape(layer) if input_shape is None else input_shape, weight)


def _interval(map: LinearMap, rtol: float, method: str) -> NormInterval:
    """The interval of a scaled map: from below by Lanczos, from above by what its kind allows."""
    if isinstance(map, Dense):
        return _proved_interval(map, dense_gram(map.weight), rtol, "dense cholesky")
    if not isinstance(map, Convolution):
        raise ArgumentError(
            "layer", "a Dense or Convolution map", type(map).__name__, "wrap its matrix in Dense"
        )
    case = "tight" if method == "tight" else "sharp" if is_sharp(map) else "blunt"
    if method != "circular" and factorisation_operations(map) <= ASSEMBLED_OPERATIONS[case]:
        return _proved_interval(map, block_gram(map), rtol, "tight cholesky")
    upper = upper_bound(map, rtol / 4)
    start = start_vector(map) if upper.start is None else upper.start
    v, steps = climb(map, start, rtol, CIRCULAR_STEPS, upper.value)
    return NormInterval(attained(map, v), upper.value, upper.method, steps)


def _proved_interval(map: LinearMap, gram: DenseGram | BlockGram, rtol: float, method: str) -> NormInterval:
    """Lanczos until Cholesky succeeds at 1 + rtol/2 times what it found, or a wider interval after all."""
    v, steps, margin = start_vector(map), 0, rtol
    floor = 2.0**-40 * float(torch.linalg.vector_norm(map.weight)) ** 2
    for patience in (1, 16, 256):
        v, more = climb(map, v, rtol / patience, PROOF_STEPS)
        steps, lower = steps + more, attained(map, v)
        t = max(lower**2 * (1 + margin), floor)
        if gram.proves(t):
            break
    else:
        while not gram.proves(t):
            margin *= 4
            t = max(t, floor) * (1 + margin)
    return NormInterval(lower, math.sqrt(square_bound(t, gram.order, gram.error)) * OUTWARD, method, steps)


def _every_size(map: LinearMap, rtol: float) -> NormInterval:
    assert isinstance(map, Convolution)
    upper, lower = every_size_upper_bound(map, rtol)
    return NormInterval(lower, upper.value, upper.method)


def _scaled(weight: Tensor, name: str) -> tuple[Tensor, int]:
    """(W·2⁻ᵉ in float64, e), its largest entry in [1, 2): squares can neither overflow nor vanish."""
    if not weight.numel():
        return weight.double(), 0
    largest = max(abs(float(end)) for end in torch.aminmax(weight))
    if not math.isfinite(largest):
        raise NonFiniteError(f"the weight of {name} holds NaN or infinity: no norm exists")
    exponent = math.frexp(largest)[1] - 1 if largest else 0
    half = -exponent // 2  # in two steps: 2^1074, which the smallest weights need, is no float64
    W = weight.to(torch.float64, copy=True)
    return W.mul_(2.0**half).mul_(2.0 ** (-exponent - half)), exponent


def _unscaled(interval: NormInterval, exponent: int) -> NormInterval:
    lower = min(_shifted(interval.lower, exponent), sys.float_info.max)
    lower = max(0.0, math.nextafter(lower, -math.inf))
    # Entries that the scaling flushed to zero are worth less than the allowance for underflow.
    upper = math.nextafter(_shifted(interval.upper + UNDERFLOW, exponent), math.inf)
    return NormInterval(lower, upper, interval.method, interval.steps)


def _shifted(x: float, exponent: int) -> float:
    try:
        return math.ldexp(x, exponent)
    except OverflowError:
        return math.inf
