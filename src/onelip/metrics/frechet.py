"""Fréchet distance between two sets of features, each summed up by its mean and covariance.

M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler, S. Hochreiter, "GANs Trained by a Two Time-Scale Update
Rule Converge to a Local Nash Equilibrium", NeurIPS 2017: the squared W₂ distance of the two Gaussians.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from onelip.metrics.features import FeatureSet, require_one_space
from onelip.transport.gaussian import gaussian_w2


def frechet_distance(x: FeatureSet, y: FeatureSet) -> float:
    """‖m₁ − m₂‖² + tr(C₁ + C₂ − 2(C₁^½ C₂ C₁^½)^½), in float64, with unbiased covariances.

    The estimate is biased upwards, the more the fewer samples: hold it against two sets of real samples
    of the same size. With fewer samples than features the covariances are singular; that is a number
    still, but mostly bias.

    >>> import torch
    >>> x = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    >>> round(frechet_distance(FeatureSet(x), FeatureSet(x + torch.tensor([3.0, 4.0]))), 9)
    25.0
    """
    require_one_space(x, y)
    return gaussian_w2(*x.kept(moments), *y.kept(moments)) ** 2


def moments(x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "d"], Float[Tensor, "d d"]]:
    """Mean and unbiased covariance."""
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred / (len(x) - 1)
