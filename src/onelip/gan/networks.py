"""The two players: a DCGAN pair for images of any size, an MLP pair for points in the plane.

Radford, Metz, Chintala, "Unsupervised Representation Learning with DCGANs", 2016, with `width` as
the one number that scales both. Critics carry no normalization layer: the constraint is the study's
subject, and batch statistics would tie the samples of a batch together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from onelip.errors import ArgumentError

HIDDEN_PER_WIDTH = 16  # units of an MLP's hidden layer for each unit of width
Activation = Callable[[], nn.Module]
leaky: Activation = partial(nn.LeakyReLU, 0.2)
COARSEST_SIDE = 8  # strided layers are added until the longer side is at most this


def levels(shape: tuple[int, ...]) -> int:
    """How often an image of `shape` is halved.

    >>> levels((1, 28, 28)), levels((3, 64, 48)), levels((1, 8, 8))
    (2, 3, 1)
    """
    depth = max(1, math.ceil(math.log2(max(shape[1:]) / COARSEST_SIDE)))
    if min(shape[1:]) < 2**depth:
        remedy = "use larger images" if max(shape[1:]) < 2**depth else "use less elongated images"
        raise ArgumentError("image size", f"at least {2**depth} on the shorter side", shape, remedy)
    return depth


class ToPixels(nn.ConvTranspose2d):
    """The last doubling layer, to few channels: kernel 4, stride 2, padding 1.

    On the CPU as a transposed convolution of stride 1 to four times the channels, whose values are then laid
    out as 2×2 pixels (Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient
    Sub-Pixel Convolutional Neural Network", CVPR 2016): the same map and as many products, in an order for
    which oneDNN has a fast kernel: its own for one channel takes as long as all the other layers together.
    """

    def __init__(self, into: int, out: int):
        super().__init__(into, out, 4, 2, 1)

    def forward(
        self, input: Float[Tensor, "batch c h w"], output_size: list[int] | None = None
    ) -> Float[Tensor, "batch out 2*h 2*w"]:
        if input.device.type != "cpu" or output_size is not None:
            return super().forward(input, output_size)
        assert self.bias is not None
        pixels = F.pixel_shuffle(F.conv_transpose2d(input, F.pixel_unshuffle(self.weight, 2)), 2)
        return pixels[:, :, 1:-1, 1:-1] + self.bias[:, None, None]


class ImageGenerator(nn.Module):
    """Gaussian noise to images in [-1, 1]: a linear layer, then transposed convolutions that double."""

    def __init__(self, latent: int, width: int, shape: tuple[int, ...]):
        super().__init__()
        depth = levels(shape)
        self.shape = shape
        self.coarse = (width * 2**depth, *(math.ceil(side / 2**depth) for side in shape[1:]))
        channels = [width * 2**i for i in range(depth, 0, -1)]
        doublings = [
            layer
            for into, out in pairwise(channels)
            for layer in (nn.ConvTranspose2d(into, out, 4, 2, 1), nn.BatchNorm2d(out), nn.ReLU())
        ]
        self.project = nn.Linear(latent, math.prod(self.coarse))
        self.layers = nn.Sequential(
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(),
            *doublings,
            ToPixels(channels[-1], shape[0]),
            nn.Tanh(),
        )

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch c h w"]:
        # Channels last: oneDNN's transposed convolutions are faster on it.
        coarse = self.project(z).unflatten(1, self.coarse).contiguous(memory_format=torch.channels_last)
        images = self.layers(coarse)
        # A side that is no multiple of 2^levels was rounded up; the surplus is cut off.
        return images[:, :, : self.shape[1], : self.shape[2]]


def image_critic(width: int, shape: tuple[int, ...], activation: Activation = leaky) -> nn.Sequential:
    """Strided convolutions that halve, one that keeps the size, and a linear score."""
    layers: list[nn.Module] = []
    into, sides = shape[0], shape[1:]
    for i in range(levels(shape)):
        layers += [nn.Conv2d(into, width * 2**i, 4, 2, 1), activation()]
        into, sides = width * 2**i, tuple(side // 2 for side in sides)
    layers += [nn.Conv2d(into, 2 * into, 3, 1, 1), activation(), nn.Flatten()]
    layers += [nn.Linear(2 * into * math.prod(sides), 1), nn.Flatten(0)]
    # All that passes follows the kernels' layout, and with few channels oneDNN is faster where they are last.
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def mlp(sizes: list[int], activation: Activation) -> nn.Sequential:
    """Linear layers of the given sizes with an activation between them."""
    layers: list[nn.Module] = []
    for into, out in pairwise(sizes):
        layers += [nn.Linear(into, out), activation()]
    return nn.Sequential(*layers[:-1])


def build_generator(latent: int, width: int, shape: tuple[int, ...]) -> nn.Module:
    """The generator for samples of `shape`: (channels, height, width), or (dimensions,) in the plane."""
    if len(shape) == 1:
        hidden = HIDDEN_PER_WIDTH * width
        return mlp([latent, hidden, hidden, shape[0]], nn.ReLU)
    return ImageGenerator(latent, width, shape)


def build_critic(width: int, shape: tuple[int, ...], activation: Activation = leaky) -> nn.Module:
    """The unconstrained critic for samples of `shape`, mapping [batch, *shape] to scores [batch]."""
    if len(shape) == 1:
        hidden = HIDDEN_PER_WIDTH * width
        return nn.Sequential(*mlp([shape[0], hidden, hidden, hidden, 1], activation), nn.Flatten(0))
    return image_critic(width, shape, activation)
