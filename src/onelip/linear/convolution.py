"""Which proof bounds a convolution, padding by padding."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from onelip.linear.cholesky import OUTWARD
from onelip.linear.lower import most_stretched
from onelip.linear.maps import Convolution, padding_index
from onelip.linear.symbol import near_singular, stencil, symbol, symbol_lower_bound
from onelip.linear.torus import circular_bound, every_size_bound, zero_padded_bound


class Upper(NamedTuple):
    """A proved upper bound, its proof's name, and a vector to start the search from below with."""

    value: float
    method: str
    start: Tensor | None = None


def is_sharp(map: Convolution) -> bool:
    """Whether the bound from symbols is exact or misses little that vanishes with the size of the image."""
    return map.transposed or map.padding_mode == "zeros" or _turns_once(map)


def _turns_once(map: Convolution) -> bool:
    """Circular padding whose outputs go around the torus of the image exactly once."""
    turns = tuple(s * m for s, m in zip(map.stride, map.out_shape[1:], strict=True))
    return map.padding_mode == "circular" and turns == map.space


def upper_bound(map: Convolution, rtol: float) -> Upper:
    """Proved bound on the norm of the map, from symbols on a torus."""
    if map.transposed or map.padding_mode == "zeros":
        parts = stencil(map)
        bound = zero_padded_bound(parts, rtol)
        waves = near_singular(parts, bound.peak, bound.torus)
        return Upper(bound.upper, "circular embedding", _start(map, waves))
    factored = _factored(map, rtol)
    if map.padding_mode != "circular":
        return factored
    return min(_wrapped(map, rtol), factored, key=lambda upper: upper.value)


def _start(map: Convolution, waves: Tensor) -> Tensor:
    """Outputs of the stencil carried to inputs of the map, and of their span what the map stretches most."""
    single = map.with_weight(map.weight.float())
    return most_stretched(single, waves if map.transposed else single.adjoint(waves))


def _wrapped(map: Convolution, rtol: float) -> Upper:
    """Circular padding: the map takes rows of a circular convolution on the torus of the image.

    Its stride there is the largest that divides both the map's own and the image's size; where outputs come
    around more than once, repeated rows raise the norm by at most √(how often).
    """
    stride = tuple(math.gcd(s, n) for s, n in zip(map.stride, map.space, strict=True))
    torus = tuple(n // g for n, g in zip(map.space, stride, strict=True))
    repeats = 1
    for s, g, cells, m in zip(map.stride, stride, torus, map.out_shape[1:], strict=True):
        repeats *= int((torch.arange(m) * (s // g)).remainder(cells).bincount().max())
    parts = replace(stencil(map), stride=stride)
    bound = circular_bound(parts, torus, rtol)
    if _turns_once(map):
        waves = near_singular(parts, bound.peak, bound.torus)
        return Upper(bound.upper, "circular", _start(map, waves))
    return Upper(bound.upper * math.sqrt(repeats) * OUTWARD, "circular rows")


def _factored(map: Convolution, rtol: float) -> Upper:
    """‖A‖ ≤ ‖unpadded convolution‖·‖padding‖: copying an entry c times has norm √c, axis by axis."""
    copies = 1
    for n, (before, after) in zip(map.space, map.padding, strict=True):
        copies *= int(padding_index(n, before, after, map.padding_mode).bincount().max())
    bound = zero_padded_bound(stencil(map), rtol)
    return Upper(
        bound.upper * math.sqrt(copies) * OUTWARD, f"circular embedding × {map.padding_mode} padding"
    )


def every_size_upper_bound(map: Convolution, rtol: float) -> tuple[Upper, float]:
    """Proved bound on the norm at every size of the input, and one from below on the supremum of them."""
    parts = stencil(map)
    bound = every_size_bound(parts, rtol)
    lower = symbol_lower_bound(symbol(parts), bound.peak, bound.torus)
    if map.transposed or map.padding_mode == "zeros":
        return Upper(bound.upper, "every size"), lower
    factor = math.prod(_most_copies(a, b, map.padding_mode) for a, b in map.padding)
    upper = bound.upper * math.sqrt(factor) * OUTWARD
    if map.padding_mode == "circular":
        unstrided = replace(parts, stride=(1,) * len(parts.stride))
        rows = bound if unstrided.stride == parts.stride else every_size_bound(unstrided, rtol)
        upper = min(upper, rows.upper * math.sqrt(_most_repeats(map)) * OUTWARD)
    return Upper(upper, f"every size × {map.padding_mode} padding"), lower


def _most_copies(before: int, after: int, mode: str) -> int:
    """How often a padding copies one entry at most, over all sizes that it allows."""
    if mode == "replicate":
        return 1 + before + after
    if mode == "reflect":
        return 1 + (before > 0) + (after > 0)
    return 1 + math.ceil((before + after) / max(before, after, 1))


def _most_repeats(map: Convolution) -> int:
    """How often an output of a circular convolution comes around at most, over all sizes n ≥ padding:
    outputs span fewer than n + padding − reach + 1 positions."""
    repeats = 1
    for (a, b), d, k in zip(map.padding, map.dilation, map.kernel, strict=True):
        repeats *= 1 + math.ceil(max(0, a + b - d * (k - 1)) / max(a, b, 1))
    return repeats
