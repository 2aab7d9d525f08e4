"""What the experiments share: critics by recipe, their training, and samples of digits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onelip.constraint.activation import MaxMin
from onelip.constraint.apply import constrain
from onelip.data import ImageSet, load
from onelip.gan.losses import LOSS_FUNCTIONS
from onelip.gan.networks import mlp
from onelip.gan.random import Stream, derived_seed, generator_for
from onelip.gan.step import update
from onelip.linear.layers import plain_copy
from onelip.rounding import rounded

Tick = Callable[[], None]
Draw = Callable[[torch.Generator], tuple[Tensor, Tensor]]


class Recipe(NamedTuple):
    """How a critic is held, if at all, and what stands between its layers."""

    kind: str | None
    activation: type[nn.Module]


RECIPES: dict[str, Recipe] = {
    "unconstrained": Recipe(None, nn.ReLU),
    "unconstrained, tanh": Recipe(None, nn.Tanh),
    "spectral + ReLU": Recipe("spectral", nn.ReLU),
    "spectral + MaxMin": Recipe("spectral", MaxMin),
    "orthogonal + MaxMin": Recipe("orthogonal", MaxMin),
}


@dataclass(frozen=True)
class Fit:
    """One training of a critic by Adam; `decay` lets its rate fall to zero along a cosine."""

    steps: int
    batch: int = 128
    lr: float = 2e-3
    betas: tuple[float, float] = (0.5, 0.9)
    decay: bool = True


def build_by_recipe(recipe: str, sizes: Sequence[int], seed: int) -> nn.Sequential:
    """An MLP of these sizes, the last one 1: [batch, *shape] to scores [batch], with He's initial weights."""
    kind, activation = RECIPES[recipe]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, 0, Stream.INITIALIZATION))
        critic = nn.Sequential(nn.Flatten(), *he_initialized(mlp(list(sizes), activation)), nn.Flatten(0))
        return critic if kind is None else constrain(critic, kind)


def he_initialized(network: nn.Sequential) -> nn.Sequential:
    """Weights of variance 2/inputs and no biases (He et al., ICCV 2015): depth alone changes no scale."""
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return network


def training(critic: nn.Module, loss: str, draw: Draw, fit: Fit, seed: int) -> Iterator[int]:
    """Train `critic` in place on batches (real, generated); yields the steps taken so far, from 0 on."""
    optimizer = torch.optim.Adam(critic.parameters(), fit.lr, betas=fit.betas)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, fit.steps)
    random = generator_for(seed, 0, Stream.TRAINING)
    yield 0
    for step in range(1, fit.steps + 1):
        real, fake = draw(random)
        scores = critic.train()(torch.cat([real, fake]))
        update(critic, optimizer, LOSS_FUNCTIONS[loss].critic(scores[: len(real)], scores[len(real) :]))
        if fit.decay:
            schedule.step()
        yield step


def batches(real: Tensor, fake: Tensor, size: int) -> Draw:
    """Batches of `size` from each of two sample sets, with replacement."""

    def draw(random: torch.Generator) -> tuple[Tensor, Tensor]:
        on_real, on_fake = (
            torch.randint(len(samples), (size,), generator=random) for samples in (real, fake)
        )
        return real[on_real], fake[on_fake]

    return draw


def plain_float64(critic: nn.Sequential) -> nn.Sequential:
    """A float64 copy with plain weights in place of parametrizations: what is certified and scored."""
    return plain_copy(critic).double().eval()


def w1_estimate(critic: nn.Module, real: Tensor, fake: Tensor) -> float:
    """Ŵ₁ = mean f(real) − mean f(generated), in float64."""
    with torch.no_grad():
        return float(critic(real.double()).mean() - critic(fake.double()).mean())


def digits(data_dir: str | None, count: int, seed: int, *labels: int) -> Float[Tensor, "count 1 28 28"]:
    """`count` different digits of the given classes (all of them by default), in [−1, 1]."""
    data = load("mnist", data_dir)
    assert isinstance(data, ImageSet)
    assert data.labels is not None
    wanted = torch.isin(data.labels, torch.tensor(labels or range(10))).nonzero().flatten()
    order = torch.randperm(len(wanted), generator=generator_for(seed, 0, Stream.SAMPLING))
    return data.images(wanted[order[:count]])


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean over the seeds, and the lowest and highest of them."""
    return {"mean": sum(values) / len(values), "low": min(values), "high": max(values)}


def four_digits(values: Iterable[float]) -> list[float]:
    """Significant ones: enough for a curve, and a quarter of the file."""
    return [rounded(value, 4) for value in values]
