"""Kantorovich's primal and dual agree; how much of it does a trained 1-Lipschitz critic find?

On one and the same pair of sample sets: the cheapest plan, the best potential, their gap, and the Ŵ₁ of
critics trained on these samples. Ŵ₁ over the critic's certificate is a lower bound of W₁
(Villani, "Optimal Transport: Old and New", 2009, case 5.16), so that a critic can only fall short.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.certificate.certify import certify
from onelip.data import load
from onelip.gan.random import Stream, generator_for
from onelip.study.theory.critics import (
    Fit,
    Tick,
    batches,
    build_by_recipe,
    digits,
    plain_float64,
    spread,
    training,
    w1_estimate,
)
from onelip.transport import TransportResult, funnel_pair, lipschitz_residual, wasserstein1

FIT = Fit(steps=400)


@dataclass(frozen=True)
class DualityConfig:
    """Every pair of sample sets against every recipe and seed; the seed moves the critic, not the samples."""

    recipes: tuple[str, ...] = ("spectral + ReLU", "spectral + MaxMin", "orthogonal + MaxMin")
    samples: int = 384
    drawn_points: int = 48
    hidden: tuple[int, ...] = (64, 64, 64)
    fit: Fit = FIT
    seeds: tuple[int, ...] = (0, 1, 2)
    samples_seed: int = 0

    @property
    def units(self) -> int:
        return len(PAIRS) * len(self.recipes) * len(self.seeds)


class Pair(NamedTuple):
    """Two sample sets in float64, x of P and y of Q."""

    x: Float[Tensor, "n *shape"]
    y: Float[Tensor, "m *shape"]


def measure(config: DualityConfig, data_dir: str | None, tick: Tick) -> dict[str, Any]:
    """For each pair primal, dual and gap of the exact solver, and what critics reach."""
    pairs = {}
    for name, draw in PAIRS.items():
        pair = draw(config, data_dir)
        exact = wasserstein1(*pair)
        critics = [
            _critic(recipe, seed, pair, exact.value, config, tick)
            for recipe in config.recipes
            for seed in config.seeds
        ]
        pairs[name] = {
            "solver": SOLVERS[name],
            "dimension": math.prod(pair.x.shape[1:]),
            "samples": [len(pair.x), len(pair.y)],
            **_proof(pair, exact),
            "critics": critics,
            "shortfall_percent": {
                recipe: spread([c["shortfall_percent"] for c in critics if c["recipe"] == recipe])
                for recipe in config.recipes
            },
        }
    return {"pairs": pairs, "drawing": _drawing(config)}


def _proof(pair: Pair, exact: TransportResult) -> dict[str, float]:
    """Primal and dual value, and by how much the potential exceeds slope 1 on the samples."""
    points = torch.cat([pair.x.flatten(1), pair.y.flatten(1)])
    return {
        "primal": exact.value,
        "dual": exact.value - exact.gap,
        "gap": exact.gap,
        "relative_gap": exact.gap / exact.value,
        "lipschitz_residual": lipschitz_residual(torch.cat([exact.potential_x, exact.potential_y]), points),
    }


def _critic(
    recipe: str, seed: int, pair: Pair, w1: float, config: DualityConfig, tick: Tick
) -> dict[str, Any]:
    """Train one critic on the samples, then certify and score the plain network that came out."""
    shape = tuple(pair.x.shape[1:])
    critic = build_by_recipe(recipe, [math.prod(shape), *config.hidden, 1], seed)
    draw = batches(pair.x.float(), pair.y.float(), config.fit.batch)
    for _ in training(critic, "wasserstein", draw, config.fit, seed):
        pass
    plain = plain_float64(critic)
    proved = certify(plain, shape, seed=seed)
    estimate = w1_estimate(plain, *pair)
    bound = estimate / proved.upper
    tick()
    return {
        "recipe": recipe,
        "seed": seed,
        "w1_estimate": estimate,
        "certificate": proved.upper,
        "witness": proved.lower,
        "lower_bound": bound,
        "shortfall_percent": 100 * (1 - bound / w1),
    }


def _line(config: DualityConfig, _: str | None) -> Pair:
    """A Gaussian against two bumps that it lies between."""
    random = _random(config)
    x, noise = (torch.randn(config.samples, 1, generator=random, dtype=torch.float64) for _ in range(2))
    sign = torch.where(torch.rand(config.samples, 1, generator=random) < 0.5, -1.0, 1.0).double()
    return Pair(x, 2 * sign + 0.3 * noise)


def _ring(config: DualityConfig, _: str | None) -> Pair:
    """The ring of 8 against a Gaussian, with three points to four."""
    random = _random(config)
    ring = load("ring").batch(random, config.samples).double()
    return Pair(ring, torch.randn(config.samples * 4 // 3, 2, generator=random, dtype=torch.float64))


def _funnels(config: DualityConfig, _: str | None) -> Pair:
    sample = funnel_pair(16, 4, seed=config.samples_seed).sample(_random(config), config.samples)
    return Pair(sample.x.double(), sample.y.double())


def _digits(config: DualityConfig, data_dir: str | None) -> Pair:
    threes, eights = (digits(data_dir, config.samples, config.samples_seed, label) for label in (3, 8))
    return Pair(threes.double(), eights.double())


def _random(config: DualityConfig) -> torch.Generator:
    return generator_for(config.samples_seed, 0, Stream.SAMPLING)


PAIRS: dict[str, Callable[[DualityConfig, str | None], Pair]] = {
    "Gaussian / two bumps, 1-D": _line,
    "ring of 8 / Gaussian, 2-D": _ring,
    "four funnels, 16-D": _funnels,
    "threes / eights of MNIST, 784-D": _digits,
}
# What `wasserstein1` takes for each: by dimension, then by whether all weights are equal.
SOLVERS = dict(zip(PAIRS, ("quantiles", "network simplex", "assignment", "assignment"), strict=True))


def _drawing(config: DualityConfig) -> dict[str, Any]:
    """A small plan and its potential in the plane, for the figure: points, who goes where, f on y."""
    random = _random(config)
    x = load("ring").batch(random, config.drawn_points).double()
    y = torch.randn(config.drawn_points, 2, generator=random, dtype=torch.float64) * 0.8
    exact = wasserstein1(x, y)
    return {
        "x": x.tolist(),
        "y": y.tolist(),
        "rows": exact.plan.rows.tolist(),
        "columns": exact.plan.columns.tolist(),
        "potential_y": exact.potential_y.tolist(),
        "w1": exact.value,
        "gap": exact.gap,
    }
