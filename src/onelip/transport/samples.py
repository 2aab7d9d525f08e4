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
    points = _float64(as_rows(name, samples))
    _require_finite(name, points)
    return points


def as_rows(name: str, samples: Array) -> Float[Tensor, "n d"]:
    """As `as_points`, but a tensor keeps its dtype, unless of integers, its device and its derivative."""
    rows = as_real(samples)
    if rows.ndim == 0 or rows.numel() == 0:
        raise ArgumentError(
            name, "at least one sample along the first axis", f"shape {tuple(rows.shape)}", "draw samples"
        )
    return rows.reshape(len(rows), -1)


def as_values(name: str, values: Array, size: int) -> Float[Tensor, "n"]:
    """One number a sample, [n] or [n, 1] as critics return them; raises ArgumentError for another shape."""
    numbers = as_real(values)
    if numbers.shape not in {(size,), (size, 1)}:
        requirement = f"one number for each of {size} samples, ({size},) or ({size}, 1)"
        received = f"shape {tuple(numbers.shape)}"
        raise ArgumentError(name, requirement, received, "match the samples")
    return numbers.reshape(-1)


def as_pair(x: Array, y: Array) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    """Two sample sets of one space; raises ArgumentError where their dimensions differ."""
    points_x, points_y = as_points("x", x), as_points("y", y)
    require_dimension("y", points_y, "x", points_x)
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


def distances(x: Float[Tensor, "*batch n d"], y: Float[Tensor, "*batch m d"]) -> Float[Tensor, "*batch n m"]:
    """‖x_i − y_j‖₂ from the differences: cdist's default goes through squares and loses half the digits."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def common_scale(*sets: Float[Tensor, "_ _"]) -> Float[Tensor, ""]:
    """A power of two near the largest number: divided by it, squares do not overflow, nor all underflow."""
    return power_of_two(torch.stack([rows.abs().amax() for rows in sets]).amax())


def power_of_two(sizes: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The largest power of two in each size, ½ for zero. Dividing by it rounds nothing.

    >>> power_of_two(torch.tensor([0.0, 1.0, 3.0, 5e-324], dtype=torch.float64))
    tensor([ 5.0000e-01,  1.0000e+00,  2.0000e+00, 4.9407e-324], dtype=torch.float64)
    """
    return torch.ldexp(torch.ones_like(sizes), torch.frexp(sizes).exponent - 1)


def require_dimension(name: str, rows: Float[Tensor, "m d"], other: str, like: Float[Tensor, "n e"]) -> None:
    """Raises ArgumentError unless both sets have as many numbers a sample."""
    if rows.shape[1] != like.shape[1]:
        raise ArgumentError(
            name,
            f"of the dimension of {other}, {like.shape[1]} numbers a sample",
            f"{rows.shape[1]}",
            "give both sample sets the same shape behind the first axis",
        )


def require_positive(name: str, value: float | int) -> None:
    """Raises ArgumentError unless value > 0."""
    if not value > 0:
        raise ArgumentError(name, "positive", value, "give a larger one")


def as_real(values: Array) -> Tensor:
    """A tensor of real numbers, integers as float64; raises ArgumentError for complex numbers."""
    if values.is_complex() if isinstance(values, Tensor) else np.iscomplexobj(values):
        remedy = "give real and imaginary parts as columns"
        raise ArgumentError("values", "real numbers", "complex ones", remedy)
    if isinstance(values, Tensor):
        return values if values.is_floating_point() else values.double()
    return torch.from_numpy(np.array(values, dtype=np.float64))  # a copy: torch warns of read-only memory


def _float64(values: Array) -> Tensor:
    return as_real(values).detach().to("cpu", torch.float64)


def _require_finite(name: str, values: Tensor) -> None:
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise ArgumentError(
            name,
            "finite",
            f"{bad} NaN or infinite of {values.numel()} numbers",
            "remove the samples that hold them",
        )
