"""Mode coverage by the published protocols: a ring and a grid of Gaussians, stacked digits.

A. Srivastava, L. Valkov, C. Russell, M. Gutmann, C. Sutton, "VEEGAN: Reducing Mode Collapse in GANs using
Implicit Variational Learning", NeurIPS 2017, §4. Z. Lin, A. Khetan, G. Fanti, S. Oh, "PacGAN: The power of
two samples in generative adversarial networks", NeurIPS 2018, §4 and its code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from onelip.errors import ArgumentError
from onelip.metrics.classifier import DIGITS, DigitClassifier
from onelip.metrics.features import require_finite
from onelip.transport.divergence import histogram_divergences

PLANAR_SAMPLES = 2_500
STACKED_SAMPLES = 26_000
_REACH = 3  # standard deviations within which a point is of high quality
_CHUNK = 500


@dataclass(frozen=True)
class PlanarCoverage:
    """modes: captured, of `of`. share: of samples within 3σ of a mode; 98.9 % of the data themselves are."""

    protocol: str
    samples: int
    modes: int
    of: int
    share: float


@dataclass(frozen=True)
class StackedCoverage:
    """modes: captured, of `of`. kl: in nats, of generated modes from the uniform law."""

    protocol: str
    samples: int
    modes: int
    of: int
    kl: float


def planar_coverage(
    points: Float[Tensor, "..."], centres: Float[Tensor, "modes 2"], sigma: float
) -> PlanarCoverage:
    """A point is of high quality within 3σ of its nearest centre; a mode is captured by one such point.

    points: [n, 2]. Raises ArgumentError for no points, other shapes, NaN or infinity.

    >>> planar_coverage(torch.tensor([[0.0, 0.2], [5.0, 0.0]]), torch.tensor([[0.0, 0.0], [9.0, 0.0]]), 0.1)
    PlanarCoverage(protocol='VEEGAN, PacGAN (2,500 samples; here 2)', samples=2, modes=1, of=2, share=0.5)
    """
    _require_shape("points", points, (2,))
    require_finite("points", points)
    nearest = torch.cdist(points.double(), centres.double()).min(1)
    near = nearest.values < _REACH * sigma
    return PlanarCoverage(
        protocol=_protocol("VEEGAN, PacGAN", PLANAR_SAMPLES, len(points)),
        samples=len(points),
        modes=len(nearest.indices[near].unique()),
        of=len(centres),
        share=float(near.double().mean()),
    )


def stacked_coverage(modes: Shaped[Tensor, "..."]) -> StackedCoverage:
    """Of the modes 0 … 999 that samples were classified as: how many occur, and KL(theirs ‖ uniform).

    Uniform as in PacGAN's code, so that numbers stand beside the published ones. n samples of the uniform
    law itself have a KL of about 999/2n: .019 at 26,000. modes: [n], integers. Raises ArgumentError for
    another shape, for none, and for what is no mode.

    >>> stacked_coverage(torch.arange(1000)).kl
    0.0
    """
    _require_shape("modes", modes, ())
    total = DIGITS**3
    _require_modes(modes, total)
    counts = torch.bincount(modes, minlength=total).double()
    uniform = torch.full((total,), 1 / total, dtype=torch.float64)
    return StackedCoverage(
        protocol=_protocol("PacGAN, a classifier a channel", STACKED_SAMPLES, len(modes)),
        samples=len(modes),
        modes=int((counts > 0).sum()),
        of=total,
        kl=histogram_divergences(counts / len(modes), uniform).kl,
    )


def stacked_modes(images: Shaped[Tensor, "..."], classifier: DigitClassifier) -> Int64[Tensor, "n"]:
    """100a + 10b + c of the digits a, b, c that the classifier sees in the three channels, on the CPU.

    images: [n, 3, 28, 28] in [−1, 1], of any floating-point dtype. Raises ArgumentError for no images, other
    shapes, integers, NaN or infinity.
    """
    _require_shape("images", images, (3, 28, 28))
    if not images.is_floating_point():
        raise ArgumentError("images", "numbers in [−1, 1]", images.dtype, "take onelip.data.from_pixels")
    require_finite("images", images)
    weight = next(classifier.parameters())
    powers = DIGITS ** torch.arange(2, -1, -1)
    with torch.no_grad():
        digits = [
            classifier(chunk.flatten(0, 1).unsqueeze(1).to(weight)).argmax(1).cpu()
            for chunk in images.split(_CHUNK)
        ]
    return (torch.cat(digits).reshape(-1, 3) * powers).sum(1)


def _require_modes(modes: Shaped[Tensor, "n"], total: int) -> None:
    whole = not (modes.is_floating_point() or modes.is_complex() or modes.dtype == torch.bool)
    strangers = int(((modes < 0) | (modes >= total)).sum()) if whole else len(modes)
    if strangers:
        requirement = f"integers from 0 to {total - 1}"
        received = f"{strangers} of {len(modes)} that are not ({modes.dtype})"
        raise ArgumentError("modes", requirement, received, "take those of stacked_modes")


def _require_shape(name: str, samples: Tensor, shape: tuple[int, ...]) -> None:
    if samples.numel() == 0 or tuple(samples.shape[1:]) != shape:
        form = ", ".join(["n", *map(str, shape)])
        received = f"shape {list(samples.shape)}"
        raise ArgumentError(name, f"[{form}], one sample at least", received, "draw such samples")


def _protocol(name: str, published: int, used: int) -> str:
    return f"{name} ({published:,} samples{'' if used == published else f'; here {used:,}'})"
