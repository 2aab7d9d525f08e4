"""What the study measures beside the training: quality, the certified constant, the critic on unseen data.

Entries of a step's record, where they are due and, all of them, after the last step:
evaluation   every metric of 2,000 generated samples (the yardstick of the data set); where these are beyond
             what metrics take NaN alone, which ends the run as diverged
scores       mean and deviation of f on real training, real test and generated samples
certificate  lower ≤ ‖f‖_Lip ≤ upper for the weights in use, and the share of them that clipping holds
final        evaluation at the published number of samples; Ŵ₁ of the critic against the exact W₁
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onelip.certificate.certify import certify
from onelip.data import load
from onelip.data.sets import DataSet
from onelip.gan.config import TrainConfig
from onelip.gan.observe import Observer
from onelip.gan.players import Players, plain_critic
from onelip.gan.sampling import generate
from onelip.metrics.features import LARGEST
from onelip.study.yardstick import yardstick
from onelip.transport.wasserstein import wasserstein1

Critic = Callable[[Tensor], Tensor]
SAMPLES = 2_000
TRANSPORT_SAMPLES = 1_000  # an assignment of n points takes n³ steps
SEED = 0  # of every real draw, so that all runs of a data set see the same ones


def bring(config: TrainConfig, data: DataSet) -> Observer:
    """The observer that a configuration asks for. Nothing is loaded before it is needed."""

    @cache
    def stick():
        return yardstick(config.data, config.data_dir)

    @cache
    def real() -> dict[str, Tensor]:
        test = load(config.data, Path(config.data_dir) if config.data_dir else None, "test")
        return {"train": data.batch(_random(0), SAMPLES), "test": test.batch(_random(1), SAMPLES)}

    def due(every: int, step: int) -> bool:
        return every > 0 and (step % every == 0 or step == config.steps)

    def evaluate(players: Players, last: bool) -> dict[str, Any]:
        counts = [min(stick().samples, SAMPLES), *([stick().samples] if last else [])]
        drawn = [generate(players.generator, config.latent, count, config.seed) for count in counts]
        if not all(map(measurable, drawn)):
            return {"evaluation": math.nan}
        generated, many = drawn[0], drawn[-1]
        critic = plain_critic(config, data.sample_shape, players.critic)
        record: dict[str, Any] = {"evaluation": _numbers(stick().measure(generated))}
        record["scores"] = scores(critic, real() | {"generated": generated})
        if last:
            record["final"] = _numbers(stick().measure(many))
            record["final"]["transport"] = transport(critic, real()["test"], generated)
        return record

    def observe(players: Players, step: int) -> dict[str, Any]:
        record: dict[str, Any] = {}
        if due(config.evaluate_every, step):
            record |= evaluate(players, last=step == config.steps)
        if due(config.certify_every, step):
            critic = plain_critic(config, data.sample_shape, players.critic)
            certificate = certify(critic, data.sample_shape, starts=2)
            record["certificate"] = {"lower": certificate.lower, "upper": certificate.upper}
            if config.method == "clip":
                record["certificate"]["at_boundary"] = share_at_boundary(critic, config.clip)
        return record

    return observe


def measurable(samples: Float[Tensor, "n *sample"]) -> bool:
    """Whether the metrics take these: a generator that has diverged may draw anything."""
    return bool((samples.abs() <= LARGEST).all())


@torch.no_grad()
def scores(critic: Critic, samples: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of f over each set of samples."""
    values = {name: critic(x) for name, x in samples.items()}
    return {name: {"mean": float(f.mean()), "deviation": float(f.std())} for name, f in values.items()}


@torch.no_grad()
def transport(
    critic: Critic, real: Float[Tensor, "n *sample"], generated: Float[Tensor, "m *sample"]
) -> dict[str, float]:
    """Ŵ₁ = mean f(real) − mean f(generated), to be divided by a constant of f, and the exact W₁.

    Both on the same held-out samples: Ŵ₁ over a proved constant never exceeds the exact value.
    """
    x, y = real[:TRANSPORT_SAMPLES], generated[:TRANSPORT_SAMPLES]
    return {
        "estimate": float(critic(x).mean() - critic(y).mean()),
        "exact": wasserstein1(x, y).value,
        "samples": len(x),
    }


def share_at_boundary(critic: nn.Module, c: float) -> float:
    """Share of the parameters that lie on ±c."""
    parameters = torch.cat([p.detach().flatten() for p in critic.parameters()])
    return float((parameters.abs() >= c).double().mean())


def _numbers(metrics: dict[str, Any]) -> dict[str, Any]:
    """A record holds numbers; the protocol's words are the yardstick's."""
    return {name: value for name, value in metrics.items() if isinstance(value, int | float)}


def _random(stream: int) -> torch.Generator:
    return torch.Generator().manual_seed(SEED + stream)
