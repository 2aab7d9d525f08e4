"""One generator step of GAN training: the critic's updates, then the generator's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onelip.constraint.clip import clip_weights
from onelip.constraint.penalty import gradient_penalty, zero_centred_penalty
from onelip.data.sets import DataSet
from onelip.gan.config import TrainConfig
from onelip.gan.losses import LOSS_FUNCTIONS
from onelip.gan.players import Players
from onelip.gan.random import Stream, generator_for


def train_step(players: Players, data: DataSet, config: TrainConfig, step: int) -> dict[str, Tensor]:
    """`config.critic_steps` critic steps and one generator step, in place; what happened, on the device.

    The critic's entries are from before its last update, the generator's from after it.
    """
    random = generator_for(config.seed, step, Stream.TRAINING)
    players.generator.train()
    players.critic.train()
    critic = {}
    for _ in range(config.critic_steps):
        critic = critic_step(players, data.batch(random, config.batch), config, random)
    return critic | generator_step(players, data, config, random)


def critic_step(
    players: Players, real: Tensor, config: TrainConfig, random: torch.Generator
) -> dict[str, Tensor]:
    """One critic update on a batch of real samples and as many generated ones."""
    device = next(players.critic.parameters()).device
    real = real.to(device)
    with torch.no_grad():
        fake = players.generator(noise(config, random, device))
    # One forward for both: the critic treats every sample alone, so nothing leaks between them.
    real_scores, fake_scores = players.critic(torch.cat([real, fake])).chunk(2)
    loss = LOSS_FUNCTIONS[config.loss].critic(real_scores, fake_scores)
    total = loss
    if config.method == "gp":
        total = loss + config.penalty * gradient_penalty(players.critic, real, fake, generator=random)
    if config.method == "r1r2":
        r1, r2 = (zero_centred_penalty(players.critic, x) for x in (real, fake))
        total = loss + config.gamma / 2 * (r1 + r2)
    gradient_norm = update(players.critic, players.critic_optimizer, total)
    if config.method == "clip":
        clip_weights(players.critic, config.clip)
    return {
        "critic_loss": loss.detach(),
        "critic_loss_with_penalty": total.detach(),
        "w1_estimate": (real_scores.mean() - fake_scores.mean()).detach(),
        "critic_gradient_norm": gradient_norm,
    }


def generator_step(
    players: Players, data: DataSet, config: TrainConfig, random: torch.Generator
) -> dict[str, Tensor]:
    """One generator update; the critic's weights stay as they are."""
    device = next(players.generator.parameters()).device
    loss_function = LOSS_FUNCTIONS[config.loss]
    scores = players.critic(players.generator(noise(config, random, device)))
    if loss_function.relative:
        scores = scores - players.critic(data.batch(random, config.batch).to(device))
    loss = loss_function.generator(scores)
    gradient_norm = update(players.generator, players.generator_optimizer, loss)
    return {"generator_loss": loss.detach(), "generator_gradient_norm": gradient_norm}


def update(module: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    """One optimizer step on this module's parameters alone; the norm of their gradient."""
    parameters = list(module.parameters())
    # A parameter that a penalty does not reach (the last bias) has a zero gradient, not none.
    gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        # In the parameter's layout: torch's fused Adam on the CPU pairs numbers by their place in memory.
        same = gradient.stride() == parameter.stride()
        parameter.grad = gradient if same else torch.empty_like(parameter).copy_(gradient)
    optimizer.step()
    return torch.nn.utils.get_total_norm(gradients)


def noise(config: TrainConfig, random: torch.Generator, device: torch.device) -> Tensor:
    """A batch of the generator's Gaussian input."""
    return torch.randn(config.batch, config.latent, generator=random).to(device)
