"""Fuzz of operator_norm: random linear layers of every kind against the SVD of their dense matrix.

A case is a violation if the interval misses the oracle's σ by more than the oracle's own rounding.
"""

from __future__ import annotations

import itertools
import math
import random
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from onelip.linear.interval import NormInterval
from onelip.linear.layers import linear_map
from onelip.linear.norm import operator_norm

Layer = nn.Linear | _ConvNd
CONVOLUTIONS: tuple[type[Any], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED: tuple[type[Any], ...] = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
MODES = ("zeros", "zeros", "circular", "reflect", "replicate")
LARGEST_MATRIX = 400 * 400
COUNT, SEED = 20_000, 0


@dataclass(frozen=True)
class Case:
    """One layer, the shape of its input, and how it is asked: method, and whether the shape is told."""

    layer: Layer
    shape: tuple[int, ...]
    method: str
    shape_given: bool

    def interval(self) -> NormInterval:
        return operator_norm(self.layer, self.shape if self.shape_given else None, method=self.method)  # type: ignore


def cases(seed: int) -> Iterator[Case]:
    """An endless stream of cases; the same seed gives the same ones."""
    choose = random.Random(seed)
    while True:
        case = random_case(choose)
        if case is not None:
            yield case


def random_case(choose: random.Random) -> Case | None:
    """A random case, or None where the draw fits no layer (a kernel too large for its image, say)."""
    layer, shape = choose.choice((random_dense, random_convolution, random_convolution, random_transposed))(
        choose
    )
    try:
        map = linear_map(layer, shape)
    except ValueError:
        return None
    if layer_refuses(layer, shape) or math.prod(map.in_shape) * math.prod(map.out_shape) > LARGEST_MATRIX:
        return None
    with torch.no_grad():
        layer.weight.copy_(random_weight(choose, layer.weight.shape))
    layer.to(choose.choice(DTYPES))
    if not torch.isfinite(layer.weight).all():
        return None
    return Case(
        layer, shape, choose.choice(("auto", "circular", "circular", "tight")), choose.random() < 0.75
    )


def layer_refuses(layer: Layer, shape: tuple[int, ...]) -> bool:
    """torch itself rejects some geometries, such as reflect padding that is not smaller than the image."""
    try:
        layer(torch.zeros(1, *shape))
    except RuntimeError:
        return True
    return False


def random_dense(choose: random.Random) -> tuple[Layer, tuple[int, ...]]:
    rows, columns = choose.randint(1, 40), choose.randint(1, 40)
    return nn.Linear(columns, rows, bias=False), (columns,)


def random_convolution(choose: random.Random) -> tuple[Layer, tuple[int, ...]]:
    axes, groups, channels = _channels(choose)
    kernel, dilation = _sides(choose, axes, 1, 5), _sides(choose, axes, 1, 3)
    stride = _sides(choose, axes, 1, 4)
    padding: object = _sides(choose, axes, 0, 4)
    if set(stride) == {1} and choose.random() < 0.3:
        padding = "same"
    layer = CONVOLUTIONS[axes - 1](
        groups * channels[0],
        groups * channels[1],
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        padding_mode=choose.choice(MODES),
        bias=False,
    )  # fmt: skip
    return layer, (groups * channels[0], *_sides(choose, axes, 1, (24, 8, 5)[axes - 1]))


def random_transposed(choose: random.Random) -> tuple[Layer, tuple[int, ...]]:
    axes, groups, channels = _channels(choose)
    stride, dilation = _sides(choose, axes, 1, 4), _sides(choose, axes, 1, 3)
    extra = tuple(choose.randint(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True))
    layer = TRANSPOSED[axes - 1](
        groups * channels[0],
        groups * channels[1],
        _sides(choose, axes, 1, 5),
        stride=stride,
        padding=_sides(choose, axes, 0, 3),
        output_padding=extra,
        dilation=dilation,
        groups=groups,
        bias=False,
    )  # fmt: skip
    return layer, (groups * channels[0], *_sides(choose, axes, 1, (12, 5, 3)[axes - 1]))


def _channels(choose: random.Random) -> tuple[int, int, tuple[int, int]]:
    return choose.randint(1, 3), choose.choice((1, 1, 2, 3)), (choose.randint(1, 3), choose.randint(1, 3))


def _sides(choose: random.Random, axes: int, low: int, high: int) -> tuple[int, ...]:
    return tuple(choose.randint(low, high) for _ in range(axes))


def random_weight(choose: random.Random, shape: torch.Size) -> Tensor:
    """Normal, or structured in a way that is known to be hard, on a scale that may be extreme."""
    generator = torch.Generator().manual_seed(choose.getrandbits(31))
    W = torch.randn(shape, generator=generator)
    kind = choose.choice(
        ("normal", "normal", "non-negative", "constant", "zero", "sparse", "rank one", "delta")
    )
    if kind == "non-negative":
        W = W.abs()
    elif kind == "constant":
        W = torch.full(shape, float(W.flatten()[0]))
    elif kind == "zero":
        W = torch.zeros(shape)
    elif kind == "sparse":
        W = W * (torch.rand(shape, generator=generator) < 0.3)
    elif kind == "rank one":
        W = (W[:, :1].flatten(1)[:, :1] * W[:1].flatten(1)).reshape(shape)
    elif kind == "delta":
        W = torch.zeros(shape).flatten().index_fill(0, torch.tensor([W.numel() // 2]), 1.0).reshape(shape)
    return W * 10.0 ** choose.choice((0, 0, 0, 0, -3, 3, -30, 30))


def oracle(case: Case) -> tuple[float, float]:
    """(σ, its rounding): the largest singular value of the dense matrix of the float64 weight.

    LAPACK's SVD is backward stable: it errs by a modest multiple of max(m, n)·u·σ; 32 is allowed. A weight's
    entries may be added up in the matrix (circular and reflect padding): at most 2⁻⁵⁰ times their number.
    """
    exponent = math.frexp(float(case.layer.weight.detach().abs().max()))[1]
    weight = torch.ldexp(case.layer.weight.detach().double(), torch.tensor(-exponent))
    A = linear_map(case.layer, case.shape, weight).dense()
    sigma = float(torch.linalg.svdvals(A)[0])
    rounding = sigma * (32 * max(A.shape) * 2.0**-53) + weight.numel() * 2.0**-50 * sigma
    return math.ldexp(sigma, exponent), math.ldexp(rounding, exponent)


def supremum(case: Case, seed: int) -> float:
    """The norm that large images approach, from below: of Σₜ Wₜ exp(iω·cellₜ) at the best of random ω,
    searched ever closer to the best so far. Written apart from the library, to hold it to account."""
    layer, generator = case.layer, torch.Generator().manual_seed(seed)
    assert isinstance(layer, _ConvNd), "the norm of a dense layer has no sizes"
    exponent = math.frexp(float(layer.weight.detach().abs().max()))[1]
    W = torch.ldexp(layer.weight.detach().double(), torch.tensor(-exponent))
    W = W.reshape(layer.groups, -1, *W.shape[1:]).flatten(3)
    taps = torch.cartesian_prod(*(torch.arange(k) for k in layer.kernel_size)).reshape(W.shape[-1], -1)
    shifts, stride = taps * torch.tensor(layer.dilation), torch.tensor(layer.stride)
    cells, phases = shifts // stride, (shifts % stride).unique(dim=0, return_inverse=True)[1]
    sorted_by_phase = W.unsqueeze(3) * nn.functional.one_hot(phases).T.to(W)
    centre, best = torch.zeros(cells.shape[1], dtype=torch.float64), 0.0
    for radius in (math.pi, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001):
        offsets = 2 * torch.rand(200, len(centre), generator=generator, dtype=torch.float64) - 1
        omega = centre + radius * offsets
        waves = torch.exp(1j * (omega @ cells.double().T))
        A = torch.einsum("goipt,ft->fgoip", sorted_by_phase.to(waves), waves).flatten(3)
        norms = torch.linalg.svdvals(A)[..., 0].amax(1)
        if norms.max() > best:
            best, centre = float(norms.max()), omega[norms.argmax()]
    return math.ldexp(best, exponent)


@dataclass
class Tally:
    """What was found: violations in words, and the widest interval of each method."""

    count: int = 0
    violations: list[str] = field(default_factory=list)
    cases_per_method: dict[str, int] = field(default_factory=dict)
    widest: dict[str, float] = field(default_factory=dict)

    def add(self, case: Case) -> None:
        interval = case.interval()
        sigma, rounding = oracle(case)
        sound = sigma - rounding <= interval.upper
        if interval.method.startswith("every size"):  # there `lower` is about all sizes, not this one
            sound &= supremum(case, self.count) * (1 - 1e-12) <= interval.upper
        else:
            sound &= interval.lower <= sigma + rounding
        self.count += 1
        self.cases_per_method[interval.method] = self.cases_per_method.get(interval.method, 0) + 1
        self.widest[interval.method] = max(self.widest.get(interval.method, 0.0), interval.relative_width)
        if not sound:
            self.violations.append(f"{case}: {sigma!r} ± {rounding!r} not in {interval}")


def fuzz(count: int, seed: int, say: Callable[[str], None] = lambda line: None) -> Tally:
    tally, start = Tally(), time.perf_counter()
    for case in itertools.islice(cases(seed), count):
        tally.add(case)
        if tally.count % 500 == 0 or tally.count == count:
            seconds = time.perf_counter() - start
            say(f"{tally.count} layers, {len(tally.violations)} violations, {seconds:.0f} s")
    return tally


def measure(say: Callable[[str], None], count: int = COUNT, seed: int = SEED) -> dict[str, Any]:
    """What was found in so many random layers."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using padding='same'")
        tally = fuzz(count, seed, say)
    return {
        "count": tally.count,
        "violations": len(tally.violations),
        "violating_cases": tally.violations[:20],
        "seed": seed,
        "cases_per_method": dict(sorted(tally.cases_per_method.items())),
        "max_relative_width_per_method": dict(sorted(tally.widest.items())),
        "oracle": "float64 SVD of the dense matrix, its rounding allowed for; "
        "without a size also that of the symbol where a search found it largest",
        "seconds": round(time.perf_counter() - start, 1),
        "threads": torch.get_num_threads(),
    }
