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
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onelip.certificate.certify import certify
from onelip.data import load
from onelip.data.sets import DataSet
from onelip.gan.config import TrainConfig
from onelip.gan.players import Players, plain_critic
from onelip.gan.sampling import generate
from onelip.metrics.features import LARGEST
from onelip.study.yardstick import Yardstick, yardstick
from onelip.transport.wasserstein import wasserstein1

Critic = Callable[[Tensor], Tensor]
SAMPLES = 2_000
TRANSPORT_SAMPLES = 1_000  # an assignment of n points takes n³ steps
SEED = 0  # of every real draw, so that all runs of a data set see the same ones


@dataclass(frozen=True, eq=False)
class StudyObserver:
    """Measures after a step what its configuration asks for then; nothing is loaded before it is needed."""

    config: TrainConfig
    data: DataSet

    def __call__(self, players: Players, step: int) -> dict[str, Any]:
        record: dict[str, Any] = {}
        if self._due(self.config.evaluate_every, step):
            record |= self._evaluation(players, last=step == self.config.steps)
        if self._due(self.config.certify_every, step):
            record["certificate"] = self._certificate(players)
        return record

    def _due(self, every: int, step: int) -> bool:
        return every > 0 and (step % every == 0 or step == self.config.steps)

    def _evaluation(self, players: Players, last: bool) -> dict[str, Any]:
        counts = [min(self._metrics.samples, SAMPLES), *([self._metrics.samples] if last else [])]
        drawn = [generate(players.generator, self.config.latent, n, self.config.seed) for n in counts]
        if not all(map(measurable, drawn)):
            return {"evaluation": math.nan}
        generated, many = drawn[0], drawn[-1]
        critic = plain_critic(self.config, self.data.sample_shape, players.critic)
        record: dict[str, Any] = {"evaluation": _numbers(self._metrics.measure(generated))}
        record["scores"] = scores(critic, self._real | {"generated": generated})
        if last:
            record["final"] = _numbers(self._metrics.measure(many))
            record["final"]["transport"] = transport(critic, self._real["test"], generated)
        return record

    def _certificate(self, players: Players) -> dict[str, float]:
        critic = plain_critic(self.config, self.data.sample_shape, players.critic)
        found = certify(critic, self.data.sample_shape, starts=2)
        record = {"lower": found.lower, "upper": found.upper}
        if self.config.method == "clip":
            record["at_boundary"] = share_at_boundary(critic, self.config.clip)
        return record

    @cached_property
    def _metrics(self) -> Yardstick:
        return yardstick(self.config.data, self.config.data_dir)

    @cached_property
    def _real(self) -> dict[str, Tensor]:
        test = load(self.config.data, self.config.data_dir, "test")
        return {"train": self.data.batch(_random(0), SAMPLES), "test": test.batch(_random(1), SAMPLES)}


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
