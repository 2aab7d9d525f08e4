"""The state of a training run: two networks and their optimizers, built from a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from onelip.constraint.activation import MaxMin
from onelip.constraint.apply import constrain
from onelip.errors import ArgumentError
from onelip.gan.config import TrainConfig
from onelip.gan.networks import ImageGenerator, build_critic, build_generator, leaky
from onelip.gan.random import Stream, derived_seed

SPECTRAL_KINDS = {"sn": "spectral-reshaped", "sn-operator": "spectral"}


@dataclass(frozen=True, eq=False)
class Players:
    """Everything that a step changes."""

    generator: nn.Module
    critic: nn.Module
    generator_optimizer: torch.optim.Optimizer
    critic_optimizer: torch.optim.Optimizer

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in vars(self).items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in vars(self).items():
            part.load_state_dict(state[name])
        for optimizer in (self.generator_optimizer, self.critic_optimizer):
            _lay_out(optimizer)


def build_players(config: TrainConfig, sample_shape: tuple[int, ...]) -> Players:
    """Both networks with initial weights that follow from the seed alone, on the run's device."""
    device = run_device(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, 0, Stream.INITIALIZATION))
        generator = build_generator(config.latent, config.width, sample_shape).to(device)
        critic = _critic(config, sample_shape, device)
    _require_statistics(config.batch, generator)
    return Players(
        generator,
        critic,
        _optimizer(config, generator, config.generator_lr),
        _optimizer(config, critic, config.critic_lr),
    )


def _require_statistics(batch: int, generator: nn.Module) -> None:
    """The first layer that normalizes a batch has a value a sample for each pixel of the coarsest grid."""
    if batch == 1 and isinstance(generator, ImageGenerator) and generator.coarse[1:] == (1, 1):
        requirement = "2 or more for pictures this small, whose batch is normalized"
        raise ArgumentError("batch", requirement, batch, "pass --batch 64")


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Averages of gradients in their parameters' layout: torch's fused Adam pairs numbers by their place."""
    for parameter, averages in optimizer.state.items():
        for name, value in averages.items():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                averages[name] = torch.empty_like(parameter).copy_(value)


def plain_critic(config: TrainConfig, shape: tuple[int, ...], critic: nn.Module) -> nn.Module:
    """A copy on the CPU without constraints, of the weights that the critic applies in its present mode."""
    plain = _unconstrained(config, shape)
    for name, layer in plain.named_modules():
        for parameter, value in layer.named_parameters(recurse=False):
            value.data.copy_(getattr(critic.get_submodule(name), parameter))
    return plain


def _unconstrained(config: TrainConfig, shape: tuple[int, ...]) -> nn.Module:
    return build_critic(config.width, shape, MaxMin if config.method == "orthogonal" else leaky)


def _critic(config: TrainConfig, shape: tuple[int, ...], device: torch.device) -> nn.Module:
    critic = _unconstrained(config, shape).to(device)
    if config.method == "orthogonal":
        return constrain(critic, "orthogonal", input_shape=shape, target=config.target)
    if config.method not in SPECTRAL_KINDS:
        return critic
    return constrain(
        critic,
        SPECTRAL_KINDS[config.method],
        input_shape=shape,
        target=config.target,
        tolerance=config.tolerance,
        iterations=config.power_iterations,
    )


def run_device(config: TrainConfig) -> torch.device:
    return available_device(config.device)


def available_device(name: str) -> torch.device:
    """The device of that name; auto: a GPU where there is one. Raises ArgumentError for one that is not."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    there = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    there += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if name not in there:
        raise ArgumentError("device", f"auto or one of {', '.join(there)} here", name, "leave it at auto")
    return torch.device(name)


def _optimizer(config: TrainConfig, module: nn.Module, lr: float | None) -> torch.optim.Optimizer:
    assert lr is not None, "the configuration is resolved before players are built"
    assert config.beta1 is not None
    assert config.beta2 is not None
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(module.parameters(), lr=lr, alpha=config.beta2)
    return torch.optim.Adam(module.parameters(), lr=lr, betas=(config.beta1, config.beta2), fused=True)
