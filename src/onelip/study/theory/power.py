"""When do one to three power iterations suffice?

The relative error of σ after k iterations, from random starts on spectra of different gaps, and from a warm
start while the weight moves as under Adam. A random start is gap-free: whatever the spectrum, the expected
error of λ = σ² falls at least like log(n)/k (Kuczyński & Woźniakowski, "Estimating the largest eigenvalue by
the power and Lanczos algorithms with a random start", SIAM J. Matrix Anal. Appl. 13, 1992). A
warm start has no such bound: a direction that it does not hold can grow unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onelip.constraint.apply import constrain
from onelip.gan.networks import build_critic
from onelip.gan.random import Stream, derived_seed, generator_for
from onelip.linear.layers import input_shapes, linear_map
from onelip.linear.maps import Dense, LinearMap
from onelip.linear.power import power_iteration, start_vector
from onelip.study.theory.critics import Fit, Tick, batches, digits, four_digits, training

PRECISION = 0.01
CRITIC_LAYERS = 3  # without the last, of rank one, which a single iteration finds
ADAM_LR = 1e-3
Path = Iterator[dict[str, LinearMap]]


@dataclass(frozen=True)
class PowerConfig:
    """Random starts on fixed maps; then a warm start, converged at step 0, along paths of the weight."""

    size: int = 256
    ratios: tuple[float, ...] = (0.5, 0.9, 0.99)
    starts: int = 20
    iterations: int = 256
    width: int = 8
    images: int = 1024
    steps: int = 200
    batch: int = 64
    lrs: tuple[float, ...] = (2e-4, 1e-3)
    warm_iterations: tuple[int, ...] = (1, 2, 3, 5, 10)
    measured_every: int = 10
    seed: int = 0

    @property
    def units(self) -> int:
        return (
            len(self.ratios) + len(FIXED_SPECTRA) + 2 * CRITIC_LAYERS + len(self.lrs) + len(SYNTHETIC_PATHS)
        )


def measure(config: PowerConfig, data_dir: str | None, tick: Tick) -> dict[str, Any]:
    """Errors from random starts and from warm ones, and how many iterations each case needs."""
    random_start, warm_start = {}, {}
    trained = {lr: list(_adam_path(lr, config, data_dir)) for lr in config.lrs}
    layers = {f"MNIST critic, {name}": map for name, map in trained[max(config.lrs)][-1].items()}
    for name, map in {**synthetic_maps(config), **layers}.items():
        random_start[name] = _from_random_starts(map, config)
        tick()
    paths = {
        f"MNIST critic, Adam {lr:g}": (iter(path), config.measured_every) for lr, path in trained.items()
    }
    paths |= {name: (make(config), 1) for name, make in SYNTHETIC_PATHS.items()}
    for name, (path, every) in paths.items():
        warm_start |= {
            f"{name}: {part}": case for part, case in _from_warm_start(path, every, config).items()
        }
        tick()
    return {"random_start": random_start, "warm_start": warm_start}


def synthetic_maps(config: PowerConfig) -> dict[str, LinearMap]:
    """Diagonal maps, whose spectrum is all that a Gaussian start sees of a map, and Gaussian matrices."""
    n = config.size
    worst = worst_ratio(n, iterations=3)
    spectra = {f"geometric, σ₂/σ₁ = {r:g}": r ** torch.arange(n, dtype=torch.float64) for r in config.ratios}
    spectra |= {f"flat, all others {r:g} σ₁": _flat(n, r) for r in (worst, 0.9)}
    random = generator_for(config.seed, 0, Stream.SAMPLING)
    maps: dict[str, LinearMap] = {name: Dense(torch.diag(values)) for name, values in spectra.items()}
    for rows in (n, n // 4):
        gaussian = torch.randn(rows, n, generator=random, dtype=torch.float64)
        maps[f"Gaussian, {rows} × {n}"] = Dense(gaussian)
    return maps


def _flat(n: int, ratio: float) -> Float[Tensor, "n"]:
    values = torch.full((n,), ratio, dtype=torch.float64)
    values[0] = 1.0
    return values


def worst_ratio(n: int, iterations: int) -> float:
    """The r for which σ = (1, r, …, r) leaves the largest error after `iterations` from a typical start.

    A start with equal parts along all n singular vectors ends at σ² = Σ σᵢ^(4k+2) / Σ σᵢ^(4k).

    >>> worst_ratio(256, iterations=3)
    0.72
    """
    r = torch.arange(1, 100, dtype=torch.float64) / 100
    k, others = iterations, n - 1
    found = ((1 + others * r ** (4 * k + 2)) / (1 + others * r ** (4 * k))).sqrt()
    return float(r[found.argmin()])


FIXED_SPECTRA = ("flat, worst for 3 iterations", "flat, 0.9", "Gaussian, square", "Gaussian, wide")


def _from_random_starts(map: LinearMap, config: PowerConfig) -> dict[str, Any]:
    """Error after 0, 1, 2, … iterations, median and range over the starts; iterations to 1 %."""
    sigma, _, second = top_two(map)
    errors = torch.stack([_errors(map, sigma, seed, config.iterations) for seed in range(config.starts)])
    median, low, high = errors.quantile(0.5, dim=0), errors.amin(0), errors.amax(0)
    shown = [k for k in range(config.iterations + 1) if k <= 16 or k % 8 == 0]
    return {
        "sigma": sigma,
        "second_over_first": second / sigma,
        "iterations": shown,
        "error_median": four_digits(median[shown].tolist()),
        "error_low": four_digits(low[shown].tolist()),
        "error_high": four_digits(high[shown].tolist()),
        "error_after_3": {"median": float(median[3]), "low": float(low[3]), "high": float(high[3])},
        "to_one_percent": {"median": _first_within(median), "most": _first_within(high)},
    }


def _errors(map: LinearMap, sigma: float, seed: int, iterations: int) -> Float[Tensor, " iterations"]:
    """Relative error of σ after 0, 1, …, `iterations` power iterations from one random start."""
    triple = power_iteration(map, start_vector(map, seed), 0)
    found = [float(triple.sigma)]
    for _ in range(iterations):
        triple = power_iteration(map, triple.v, 1)
        found.append(float(triple.sigma))
    return (1 - torch.tensor(found, dtype=torch.float64) / sigma).clamp_min(0)  # below 0 only by rounding


def _first_within(errors: Tensor) -> int | None:
    within = (errors <= PRECISION).nonzero()
    return int(within[0]) if len(within) else None


class TopTwo(NamedTuple):
    """σ₁ with its right singular vector, and σ₂."""

    sigma: float
    v: Tensor
    second: float


def top_two(map: LinearMap) -> TopTwo:
    """Of a map in float64, from the Gram matrix of its assembled operator.

    >>> top_two(Dense(torch.diag(torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64)))).second
    2.0
    """
    n = torch.Size(map.in_shape).numel()
    rows = map.apply(torch.eye(n, dtype=torch.float64).reshape(n, *map.in_shape)).flatten(1)
    if n <= rows.shape[1]:
        values, vectors = torch.linalg.eigh(rows @ rows.T)
        v = vectors[:, -1]
    else:
        values, vectors = torch.linalg.eigh(rows.T @ rows)
        v = rows @ vectors[:, -1]
    second, first = values[-2:].clamp_min(0).sqrt().tolist()
    return TopTwo(first, v.reshape(map.in_shape), second)


def _adam_path(lr: float, config: PowerConfig, data_dir: str | None) -> Path:
    """Critics of threes against eights: the convolutions of one whose operators are normalised, and the
    kernels of one whose reshaped kernels are, by one iteration a step as the study's sn."""
    operators = _critic_path("spectral", None, lr, config, data_dir)
    kernels = _critic_path("spectral-reshaped", 1, lr, config, data_dir)
    for held_by_operators, held_by_kernels in zip(operators, kernels, strict=True):
        applied = {
            f"convolution {i}": linear_map(layer, shape, _raw_weight(layer))
            for i, (layer, shape) in enumerate(held_by_operators, start=1)
        }
        reshaped = {
            f"reshaped kernel {i}": Dense(_raw_weight(layer).flatten(1))
            for i, (layer, _) in enumerate(held_by_kernels, start=1)
        }
        yield {**applied, **reshaped}


def _critic_path(
    kind: str, iterations: int | None, lr: float, config: PowerConfig, data_dir: str | None
) -> Iterator[list[tuple[nn.Module, tuple[int, ...]]]]:
    """The convolutions of one critic with the shapes of their inputs, before each step and after the last."""
    real, fake = (digits(data_dir, config.images, config.seed, label) for label in (3, 8))
    shape = tuple(real.shape[1:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, 0, Stream.INITIALIZATION))
        plain = build_critic(config.width, shape)
        critic = constrain(plain, kind, input_shape=shape, iterations=iterations)
    shapes = list(input_shapes(critic, shape).items())[:CRITIC_LAYERS]
    layers = [(critic.get_submodule(name), received) for name, received in shapes]
    fit = Fit(config.steps, config.batch, lr, betas=(0.0, 0.9), decay=False)
    for _ in training(critic, "hinge", batches(real, fake, config.batch), fit, config.seed):
        yield layers


def _raw_weight(layer: nn.Module) -> Tensor:
    """What the optimizer moves, before it is divided by σ."""
    (weight,) = (p for name, p in layer.named_parameters() if name.endswith("original"))
    return weight.detach().double().clone()


def _random_signs(config: PowerConfig) -> Path:
    """Adam's first steps under pure noise: every entry goes up or down by the learning rate."""
    random = generator_for(config.seed, 1, Stream.SAMPLING)
    W = _default_weight(config.size, random)
    for _ in range(config.steps + 1):
        yield {"matrix": Dense(W)}
        W = W + ADAM_LR * torch.randn(W.shape, generator=random, dtype=W.dtype).sign()


def _new_direction(config: PowerConfig) -> Path:
    """Adam under a constant gradient of rank one: ‖ΔW‖₂ = n·lr at every step, along a fresh direction."""
    random = generator_for(config.seed, 2, Stream.SAMPLING)
    W = _default_weight(config.size, random)
    s, t = torch.randn(2, config.size, generator=random, dtype=W.dtype).sign()
    for step in range(config.steps + 1):
        yield {"matrix": Dense(W + step * ADAM_LR * torch.outer(s, t))}


def _overtaking(config: PowerConfig) -> Path:
    """diag(1, ρ, …) with ρ from ½ to 3/2: halfway another singular value becomes the largest."""
    values = _flat(config.size, 0.5)
    for step in range(config.steps + 1):
        values[1] = 0.5 + step / config.steps
        yield {"matrix": Dense(torch.diag(values))}


SYNTHETIC_PATHS: dict[str, Callable[[PowerConfig], Path]] = {
    "random signs, Adam 0.001": _random_signs,
    "one new direction, Adam 0.001": _new_direction,
    "another σ overtakes": _overtaking,
}


def _default_weight(n: int, random: torch.Generator) -> Float[Tensor, "n n"]:
    """Uniform up to ±1/√n, as torch initialises nn.Linear."""
    return (2 * torch.rand(n, n, generator=random, dtype=torch.float64) - 1) / n**0.5


def _from_warm_start(path: Path, every: int, config: PowerConfig) -> dict[str, dict[str, Any]]:
    """Error of each map, every so many steps, when each step gets k iterations from the u of the last one.

    That is Miyato et al. 2018, algorithm 1, from a pair that has converged at step 0.
    """
    vectors: dict[tuple[str, int], Tensor] = {}
    errors: dict[str, dict[int, list[float]]] = {}
    for step, maps in enumerate(path):
        for name, map in maps.items():
            truth = top_two(map) if step % every == 0 else None
            curves = errors.setdefault(name, {k: [] for k in config.warm_iterations})
            for k, curve in curves.items():
                v = truth.v if step == 0 and truth is not None else map.adjoint(vectors[name, k][None])[0]
                found = power_iteration(map, v, k - 1)
                vectors[name, k] = found.u
                if truth is not None:
                    curve.append(max(0.0, 1 - float(found.sigma) / truth.sigma))
    return {name: _warm_case(curves, every) for name, curves in errors.items()}


def _warm_case(curves: dict[int, list[float]], every: int) -> dict[str, Any]:
    worst = {k: max(values) for k, values in curves.items()}
    return {
        "steps": [every * i for i in range(len(next(iter(curves.values()))))],
        "errors": {str(k): four_digits(values) for k, values in curves.items()},
        "worst": {str(k): value for k, value in worst.items()},
        "within_one_percent": next((k for k, value in worst.items() if value <= PRECISION), None),
    }
