"""The two mixtures in the plane on which mode collapse is counted.

Srivastava, Valkov, Russell, Gutmann, Sutton, "VEEGAN: Reducing Mode Collapse in GANs using Implicit
Variational Learning", NeurIPS 2017; with the constants of Lin, Khetan, Fanti, Oh, "PacGAN: The power
of two samples in generative adversarial networks", NeurIPS 2018.
"""

from __future__ import annotations

import math

import torch

from onelip.data.sets import PlanarMixture


def ring() -> PlanarMixture:
    """Eight Gaussians of standard deviation 0.01, evenly spaced on the unit circle.

    >>> ring().centres.norm(dim=1).allclose(torch.ones(8))
    True
    """
    angle = torch.arange(8) * (2 * math.pi / 8)
    return PlanarMixture("ring", torch.stack([angle.cos(), angle.sin()], 1), sigma=0.01)


def grid() -> PlanarMixture:
    """Twenty-five Gaussians of standard deviation 0.05 at {−4, −2, 0, 2, 4}².

    >>> grid().centres[0], len(grid().centres)
    (tensor([-4., -4.]), 25)
    """
    line = torch.arange(-4.0, 5.0, 2.0)
    return PlanarMixture("grid", torch.cartesian_prod(line, line), sigma=0.05)
