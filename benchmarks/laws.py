"""What grows with what: calls to measure, at which sizes, and the powers that theory allows time and memory.

A power is an upper bound on the exponent, for the dominant term: what a call costs besides makes the measured
one smaller. Sizes lie within one regime each, where no other method takes over.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import cycle

import torch
from torch import Tensor, nn

from onelip.certificate.certify import certify
from onelip.constraint.apply import constrain
from onelip.linear.norm import operator_norm
from onelip.metrics import FeatureSet, frechet_distance, kernel_distance, neighbourhoods
from onelip.study.w1bench.critics import untrained
from onelip.study.w1bench.settings import cell_of
from onelip.study.w1bench.training import train
from onelip.transport import funnel_pair, monte_carlo_w1

Call = Callable[[], object]
CHANNELS, SIDE, FEATURES, FUNNELS = 16, 16, 64, 4
MOVE = 0.05  # of σ: far enough that no estimate is kept, about what a few steps of Adam make


@dataclass(frozen=True)
class Law:
    """prepare(size) returns the call to measure, its inputs made. time, memory: the exponents of theory."""

    subject: str
    variable: str
    sizes: tuple[int, ...]
    prepare: Callable[[int], Call]
    time: float
    memory: float
    reason: str

    @property
    def name(self) -> str:
        return f"{self.subject}: {self.variable}"


def convolutions(layers: int = 1, channels: int = CHANNELS) -> nn.Sequential:
    """3×3 convolutions that keep channels and size, with ReLU between them."""
    pairs = [(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()) for _ in range(layers)]
    return nn.Sequential(*(module for pair in pairs for module in pair))


def constraining(layers: int = 1, channels: int = CHANNELS, side: int = SIDE) -> Call:
    """Constrain a fresh copy of a network; the estimate of every layer converges."""
    network = convolutions(layers, channels)
    return lambda: constrain(copy.deepcopy(network), "spectral", input_shape=(channels, side, side))


def renewing(layers: int = 1, channels: int = CHANNELS, side: int = SIDE) -> Call:
    """What a training step adds: every weight has moved, and its norm is followed when it is read."""
    network = constrain(convolutions(layers, channels), "spectral", input_shape=(channels, side, side))
    held = [layer for layer in network.train() if isinstance(layer, nn.Conv2d)]
    places = [_places(layer) for layer in held]

    @torch.no_grad()
    def step() -> None:
        for layer, (weight, turns) in zip(held, places, strict=True):
            weight.copy_(next(turns))
            _ = layer.weight

    return step


def _places(layer: nn.Conv2d) -> tuple[Tensor, cycle[Tensor]]:
    """The free weight of a constrained layer, and two places, MOVE·σ apart, that it goes to in turns."""
    free = layer.get_parameter("parametrizations.weight.original").detach()
    sigma = torch.linalg.vector_norm(free) / torch.linalg.vector_norm(layer.weight.detach())
    aside = torch.randn_like(free)
    there = free + MOVE * sigma * aside / torch.linalg.vector_norm(aside)
    return free, cycle([there, free.clone()])


def normed(channels: int = CHANNELS, side: int = SIDE) -> Call:
    (layer, _) = convolutions(1, channels)
    return partial(operator_norm, layer, (channels, side, side))


def normed_matrix(n: int) -> Call:
    return partial(operator_norm, nn.Linear(n, n))


def certified(layers: int = 3, width: int = 32) -> Call:
    pairs = [(nn.Linear(width, width), nn.ReLU()) for _ in range(layers)]
    network = nn.Sequential(*(module for pair in pairs for module in pair))
    return partial(certify, network, (width,), starts=1, steps=10)


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(width, width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def certified_blocks(blocks: int, width: int = 32) -> Call:
    network = nn.Sequential(*(Residual(width) for _ in range(blocks)))
    return partial(certify, network, (width,), starts=1, steps=10)


def compared(metric: Callable[[FeatureSet, FeatureSet], object], n: int = 2000, d: int = FEATURES) -> Call:
    """Fresh sets in each call: of a set that stays, a part is kept."""
    x, y = torch.randn(n, d, dtype=torch.float64), torch.randn(n, d, dtype=torch.float64) + 0.1
    return lambda: metric(FeatureSet(x), FeatureSet(y))


def w1_training(dim: int = SIDE, batch: int | None = None) -> Call:
    """Two steps of the benchmark's best critic, whose hidden layers are 2·dim wide, optimizer and all."""
    cell = cell_of("best", dim, FUNNELS, 0, steps=2, batch=batch)
    critic, pair = untrained(cell), funnel_pair(dim, FUNNELS, 0)
    return lambda: train(critic, pair, cell, torch.Generator().manual_seed(0), lambda step: None)


def w1_truth(dim: int = SIDE, funnels: int = FUNNELS, samples: int = 2**15) -> Call:
    pair = funnel_pair(dim, funnels, 0)
    return lambda: monte_carlo_w1(pair, torch.Generator().manual_seed(0), samples)


_POWER = "an iteration is two convolutions, O(c² k² n²) in time, O(c n²) in memory"
# Krylov methods take about 1/√gap steps, where the singular values next to the largest lie `gap` below it.
_MATRIX = "of them O(c^⅓), for the largest singular values of random matrices lie c^−⅔ apart"
_WAVE = "of them O(n), for the plane waves at the symbol's peak lie n⁻² apart, until the tolerance ends it"
_PROBE = "the search for a witness is a fixed number of passes"
LAWS = (
    Law("constrain", "layers", (1, 2, 4, 8, 16), lambda L: constraining(layers=L), 1, 1, "layer by layer"),
    Law("constrain", "channels", (32, 48, 64, 96, 128), lambda c: constraining(channels=c), 7 / 3, 2,
        f"{_POWER}; {_MATRIX}; the weight and its copies are c² k²"),
    Law("constrain", "image side", (16, 24, 32, 48, 64), lambda n: constraining(side=n), 3, 2,
        f"{_POWER}; {_WAVE}"),
    Law("renewal", "layers", (2, 4, 8, 16, 32), lambda L: renewing(layers=L), 1, 1, "layer by layer"),
    Law("renewal", "channels", (32, 48, 64, 96, 128), lambda c: renewing(channels=c), 2, 2,
        f"{_POWER}; at most eight; the slope is as large as the weight, c² k²"),
    Law("renewal", "image side", (16, 24, 32, 48, 64), lambda n: renewing(side=n), 2, 2,
        f"{_POWER}; at most eight"),
    Law("operator_norm", "channels", (32, 48, 64, 96, 128, 192), lambda c: normed(channels=c), 3, 2,
        "Cholesky of c × c at each of n² frequencies, a bounded portion of them at a time"),
    Law("operator_norm", "image side", (36, 48, 60, 72, 84), lambda n: normed(side=n), 2, 2,
        "c³ at each of n² frequencies; beyond 32 no envelope is sought, beyond 90 no grid"),
    Law("operator_norm", "width (dense)", (512, 768, 1024, 1536, 2048), normed_matrix, 3, 2,
        "Gram matrix and Cholesky, O(n³), of n² numbers"),
    Law("certify", "layers", (2, 4, 8, 16, 32), lambda L: certified(layers=L), 1, 1,
        f"each operator's norm is taken once; {_PROBE}"),
    Law("certify", "residual blocks", (2, 4, 8, 16, 32), certified_blocks, 1, 1,
        f"branches are joined where they meet, no path is walked twice; {_PROBE}"),
    Law("certify", "width", (96, 128, 192, 256, 384), lambda w: certified(width=w), 3, 2,
        "Gram matrix, Cholesky and ellipsoid of each w × w weight"),
    Law("metrics", "Fréchet: samples", (2000, 4000, 8000, 16000, 32000),
        lambda n: compared(frechet_distance, n), 1, 1, "O(n d² + d³): covariances, their square root"),
    Law("metrics", "Fréchet: features", (128, 192, 256, 384, 512),
        lambda d: compared(frechet_distance, d=d), 3, 2, "O(n d² + d³)"),
    Law("metrics", "kernel: samples", (1000, 1500, 2000, 3000, 4000),
        lambda n: compared(kernel_distance, n), 2, 1, "all pairs, O(n² d), a block of rows at a time"),
    Law("metrics", "PRDC: samples", (1000, 1500, 2000, 3000, 4000),
        lambda n: compared(neighbourhoods, n), 2, 1, "all pairs, O(n² d), a block of rows at a time"),
    Law("W₁ training step", "dimension", (64, 96, 128, 192, 256), w1_training, 3, 2,
        "Newton–Schulz of w × w weights, O(w³), beside O(batch · w²) of the passes; w = 2 dim"),
    Law("W₁ training step", "batch", (512, 1024, 2048, 4096, 8192), lambda b: w1_training(batch=b), 1, 1,
        "two passes, O(batch · w²)"),
    Law("W₁ ground truth", "funnels", (32, 64, 128, 256, 512), lambda N: w1_truth(funnels=N), 1, 1,
        "a distance to each centre, O(samples · N · dim)"),
    Law("W₁ ground truth", "dimension", (16, 32, 64, 128, 256), w1_truth, 1, 1, "O(samples · N · dim)"),
    Law("W₁ ground truth", "samples", (2**14, 2**15, 2**16, 2**17, 2**18),
        lambda n: w1_truth(samples=n), 1, 1, "O(samples · N · dim), 2¹⁴ at a time"),
)  # fmt: skip
