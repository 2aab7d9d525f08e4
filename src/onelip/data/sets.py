"""What a data set is to the training loop: a batch is a pure function of a generator's state.

Sampling is with replacement and keeps no position, so a run that restores (or derives from its
step) the state of the generator sees the batches that it would have seen without interruption.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor


@dataclass(frozen=True, eq=False)
class DataSet(ABC):
    """A distribution that batches are drawn from."""

    name: str

    @property
    @abstractmethod
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample: (channels, height, width) or (2,)."""

    @property
    @abstractmethod
    def count(self) -> int | None:
        """How many different samples there are; None where each batch is drawn afresh from a density."""

    @abstractmethod
    def batch(self, generator: torch.Generator, size: int) -> Float[Tensor, "size *sample_shape"]:
        """`size` independent samples, float32, on the data's device; images in [−1, 1]."""


@dataclass(frozen=True, eq=False)
class ImageSet(DataSet):
    """Pictures kept in memory as bytes; a batch gathers random ones.

    With stack = k a sample is k of the pictures, drawn independently, one above the other along the
    channel axis. Sample i of the N^k is written in base N: its digits are the pictures' numbers.

    pixels: [N, C, H, W]. labels: the class of each picture, where known.

    >>> pair = ImageSet("pair", torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1), stack=2)
    >>> pair.sample_shape, pair.count
    ((2, 1, 1), 4)
    >>> pair.images(torch.tensor([2])).flatten().tolist()
    [1.0, -1.0]
    """

    pixels: UInt8[Tensor, "N C H W"]
    labels: Int64[Tensor, "N"] | None = None
    stack: int = 1

    @property
    def sample_shape(self) -> tuple[int, ...]:
        channels, height, width = self.pixels.shape[1:]
        return (self.stack * channels, height, width)

    @property
    def count(self) -> int:
        return len(self.pixels) ** self.stack

    def batch(self, generator: torch.Generator, size: int) -> Float[Tensor, "size *sample_shape"]:
        return self.images(self.draw(generator, size))

    def draw(self, generator: torch.Generator, size: int) -> Int64[Tensor, "size"]:
        """Indices of `size` samples: `batch` is `images` of these, `modes` says what is on them."""
        return torch.randint(self.count, (size,), generator=generator, device=generator.device)

    def images(self, indices: Int64[Tensor, "size"]) -> Float[Tensor, "size *sample_shape"]:
        """The samples of these indices, in [−1, 1]."""
        # index_select and not [...]: it is faster, and a batch is drawn every step.
        chosen = self.pixels.index_select(0, self._pictures(indices).flatten())
        return from_pixels(chosen.view(len(indices), *self.sample_shape))

    def modes(self, indices: Int64[Tensor, "size"]) -> Int64[Tensor, "size"]:
        """The class of each sample; of stacked digits a, b, c the number 100a + 10b + c."""
        assert self.labels is not None, f"{self.name} has no labels"
        return (self.labels[self._pictures(indices)] * self._powers(10)).sum(1)

    def _pictures(self, indices: Tensor) -> Tensor:
        base = len(self.pixels)
        return indices.to(self.pixels.device)[:, None] // self._powers(base) % base

    def _powers(self, base: int) -> Tensor:
        return base ** torch.arange(self.stack - 1, -1, -1, device=self.pixels.device)


@dataclass(frozen=True, eq=False)
class PlanarMixture(DataSet):
    """Equally likely round Gaussians in the plane, drawn afresh for every batch.

    centres: [modes, 2]. sigma: standard deviation along each axis.

    >>> PlanarMixture("points", torch.tensor([[3.0, 4.0]]), 0.0).batch(torch.Generator(), 2)
    tensor([[3., 4.],
            [3., 4.]])
    """

    centres: Float[Tensor, "modes 2"]
    sigma: float

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (2,)

    @property
    def count(self) -> None:
        return None

    def batch(self, generator: torch.Generator, size: int) -> Float[Tensor, "size 2"]:
        device = generator.device
        modes = torch.randint(len(self.centres), (size,), generator=generator, device=device)
        noise = torch.randn(size, 2, generator=generator, device=device)
        return self.centres.to(device)[modes] + self.sigma * noise


def from_pixels(pixels: UInt8[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Bytes 0 … 255 as float32 −1 … 1, the range of a tanh."""
    return (pixels.float() / 127.5).sub_(1)


def to_pixels(images: Float[Tensor, "..."]) -> UInt8[Tensor, "..."]:
    """The nearest byte of each value; what lies outside [−1, 1] is cut to it.

    >>> to_pixels(from_pixels(torch.tensor([0, 7, 255], dtype=torch.uint8))).tolist()
    [0, 7, 255]
    """
    return ((images.detach() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
