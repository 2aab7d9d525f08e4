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
    mean_x: Float[Tensor, "..."],
    covariance_x: Float[Tensor, "..."],
    mean_y: Float[Tensor, "..."],
    covariance_y: Float[Tensor, "..."],
) -> float:
    """W₂ between Gaussians, ‖m₁ − m₂‖² + tr C₁ + tr C₂ − 2‖C₁^½ C₂^½‖₊ under the root; never below W₁ of the
    same Gaussians, and no bound for other laws of these moments.

    ‖·‖₊ is the sum of the singular values: the trace of (C₁^½ C₂ C₁^½)^½ without squaring the condition
    number (Dowson & Landau 1982; the covariances' part is the Bures distance). Covariances may
    be singular. Means: [d], covariances: [d, d]. Raises ArgumentError for other shapes and for a covariance
    that is not symmetric and positive semidefinite.

    >>> gaussian_w2(torch.zeros(2), torch.eye(2), torch.tensor([0.0, 3.0]), 25 * torch.eye(2))  # √(9 + 32)
    6.40312423743284...
    """
    d = mean_x.numel()
    for name, mean in (("mean_x", mean_x), ("mean_y", mean_y)):
        _require_finite_of_shape(name, mean, (d,), "use x.mean(0)")
    for name, covariance in (("covariance_x", covariance_x), ("covariance_y", covariance_y)):
        _require_finite_of_shape(name, covariance, (d, d), "use torch.cov(x.T)")
    root_x, root_y = _root("covariance_x", covariance_x), _root("covariance_y", covariance_y)
    shift = mean_x.double() - mean_y.double()
    u, _, vh = torch.linalg.svd(root_x @ root_y)
    # No difference of traces, which would cancel: every rotation gives an upper bound, this one the least.
    spread = root_x - root_y @ (u @ vh).T
    return math.hypot(*shift.tolist(), float(torch.linalg.matrix_norm(spread)))


def _require_finite_of_shape(name: str, moment: Tensor, shape: tuple[int, ...], remedy: str) -> None:
    received = f"shape {tuple(moment.shape)}"
    if not moment.isfinite().all():
        received += " with NaN or infinity"
    elif moment.shape == shape:
        return
    raise ArgumentError(name, f"finite and of shape {shape}, as mean_x says", received, remedy)


def _root(name: str, covariance: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    C = covariance.double()
    slack = _TOLERANCE * C.abs().max()
    if (C - C.T).abs().max() > slack:
        raise _no_covariance(name, "an asymmetric matrix")
    values, vectors = torch.linalg.eigh(C)
    if values[0] < -slack:
        raise _no_covariance(name, f"an eigenvalue {values[0]:.3g}")
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def _no_covariance(name: str, received: str) -> ArgumentError:
    return ArgumentError(name, "symmetric and positive semidefinite", received, "use torch.cov(x.T)")
