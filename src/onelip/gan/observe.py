"""What is measured on a critic while it trains: input gradients, layers' norms, and what else is brought."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onelip.constraint.penalty import input_gradient, interpolate
from onelip.data.sets import DataSet
from onelip.gan.config import TrainConfig
from onelip.gan.players import Players
from onelip.gan.random import Stream, generator_for
from onelip.gan.step import noise
from onelip.linear.layers import LINEAR_LAYERS, evaluating, input_shapes
from onelip.linear.norm import operator_norm, reshaped_norm

Observer = Callable[[Players, int], dict[str, Any]]
"""Measurements that are due after a step, as nested plain numbers; {} where none is. Changes no state."""

MakeObserver = Callable[[TrainConfig, DataSet], Observer]
"""What measures beside the loop in a run of this configuration, trained on these data."""


def no_observer(config: TrainConfig, data: DataSet) -> Observer:
    """An observer that never measures."""
    return lambda players, step: {}


def input_gradient_norms(critic: nn.Module, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
    """‖∇ₓf(x)‖₂ of each sample, over all its axes."""
    gradient = input_gradient(critic, x, differentiable=False)
    return torch.linalg.vector_norm(gradient.flatten(1), dim=1)


def observe_gradients(
    players: Players, data: DataSet, config: TrainConfig, step: int
) -> dict[str, dict[str, float]]:
    """Mean and largest ‖∇ₓf‖ on a fresh batch of real, generated and interpolated points."""
    random = generator_for(config.seed, step, Stream.OBSERVATION)
    device = next(players.critic.parameters()).device
    real = data.batch(random, config.batch).to(device)
    with torch.no_grad(), evaluating(players.generator):
        generated = players.generator(noise(config, random, device))
    between = interpolate(generated, real, generator=random)
    points = {"real": real, "generated": generated, "interpolated": between}
    norms = {name: input_gradient_norms(players.critic, x) for name, x in points.items()}
    return {name: {"mean": float(n.mean()), "max": float(n.max())} for name, n in norms.items()}


def observe_layers(critic: nn.Module, sample_shape: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    """Of each linear layer: the reshaped norm, and the interval of the operator norm.

    The weight is that of eval mode, where the estimate of a spectral constraint has converged: how far one
    lags in training shows in the certificate of the weights in use, not here.
    """
    measured = {}
    shapes = input_shapes(critic, sample_shape)
    for name, layer in critic.named_modules():
        if isinstance(layer, LINEAR_LAYERS):
            operator = operator_norm(layer, shapes[name])
            reshaped = reshaped_norm(layer)
            measured[name] = {
                "reshaped": reshaped.upper,
                "operator": {"lower": operator.lower, "upper": operator.upper},
            }
    return measured
