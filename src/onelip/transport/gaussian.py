"""W₂ between Gaussians, an upper bound of W₁ in closed form.

D. Dowson, B. Landau, "The Fréchet distance between multivariate normal distributions", J. Multivariate
Analysis 12, 1982. R. Bhatia, T. Jain, Y. Lim, "On the Bures–Wasserstein distance between positive
definite matrices", Expositiones Mathematicae 37, 2019.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.errors import ArgumentError

# Rounding in an estimated covariance, relative to its largest entry.
_TOLERANCE = 1e-6


def gaussian_w2(
    mean_x: Float[Tensor, "d"],
    covariance_x: Float[Tensor, "d d"],
    mean_y: Float[Tensor, "d"],
    covariance_y: Float[Tensor, "d d"],
) -> float:
    """W₂ between Gaussians, ‖m₁ − m₂‖² + tr C₁ + tr C₂ − 2‖C₁^½ C₂^½‖₊ under the root; never below W₁.

    ‖·‖₊ is the sum of the singular values: the trace of (C₁^½ C₂ C₁^½)^½ without squaring the condition
    number (Dowson & Landau 1982; the covariances' part is the Bures distance). Covariances may
    be singular. Raises ArgumentError for one that is not symmetric and positive semidefinite.

    >>> gaussian_w2(torch.zeros(2), torch.eye(2), torch.tensor([0.0, 3.0]), 25 * torch.eye(2))  # √(9 + 32)
    6.40312423743284...
    """
    _check_mean("mean_x", mean_x, covariance_x)
    _check_mean("mean_y", mean_y, covariance_x)
    root_x, root_y = _root("covariance_x", covariance_x), _root("covariance_y", covariance_y)
    shift = (mean_x - mean_y).double().square().sum()
    spread = root_x.square().sum() + root_y.square().sum()
    overlap = torch.linalg.svdvals(root_x @ root_y).sum()
    return math.sqrt(max(0.0, float(shift + spread - 2 * overlap)))


def _check_mean(name: str, mean: Float[Tensor, "d"], covariance: Float[Tensor, "d d"]) -> None:
    shape = tuple(covariance.shape[:1])
    if tuple(mean.shape) != shape or not mean.isfinite().all():
        received = f"shape {tuple(mean.shape)}" if mean.isfinite().all() else "NaN or infinity"
        requirement = f"finite and of shape {shape}, as covariance_x says"
        raise ArgumentError(name, requirement, received, "use x.mean(0)")


def _root(name: str, covariance: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    C = covariance.double()
    slack = _TOLERANCE * C.abs().max()
    if not (C - C.T).abs().max() <= slack:  # so written that NaN is refused too
        raise _no_covariance(name, "an asymmetric matrix, or one that is not finite")
    values, vectors = torch.linalg.eigh(C)
    if values[0] < -slack:
        raise _no_covariance(name, f"an eigenvalue {values[0]:.3g}")
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def _no_covariance(name: str, received: str) -> ArgumentError:
    return ArgumentError(name, "symmetric, positive semidefinite and finite", received, "use torch.cov")
