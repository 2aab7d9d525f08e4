"""Weight clipping: the projection of every parameter onto [−c, c] after the optimizer's step.

Arjovsky, Chintala, Bottou, "Wasserstein GAN", ICML 2017, algorithm 1, line 7: w ← clip(w, −c, c).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from onelip.errors import ArgumentError


@torch.no_grad()
def clip_weights(module: nn.Module, c: float) -> nn.Module:
    """Clamp every parameter of `module`, biases and affine scales too as in the paper, to [−c, c] in place.

    Call it after each optimizer step; returns `module`. A parameter that holds NaN keeps it, so that a
    check of the loss finds it. Raises ArgumentError unless c is positive and finite.

    >>> critic = clip_weights(nn.Linear(4, 1), c=0.01)
    >>> bool(critic.weight.abs().max() <= 0.01)
    True
    """
    if not (math.isfinite(c) and c > 0):
        raise ArgumentError("c", "a positive number", c, "the paper clips at c=0.01")
    for parameter in module.parameters():
        parameter.clamp_(-c, c)
    return module
