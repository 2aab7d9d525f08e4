"""Samples of a generator: from fixed noise, as a grid of pictures, from a run folder alone."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from onelip.data.sets import to_pixels
from onelip.errors import ArgumentError, CheckpointError
from onelip.files import write_atomically
from onelip.gan.checkpoint import load_newest
from onelip.gan.random import Stream, generator_for
from onelip.gan.run import RunFolder
from onelip.gan.weights import finished_generator, generator_of
from onelip.linear.layers import evaluating

GRID_COUNT = 64
PLANE_PIXELS = 256
_CHUNK = 256  # samples in flight, so that a large count needs little memory


def generate(generator: nn.Module, latent: int, count: int, seed: int) -> Float[Tensor, "count *shape"]:
    """`count` samples on the CPU, from noise that follows from the seed alone; no state is changed."""
    device = next(generator.parameters()).device
    random = generator_for(seed, 0, Stream.SAMPLING)
    z = torch.randn(count, latent, generator=random)
    with torch.no_grad(), evaluating(generator):
        return torch.cat([generator(chunk.to(device)).cpu() for chunk in z.split(_CHUNK)])


def require_room(argument: str, count: int, latent: int, shape: tuple[int, ...]) -> None:
    """Raise ArgumentError for more samples than this machine's memory holds, their noise included."""
    a_sample = 4 * (latent + 2 * math.prod(shape))  # bytes; twice, for chunks are put together
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // a_sample
    if count > most:
        requirement = f"at most {most}, what memory holds"
        raise ArgumentError(argument, requirement, count, "draw fewer at a time, with another --seed each")


def grid(samples: Float[Tensor, "batch *shape"]) -> Image.Image:
    """Images side by side, nearly square; points in the plane as a picture of their density."""
    if samples.dim() == 2:
        return density(samples.numpy())
    pixels = to_pixels(samples).permute(0, 2, 3, 1).numpy()
    n, h, w, c = pixels.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    padded = np.zeros((rows * columns, h, w, c), np.uint8)
    padded[:n] = pixels
    sheet = padded.reshape(rows, columns, h, w, c).swapaxes(1, 2).reshape(rows * h, columns * w, c)
    return Image.fromarray(sheet.squeeze(-1) if c == 1 else sheet)


def density(points: Float[np.ndarray, "n 2"]) -> Image.Image:
    """Points in the plane on [-r, r]², dark where they are many, the second axis upwards.

    r is the smallest whole number beyond 99 % of the coordinates. Points that are not finite are left out.
    """
    points = points[np.isfinite(points).all(1)]
    reach = np.quantile(np.abs(points), 0.99) if len(points) else 0.0
    extent = float(np.floor(reach)) + 1  # a float: integers of its size need not be NumPy's
    edges = np.linspace(-extent, extent, PLANE_PIXELS + 1)
    counts = np.histogram2d(points[:, 1], points[:, 0], bins=(edges, edges))[0][::-1]
    shade = (
        1 - np.minimum(1, counts / max(1.0, np.quantile(counts[counts > 0], 0.9)))
        if counts.any()
        else 1 - counts
    )
    return Image.fromarray((shade * 255).astype(np.uint8))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def write_grid(path: Path, samples: Float[Tensor, "batch *shape"]) -> None:
    """Write the samples as one PNG, atomically."""
    write_atomically(path, png(grid(samples)))


def write_samples(
    run: RunFolder,
    count: int,
    seed: int,
    out: Path,
    kind: Literal["png", "npz"],
    say: Callable[[str], object] = lambda message: None,
) -> int:
    """Draw from the newest state of a run and write a grid or the array `samples`; returns its step.

    `say` receives what the user should know: that a newer state is damaged.
    """
    config = run.config()
    step, generator = newest_generator(run, say)
    require_room("count", count, config.latent, run.sample_shape())
    samples = generate(generator, config.latent, count, seed)
    if kind == "npz":
        buffer = io.BytesIO()
        np.savez_compressed(buffer, samples=samples.numpy())
        write_atomically(out, buffer.getvalue())
    else:
        write_grid(out, samples)
    return step


def newest_generator(run: RunFolder, say: Callable[[str], object]) -> tuple[int, nn.Module]:
    """(step, generator): the final one of a finished run, else that of the newest whole checkpoint."""
    config, result = run.config(), run.result()
    if result is not None and result.status == "finished":
        return config.steps, finished_generator(run)
    step, state, warnings = load_newest(run.checkpoints_path, torch.device("cpu"))
    for warning in warnings:
        say(f"{warning}; sampling step {step}")
    if not step:
        way_out = f"train it for {config.checkpoint_every} steps"
        reason = way_out if result is None else f"it {result.status} at step {result.step}"
        raise CheckpointError(f"{run.path} holds no checkpoint: {reason}")
    return step, generator_of(run, state["generator"])
