"""Gradient penalties: pure functions of a critic and points, differentiable twice.

The norm is taken per sample, over all axes but the batch: a critic's gradient at an image is one vector.

Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, eq. 3 (two-sided, between samples).
Petzka, Fischer, Lukovnikov, "On the Regularization of Wasserstein GANs", ICLR 2018, eq. 8 (one-sided).
Mescheder, Geiger, Nowozin, "Which Training Methods for GANs do actually Converge?", ICML 2018, eq. 9 and 10
(zero-centred, on real points: R1; on generated points: R2).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.errors import ArgumentError

Critic = Callable[[Tensor], Tensor]


def gradient_penalty(
    critic: Critic,
    real: Float[Tensor, "batch *sample"],
    fake: Float[Tensor, "batch *sample"],
    *,
    target: float = 1.0,
    one_sided: bool = False,
    mix: Float[Tensor, "batch"] | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """Mean of (‖∇f(x̂)‖ − target)² at x̂ = mix·real + (1 − mix)·fake; multiply by λ (10 in the paper).

    one_sided: count only norms above the target (WGAN-LP). mix: a coefficient per sample; where it is not
    given, it is drawn uniformly from [0, 1) with `generator`, or with torch's global one.

    >>> x, y = torch.zeros(8, 2), torch.ones(8, 2)
    >>> gradient_penalty(lambda x: 3 * x[:, 0], x, y)
    tensor(4.)
    """
    x = interpolate(real, fake, mix=mix, generator=generator)
    # vector_norm has the derivative 0 at 0, where that of a square root is NaN.
    norm = torch.linalg.vector_norm(input_gradient(critic, x).flatten(1), dim=1)
    excess = norm - target
    return (excess.clamp_min(0) if one_sided else excess).square().mean()


def zero_centred_penalty(critic: Critic, x: Float[Tensor, "batch *sample"]) -> Float[Tensor, ""]:
    """Mean of ‖∇f(x)‖²; multiply by γ/2. R1 where x is real, R2 where it is generated.

    >>> zero_centred_penalty(lambda x: 3 * x[:, 0], torch.zeros(8, 2))
    tensor(9.)
    """
    return input_gradient(critic, x).flatten(1).square().sum(1).mean()


def interpolate(
    real: Float[Tensor, "batch *sample"],
    fake: Float[Tensor, "batch *sample"],
    *,
    mix: Float[Tensor, "batch"] | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch *sample"]:
    """One random point on the segment between each pair, detached from both."""
    if mix is None:
        device = real.device if generator is None else generator.device
        mix = torch.rand(len(real), generator=generator, device=device, dtype=real.dtype).to(real.device)
    mix = mix.reshape(-1, *[1] * (real.dim() - 1))
    return torch.lerp(fake.detach(), real.detach(), mix)


def input_gradient(
    critic: Critic, x: Float[Tensor, "batch *sample"], *, differentiable: bool = True
) -> Float[Tensor, "batch *sample"]:
    """∇ₓf at each sample. differentiable: itself, with respect to the critic's parameters.

    Samples must not influence one another (no batch norm in the critic), or the gradient is not theirs.
    Raises ArgumentError unless the critic gives one value a sample.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        value = critic(x)
        if value.numel() != len(x):
            raise ArgumentError(
                "critic",
                f"a function with one value a sample ({len(x)})",
                tuple(value.shape),
                "reduce its output",
            )
        (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=differentiable)
    return gradient
