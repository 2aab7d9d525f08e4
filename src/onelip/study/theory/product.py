"""How loose is the product of the layers' norms, the bound that spectral normalization relies on?

    witnessed ratio ≤ Lip(f) ≤ certificate ≤ product of norms

for networks of growing depth, as initialised and trained. The product is that of Szegedy et al.,
"Intriguing properties of neural networks", ICLR 2014, §4.3; the certificate carries ellipsoids through the
layers where these help; the witness is a pair of inputs, found by ascent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from onelip.certificate.certify import Certificate, certify
from onelip.certificate.effects import times
from onelip.study.theory.critics import (
    Fit,
    Tick,
    batches,
    build_by_recipe,
    digits,
    plain_float64,
    spread,
    training,
)


class Family(NamedTuple):
    """A recipe, its width, and by which loss it is trained; None leaves it as initialised."""

    recipe: str
    width: int
    loss: str | None


FAMILIES: dict[str, Family] = {
    "ReLU, random": Family("unconstrained", 64, None),
    "ReLU, trained": Family("unconstrained", 64, "minimax"),
    "ReLU, 4 × wider, random": Family("unconstrained", 256, None),
    "tanh, random": Family("unconstrained, tanh", 64, None),
    "tanh, trained": Family("unconstrained, tanh", 64, "minimax"),
    "spectral + ReLU, trained": Family("spectral + ReLU", 64, "wasserstein"),
    "spectral + MaxMin, trained": Family("spectral + MaxMin", 64, "wasserstein"),
    "orthogonal + MaxMin, trained": Family("orthogonal + MaxMin", 64, "wasserstein"),
}
FIT = Fit(steps=150)


@dataclass(frozen=True)
class ProductConfig:
    """MLPs on digits, threes against eights, pooled to `side`² pixels; depth counts hidden layers."""

    depths: tuple[int, ...] = (1, 2, 4, 8)
    families: tuple[str, ...] = tuple(FAMILIES)
    side: int = 14
    images: int = 1024
    fit: Fit = FIT
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    @property
    def units(self) -> int:
        return len(self.depths) * len(self.families) * len(self.seeds)


def measure(config: ProductConfig, data_dir: str | None, tick: Tick) -> dict[str, Any]:
    """Witness, certificate and product of each network, and their ratios over the seeds."""
    networks = []
    for name in config.families:
        for depth in config.depths:
            for seed in config.seeds:
                networks.append(
                    {"family": name, "depth": depth, "seed": seed}
                    | _network(name, depth, seed, config, data_dir)
                )
                tick()
    return {"networks": networks, "summary": _summary(networks, config)}


def _network(name: str, depth: int, seed: int, config: ProductConfig, data_dir: str | None) -> dict[str, Any]:
    family = FAMILIES[name]
    critic = build_by_recipe(family.recipe, [config.side**2, *[family.width] * depth, 1], seed)
    if family.loss is not None:
        real, fake = (_pooled(digits(data_dir, config.images, seed, label), config.side) for label in (3, 8))
        for _ in training(critic, family.loss, batches(real, fake, config.fit.batch), config.fit, seed):
            pass
    proved = certify(plain_float64(critic), (config.side**2,), seed=seed)
    return {
        "witness": proved.lower,
        "certificate": proved.upper,
        "product": product_of_norms(proved),
        "method": proved.method,
    }


def product_of_norms(proved: Certificate) -> float:
    """Π ‖A_l‖₂, from above, over the layers in series, activations included, each by its proved bound."""
    return reduce(times, (layer.norm.upper for layer in proved.layers if layer.norm is not None), 1.0)


def _pooled(images: Tensor, side: int) -> Tensor:
    return F.adaptive_avg_pool2d(images, side).flatten(1)


def _summary(networks: list[dict[str, Any]], config: ProductConfig) -> list[dict[str, Any]]:
    rows = []
    for name in config.families:
        for depth in config.depths:
            group = [n for n in networks if (n["family"], n["depth"]) == (name, depth)]
            rows.append(
                {
                    "family": name,
                    "depth": depth,
                    **{key: spread([n[key] for n in group]) for key in ("witness", "certificate", "product")},
                    "product_over_certificate": spread([n["product"] / n["certificate"] for n in group]),
                    "product_over_witness": spread([n["product"] / n["witness"] for n in group]),
                    "certificate_over_witness": spread([n["certificate"] / n["witness"] for n in group]),
                }
            )
    return rows
