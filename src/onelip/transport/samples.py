"""Sample sets as transport sees them: one float64 row a sample on the CPU, and weights that sum to one."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from onelip.errors import ArgumentError

Array = Tensor | np.ndarray

# Sums of float32 weights miss one by about this much; anything further off is a mistake of the caller.
_MASS_TOLERANCE = 1e-6


def as_points(name: str, samples: Array) -> Float[Tensor, "n d"]:
    """Samples of any shape [n, …], tensor or array, flattened to float64 rows; [n] is n points on a line.

    Raises ArgumentError, under the argument's `name`, for an empty set and for NaN or infinity.

    >>> as_points("x", np.zeros((3, 2, 2))).shape, as_points("x", torch.arange(5)).shape
    (torch.Size([3, 4]), torch.Size([5, 1]))
    """
    points = _float64(samples)
    if points.ndim == 0 or points.numel() == 0:
        raise ArgumentError(
            name, "at least one sample along the first axis", f"shape {tuple(points.shape)}", "draw samples"
        )
    _require_finite(name, points)
    return points.reshape(len(points), -1)


def as_pair(x: Array, y: Array) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    """Two sample sets of one space; raises ArgumentError where their dimensions differ."""
    points_x, points_y = as_points("x", x), as_points("y", y)
    if points_x.shape[1] != points_y.shape[1]:
        raise ArgumentError(
            "y",
            f"of the dimension of x, {points_x.shape[1]} numbers a sample",
            f"{points_y.shape[1]}",
            "give both sample sets the same shape behind the first axis",
        )
    return points_x, points_y


def as_weights(name: str, weights: Array | None, size: int) -> Float[Tensor, "n"]:
    """Weights that sum to one; None means 1/n each.

    Raises ArgumentError for another number of weights, a negative one, or a sum other than one.
    """
    if weights is None:
        return torch.full((size,), 1 / size, dtype=torch.float64)
    masses = _float64(weights)
    if masses.shape != (size,):
        raise ArgumentError(
            name,
            f"one weight for each of {size} samples",
            f"shape {tuple(masses.shape)}",
            "match the samples",
        )
    return as_probabilities(name, masses)


def as_probabilities(name: str, masses: Array) -> Float[Tensor, "*shape"]:
    """Finite masses ≥ 0 that sum to one up to float32's rounding, normalised in float64."""
    masses = _float64(masses)
    _require_finite(name, masses)
    total = masses.sum()
    if masses.numel() == 0 or masses.min() < 0 or abs(total - 1) > _MASS_TOLERANCE:
        received = f"{masses.numel()} masses, sum {total:.7g}"
        if masses.numel() > 0:
            received += f", smallest {masses.min():.3g}"
        raise ArgumentError(name, "non-negative and of sum one", received, "divide the masses by their sum")
    return masses / total


def distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """‖x_i − y_j‖₂ from the differences: cdist's default goes through squares and loses half the digits."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def require_positive(name: str, value: float | int) -> None:
    """Raises ArgumentError unless value > 0."""
    if not value > 0:
        raise ArgumentError(name, "positive", value, "give a larger one")


def _float64(values: Array) -> Tensor:
    if values.is_complex() if isinstance(values, Tensor) else np.iscomplexobj(values):
        remedy = "give real and imaginary parts as columns"
        raise ArgumentError("values", "real numbers", "complex ones", remedy)
    if isinstance(values, Tensor):
        return values.detach().to("cpu", torch.float64)
    return torch.from_numpy(np.array(values, dtype=np.float64))  # a copy: torch warns of read-only memory


def _require_finite(name: str, values: Tensor) -> None:
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise ArgumentError(
            name,
            "finite",
            f"{bad} NaN or infinite of {values.numel()} numbers",
            "remove the samples that hold them",
        )
