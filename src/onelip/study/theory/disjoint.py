"""Two laws that do not overlap: which losses still tell the generator where to go?

P is a segment of unit length, Q the same segment at distance θ; and real digits against the images of an
untrained generator. JS is log 2 and KL infinite at every distance, W₁ = θ (Arjovsky, Chintala, Bottou,
"Wasserstein GAN", ICML 2017, example 1). Arjovsky & Bottou, "Towards Principled Methods for Training GANs",
ICLR 2017, theorem 2.4: the better the discriminator, the smaller the minimax generator's gradient.

The gradient is that of the generator's loss for a translation of all generated points, a number whose size
means the same for every network: an optimal 1-Lipschitz critic gives 1 where all points move one way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onelip.certificate.certify import certify
from onelip.gan.losses import LOSS_FUNCTIONS
from onelip.gan.networks import build_generator
from onelip.gan.random import Stream, derived_seed, generator_for
from onelip.study.theory.critics import (
    Fit,
    Tick,
    batches,
    build_by_recipe,
    digits,
    four_digits,
    plain_float64,
    spread,
    training,
    w1_estimate,
)
from onelip.transport import wasserstein1
from onelip.transport.closed_form import TranslationPair
from onelip.transport.divergence import histogram_divergences

# What is trained by which loss, and the generator losses that are then read off it.
TRAININGS = {
    "unconstrained": ("minimax", ("minimax", "non-saturating")),
    "orthogonal + MaxMin": ("wasserstein", ("wasserstein",)),
}
LOSSES = ("minimax", "non-saturating", "wasserstein")
FIT = Fit(steps=600, batch=64, lr=1e-3, decay=False)


@dataclass(frozen=True)
class DisjointConfig:
    """Distances θ in the plane, one training a distance and seed; the digits are trained once a seed."""

    distances: tuple[float, ...] = (0.125, 0.5, 1.0, 4.0)
    points: int = 512
    images: int = 512
    latent: int = 64
    generator_width: int = 8
    hidden: tuple[int, ...] = (64, 64)
    fit: Fit = FIT
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    @property
    def units(self) -> int:
        return (len(self.distances) + 1) * len(self.seeds) * len(TRAININGS)


class Laws(NamedTuple):
    """Samples of the real and the generated law, as many of each."""

    real: Float[Tensor, "n *shape"]
    fake: Float[Tensor, "n *shape"]


def measure(config: DisjointConfig, data_dir: str | None, tick: Tick) -> dict[str, Any]:
    """Divergences of the laws, and the generator's gradient against distance and training time."""
    runs = []
    for seed in config.seeds:
        for theta in config.distances:
            laws = segments(theta, config.points, seed)
            runs += [
                {"law": "plane", "distance": theta, **run} for run in _trainings(laws, config, seed, tick)
            ]
        laws = digits_and_untrained(config, data_dir, seed)
        runs += [{"law": "mnist", **run} for run in _trainings(laws, config, seed, tick)]
    return {
        "plane": [_plane_divergences(theta, config) for theta in (0.0, *config.distances)],
        "mnist": [_divergences(digits_and_untrained(config, data_dir, seed)) for seed in config.seeds],
        "runs": runs,
        "final_gradient": _final(runs),
    }


def segments(theta: float, count: int, seed: int) -> Laws:
    """(0, z) and (θ, z) for the same uniform z."""
    shift = torch.tensor([theta, 0.0])
    sample = TranslationPair(_segment, shift).sample(generator_for(seed, 0, Stream.SAMPLING), count)
    return Laws(sample.x, sample.y)


def _segment(random: torch.Generator, count: int) -> Float[Tensor, "count 2"]:
    return torch.stack([torch.zeros(count), torch.rand(count, generator=random)], dim=1)


def digits_and_untrained(config: DisjointConfig, data_dir: str | None, seed: int) -> Laws:
    """MNIST digits, and images of a DCGAN generator as it is before any training."""
    real = digits(data_dir, config.images, seed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(derived_seed(seed, 0, Stream.INITIALIZATION))
        generator = build_generator(config.latent, config.generator_width, tuple(real.shape[1:]))
        return Laws(real, generator(torch.randn(config.images, config.latent)))


def _plane_divergences(theta: float, config: DisjointConfig) -> dict[str, Any]:
    closed = TranslationPair(_segment, torch.tensor([theta, 0.0], dtype=torch.float64)).w1
    return {"distance": theta, "w1_closed_form": closed} | _divergences(segments(theta, config.points, 0))


def _divergences(laws: Laws) -> dict[str, Any]:
    """Exact W₁ of the two sample sets; JS and KL of them as laws on their distinct points."""
    x, y = laws.real.flatten(1), laws.fake.flatten(1)
    transport = wasserstein1(x, y)
    atoms, of = torch.unique(torch.cat([x, y]), dim=0, return_inverse=True)
    p, q = (torch.bincount(part, minlength=len(atoms)).double() / len(x) for part in of.split(len(x)))
    found = histogram_divergences(p, q)
    towards = torch.nn.functional.normalize(
        (x[transport.plan.rows] - y[transport.plan.columns]).double(), dim=1
    )
    return {
        "w1_exact": transport.value,
        "gap": transport.gap,
        "js": found.js,
        "kl": found.kl if math.isfinite(found.kl) else "infinite",
        "nearest": float(torch.cdist(x.double(), y.double()).min()),
        # Of an optimal potential, whose gradient at a generated point is the direction in which it moves.
        "optimal_gradient": float(towards.mean(0).norm()),
    }


def _trainings(laws: Laws, config: DisjointConfig, seed: int, tick: Tick) -> list[dict[str, Any]]:
    runs = []
    for recipe, (loss, read) in TRAININGS.items():
        runs += _training(laws, recipe, loss, read, config, seed)
        tick()
    return runs


def _training(
    laws: Laws, recipe: str, loss: str, read: tuple[str, ...], config: DisjointConfig, seed: int
) -> list[dict[str, Any]]:
    """One critic, and at each checkpoint the gradients that generators with the losses `read` would get."""
    shape = tuple(laws.real.shape[1:])
    critic = build_by_recipe(recipe, [math.prod(shape), *config.hidden, 1], seed)
    draw = batches(laws.real, laws.fake, config.fit.batch)
    curves: dict[str, list[dict[str, float]]] = {name: [] for name in read}
    steps = checkpoints(config.fit.steps)
    for step in training(critic, loss, draw, config.fit, seed):
        if step in steps:
            for name in read:
                curves[name].append(generator_gradient(critic.eval(), laws, name))
    ending: dict[str, Any] = {"recipe": recipe, "seed": seed}
    if loss == "wasserstein":
        ending["certificate"] = certify(plain_float64(critic), shape).upper
        ending["w1_estimate"] = w1_estimate(plain_float64(critic), *laws)
    else:
        ending["js_lower_bound"] = _js_lower_bound(critic, laws)
    return [
        {"loss": name, **ending, "curve": {"step": steps, **_columns(curve)}}
        for name, curve in curves.items()
    ]


def checkpoints(steps: int) -> list[int]:
    """0, and up to `steps` what is evenly spaced on a logarithmic axis.

    >>> checkpoints(20)
    [0, 1, 2, 3, 5, 7, 10, 15, 20]
    """
    return sorted({0, steps, *(round(10 ** (k / 6)) for k in range(int(6 * math.log10(steps)) + 1))})


def generator_gradient(critic: nn.Module, laws: Laws, loss: str) -> dict[str, float]:
    """∇ₜ of the generator's loss on {y + t} at t = 0: its length, and its part towards the real law."""
    shift = torch.zeros_like(laws.fake[0], requires_grad=True)
    value = LOSS_FUNCTIONS[loss].generator(critic(laws.fake + shift))
    (gradient,) = torch.autograd.grad(value, shift)
    way = (laws.real.mean(0) - laws.fake.mean(0)).flatten()
    return {
        "gradient": float(gradient.norm()),
        "towards_real": float(-gradient.flatten() @ way / way.norm()),
    }


def _js_lower_bound(critic: nn.Module, laws: Laws) -> float:
    """log 2 − ½(binary cross entropy) ≤ JS, equal for the best discriminator (Goodfellow et al. 2014)."""
    with torch.no_grad():
        loss = LOSS_FUNCTIONS["minimax"].critic(critic(laws.real), critic(laws.fake))
    return math.log(2) - float(loss) / 2


def _columns(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: four_digits(row[name] for row in rows) for name in rows[0]}


def _final(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The gradient after training, mean and range over the seeds, for each law, distance and loss."""
    groups: dict[tuple[str, float | None, str], list[float]] = {}
    for run in runs:
        key = (run["law"], run.get("distance"), run["loss"])
        groups.setdefault(key, []).append(run["curve"]["gradient"][-1])
    return [
        {"law": law, "distance": distance, "loss": loss, **spread(values)}
        for (law, distance, loss), values in groups.items()
    ]
