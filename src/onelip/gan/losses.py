"""GAN losses as pure functions of critic scores f(x), before any sigmoid.

Wasserstein: Arjovsky, Chintala, Bottou 2017. Hinge: Lim & Ye 2017. Minimax and non-saturating:
Goodfellow et al. 2014, eq. 1 and §3. Least squares: Mao et al. 2017, eq. 9 with a = 0, b = c = 1.
Relativistic pairing: Jolicoeur-Martineau 2019, eq. 4 and 5, as in Huang, Gokaslan, Kuleshov, Tompkin, "The
GAN is dead; long live the GAN!", NeurIPS 2024, eq. 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Scores = Float[Tensor, " batch"]
Scalar = Float[Tensor, ""]


class Loss(NamedTuple):
    """What each player minimises: critic(scores of real, scores of generated), generator(scores).

    relative: the generator's scores are margins f(generated) − f(real) over a batch of real samples.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    relative: bool = False


def wasserstein_critic(real: Scores, fake: Scores) -> Scalar:
    return fake.mean() - real.mean()


def wasserstein_generator(fake: Scores) -> Scalar:
    return -fake.mean()


def hinge_critic(real: Scores, fake: Scores) -> Scalar:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def cross_entropy_critic(real: Scores, fake: Scores) -> Scalar:
    """-log D(real) - log(1 - D(fake)) with D = sigmoid(f)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def minimax_generator(fake: Scores) -> Scalar:
    """log(1 - D(fake)): its gradient vanishes where the discriminator is sure (Goodfellow et al., §3)."""
    return -F.softplus(fake).mean()


def non_saturating_generator(fake: Scores) -> Scalar:
    """-log D(fake)."""
    return F.softplus(-fake).mean()


def relativistic_critic(real: Scores, fake: Scores) -> Scalar:
    """-log sigmoid(f(real) - f(fake)) of each pair."""
    return F.softplus(fake - real).mean()


def least_squares_critic(real: Scores, fake: Scores) -> Scalar:
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def least_squares_generator(fake: Scores) -> Scalar:
    return (fake - 1).square().mean() / 2


LOSS_FUNCTIONS: dict[str, Loss] = {
    "wasserstein": Loss(wasserstein_critic, wasserstein_generator),
    "hinge": Loss(hinge_critic, wasserstein_generator),
    "minimax": Loss(cross_entropy_critic, minimax_generator),
    "non-saturating": Loss(cross_entropy_critic, non_saturating_generator),
    "least-squares": Loss(least_squares_critic, least_squares_generator),
    "relativistic": Loss(relativistic_critic, non_saturating_generator, relative=True),
}
