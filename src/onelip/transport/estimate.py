"""A mean over random draws never stands alone: its standard error goes with it."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from onelip.errors import ArgumentError


class Estimate(NamedTuple):
    """A Monte Carlo value and its standard error, one standard deviation of the mean."""

    value: float
    standard_error: float

    @classmethod
    def of_mean(cls, draws: Float[Tensor, "n"]) -> Estimate:
        """The mean of independent draws, in float64; at least two, or there is no standard error.

        >>> import torch
        >>> Estimate.of_mean(torch.tensor([1.0, 3.0]))
        Estimate(value=2.0, standard_error=1.0)
        """
        if len(draws) < 2:
            raise ArgumentError("draws", "at least two", len(draws), "draw more")
        draws = draws.double()
        return cls(float(draws.mean()), float(draws.std()) / len(draws) ** 0.5)
