"""The plain PyTorch loop that everyone writes: the yardstick of training throughput.

The study's networks without their faster forms, torch's own spectral norm, Adam as it comes, a forward for
the real batch and one for the generated, `backward()` into whatever requires a gradient, losses read every
step. Images are normalised once and indexed in memory: no time is lost to a data loader.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from onelip.gan.config import TrainConfig
from onelip.gan.networks import ImageGenerator, build_critic


def plain_networks(width: int, latent: int, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """Generator and critic as a user would write them."""
    ours = ImageGenerator(latent, width, shape)
    *layers, last, tanh = ours.layers
    assert isinstance(last, nn.ConvTranspose2d)
    plain = nn.ConvTranspose2d(last.in_channels, last.out_channels, 4, 2, 1)
    generator = nn.Sequential(ours.project, nn.Unflatten(1, ours.coarse), *layers, plain, tanh)
    critic = build_critic(width, shape)
    critic.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    return generator, critic


def plain_step(config: TrainConfig, images: Tensor) -> Callable[[], None]:
    """One generator step with `config.critic_steps` critic steps before it, on images [N, C, H, W]."""
    generator, critic = plain_networks(config.width, config.latent, tuple(images.shape[1:]))
    if config.method == "sn":
        for layer in critic.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                parametrizations.spectral_norm(layer)
    betas = (config.beta1 or 0.0, config.beta2 or 0.9)
    optimizers = {
        player: torch.optim.Adam(player.parameters(), lr=lr or 1e-4, betas=betas)
        for player, lr in ((critic, config.critic_lr), (generator, config.generator_lr))
    }
    critic_optimizer, generator_optimizer = optimizers[critic], optimizers[generator]

    def step() -> None:
        for _ in range(config.critic_steps):
            real = images[torch.randint(len(images), (config.batch,))]
            critic_optimizer.zero_grad()
            fake = generator(torch.randn(config.batch, config.latent)).detach()
            critic_loss = critic(fake).mean() - critic(real).mean()
            critic_loss.backward()
            critic_optimizer.step()
            critic_loss.item()
        generator_optimizer.zero_grad()
        generator_loss = -critic(generator(torch.randn(config.batch, config.latent))).mean()
        generator_loss.backward()
        generator_optimizer.step()
        generator_loss.item()

    return step
