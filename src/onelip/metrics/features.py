"""Samples as features: what a network sees of them, checked once, with what is computed from them kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from jaxtyping import Shaped
from torch import Tensor

from onelip.errors import ArgumentError
from onelip.transport.samples import as_real

T = TypeVar("T")

LARGEST = 1e20  # squares of the cubic kernel are twelfth powers of features, which float64 holds up to here
BLOCK_NUMBERS = 2**20  # entries of a pairwise matrix in memory at a time: 8 MiB in float64


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features of n samples, in float64 on the CPU: [n, d], n ≥ 2.

    What a metric needs of one set alone (moments, radii, sums of kernels) is computed once and kept, so
    that a reference set costs nothing from the second comparison on.
    Raises ArgumentError for another shape, complex numbers, NaN, infinity, and numbers beyond LARGEST.

    >>> FeatureSet(torch.tensor([[0.0, 1.0], [2.0, 3.0]])).values.dtype
    torch.float64
    """

    values: Shaped[Tensor, "..."]
    _kept: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self):
        values = as_real(self.values)
        if values.dim() != 2 or values.shape[1] < 1:
            raise ArgumentError("features", "[n, d], one row a sample", list(values.shape), "flatten them")
        if len(values) < 2:
            raise ArgumentError("features", "of two samples at least", len(values), "draw more samples")
        require_finite("features", values)
        object.__setattr__(self, "values", values.detach().to("cpu", torch.float64))

    def __len__(self) -> int:
        return len(self.values)

    def kept(self, function: Callable[..., T], *arguments: Hashable) -> T:
        """function(values, *arguments), computed at the first call."""
        key = (function, *arguments)
        if key not in self._kept:
            self._kept[key] = function(self.values, *arguments)
        return self._kept[key]


def require_finite(name: str, samples: Shaped[Tensor, "n ..."]) -> None:
    """Raises ArgumentError where a sample holds NaN, infinity, or a number beyond LARGEST."""
    whole = samples.isfinite() & (samples.abs() <= LARGEST)  # float16 takes LARGEST for infinity
    broken = int((~whole).flatten(1).any(1).sum())
    if broken:
        received = f"{broken} of {len(samples)} samples with NaN, infinity or more"
        remedy = "check the samples and what they come from"
        raise ArgumentError(name, f"finite and at most {LARGEST:g} in size", received, remedy)


def require_one_space(x: FeatureSet, y: FeatureSet) -> int:
    """The dimension of both sets; ArgumentError where they differ."""
    d, other = x.values.shape[1], y.values.shape[1]
    if d != other:
        raise ArgumentError("y", f"features of {d} numbers, as x has", other, "use one extractor for both")
    return d


def row_spans(rows: int, columns: int) -> Iterator[slice]:
    """Blocks of rows, so that a pairwise matrix with `columns` columns is never whole in memory.

    Write what comes of a block into memory that was there before: small tensors that outlive the blocks
    keep the allocator from reusing them.
    """
    size = max(1, BLOCK_NUMBERS // columns)
    return (slice(start, start + size) for start in range(0, rows, size))
