"""operator_norm: a proved interval around the norm of the linear map that a layer applies."""

from __future__ import annotations

import math
import sys
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from onelip.errors import ArgumentError, NonFiniteError
from onelip.linear.cholesky import OUTWARD, UNDERFLOW, gram, proved_squares, square_bound
from onelip.linear.convolution import every_size_upper_bound, upper_bound
from onelip.linear.interval import NormInterval
from onelip.linear.layers import ample_shape, current_weight, linear_map
from onelip.linear.lower import attained, converge
from onelip.linear.maps import Convolution, Dense, LinearMap
from onelip.linear.power import start_vector
from onelip.linear.symbol import stencil

Method = Literal["auto", "circular", "tight"]
# Operators with at most this many inputs or outputs are assembled: exact, and cheaper than a width.
ASSEMBLED_SIZE = 512


@torch.no_grad()
def operator_norm(
    layer: nn.Module | LinearMap,
    input_shape: tuple[int, ...] | None = None,
    rtol: float = 1e-3,
    method: Method = "auto",
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
    name: what an error calls the layer.

    Both ends are rounded outward (the note in cholesky.py). Raises NonFiniteError for NaN or infinity.

    >>> operator_norm(nn.Conv2d(1, 1, 3, padding=1), (1, 28, 28)).relative_width < 3e-3
    True
    """
    if not 1e-9 <= rtol < 1:
        raise ArgumentError("rtol", "between 1e-9 and 1", rtol, "1e-3 is the default")
    if method not in get_args(Method):
        raise ArgumentError("method", f"one of {get_args(Method)}", repr(method), "leave it out for 'auto'")
    every_size = isinstance(layer, _ConvNd) and input_shape is None
    map = layer if isinstance(layer, LinearMap) else _map_of(layer, input_shape)
    weight, exponent = _scaled(map.weight.detach(), name or repr(layer))
    map = map.with_weight(weight)
    if not (stencil(map).weight if isinstance(map, Convolution) else weight).any():
        return NormInterval(0.0, 0.0, "zero map")
    interval = _every_size(map, rtol) if every_size else _interval(map, rtol, method)
    return _unscaled(interval, exponent)


@torch.no_grad()
def reshaped_norm(layer: nn.Module | Tensor, rtol: float = 1e-3, name: str | None = None) -> NormInterval:
    """The interval of ‖W.flatten(1)‖₂, the norm that Miyato et al. 2018 and torch normalise.

    Not the norm of the map that a convolution applies. Of a transposed convolution, whose weight is
    [in, out, …], torch flattens along the second axis; a plain tensor is flattened along its first.

    >>> 1.0 in reshaped_norm(torch.eye(3))
    True
    """
    weight = layer if isinstance(layer, Tensor) else current_weight(layer)
    if isinstance(layer, _ConvTransposeNd):
        weight = weight.transpose(0, 1)
    return operator_norm(Dense(weight.flatten(1)), rtol=rtol, name=name or repr(layer))


def _map_of(layer: nn.Module, input_shape: tuple[int, ...] | None) -> LinearMap:
    weight = current_weight(layer)
    return linear_map(layer, ample_shape(layer) if input_shape is None else input_shape, weight)


def _interval(map: LinearMap, rtol: float, method: Method) -> NormInterval:
    """The interval of a scaled map: from below by Lanczos, from above by what its kind allows."""
    if isinstance(map, Dense):
        return _dense_interval(map, rtol, "dense cholesky")
    assert isinstance(map, Convolution), type(map)
    small = min(math.prod(map.in_shape), math.prod(map.out_shape)) <= ASSEMBLED_SIZE
    if method == "tight" or (method == "auto" and small):
        return _dense_interval(Dense(map.dense()), rtol, "tight cholesky")
    upper = upper_bound(map, rtol / 4)
    lower, steps = _lower(map, upper.start, rtol)
    return NormInterval(lower, upper.value, upper.method, steps)


def _dense_interval(map: Dense, rtol: float, method: str) -> NormInterval:
    lower, steps = _lower(map, None, rtol / 4)
    W = map.weight
    G = gram(W.unsqueeze(0))
    t = proved_squares(G, torch.tensor([lower**2], dtype=W.dtype, device=W.device), rtol)
    frobenius = float(torch.linalg.vector_norm(W)) * (1 + 1e-9)
    square = square_bound(t, G.shape[-1], max(W.shape), frobenius)
    return NormInterval(lower, math.sqrt(square) * OUTWARD, method, steps)


def _every_size(map: LinearMap, rtol: float) -> NormInterval:
    assert isinstance(map, Convolution)
    upper, lower = every_size_upper_bound(map, rtol)
    return NormInterval(lower, upper.value, upper.method)


def _lower(map: LinearMap, start: Tensor | None, rtol: float) -> tuple[float, int]:
    """Searched in float32, which is enough for a direction; evaluated in float64."""
    single = map.with_weight(map.weight.float())
    v = start_vector(single) if start is None else start.float()
    triple, steps = converge(single, v, rtol)
    return attained(map, triple.v.double()), steps


def _scaled(weight: Tensor, name: str) -> tuple[Tensor, int]:
    """(W·2⁻ᵉ in float64, e), its largest entry in [1, 2): squares can neither overflow nor vanish."""
    if not torch.isfinite(weight).all():
        raise NonFiniteError(f"the weight of {name} holds NaN or infinity: no norm exists")
    W = weight.double()
    largest = float(W.abs().max()) if W.numel() else 0.0
    exponent = math.frexp(largest)[1] - 1 if largest else 0
    half = -exponent // 2  # in two steps: 2^1074, which the smallest weights need, is no float64
    return torch.ldexp(torch.ldexp(W, torch.tensor(half)), torch.tensor(-exponent - half)), exponent


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
