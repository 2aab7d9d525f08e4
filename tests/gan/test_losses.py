"""Losses against torch's own cross entropy, closed forms, and the gradients that the theory promises."""

import pytest
import torch
import torch.nn.functional as F

from onelip.gan.config import LOSSES
from onelip.gan.losses import LOSS_FUNCTIONS

torch.manual_seed(0)
REAL, FAKE = torch.randn(2, 64, dtype=torch.float64)
ONES, ZEROS = torch.ones_like(REAL), torch.zeros_like(REAL)

BCE = F.binary_cross_entropy_with_logits
CROSS_ENTROPY = BCE(REAL, ONES) + BCE(FAKE, ZEROS)
EXPECTED = {
    "wasserstein": (FAKE.mean() - REAL.mean(), -FAKE.mean()),
    "hinge": ((1 - REAL).clamp(min=0).mean() + (1 + FAKE).clamp(min=0).mean(), -FAKE.mean()),
    "minimax": (CROSS_ENTROPY, -BCE(FAKE, ZEROS)),
    "non-saturating": (CROSS_ENTROPY, BCE(FAKE, ONES)),
    "relativistic": (BCE(REAL - FAKE, ONES), BCE(FAKE, ONES)),
    "least-squares": (F.mse_loss(REAL, ONES) / 2 + F.mse_loss(FAKE, ZEROS) / 2, F.mse_loss(FAKE, ONES) / 2),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_equal_their_definition(name):
    loss = LOSS_FUNCTIONS[name]
    critic, generator = EXPECTED[name]
    torch.testing.assert_close(loss.critic(REAL, FAKE), critic)
    torch.testing.assert_close(loss.generator(FAKE), generator)


@pytest.mark.parametrize("name", LOSSES)
def test_the_generator_wants_higher_scores_and_the_critic_lower_ones_for_it(name):
    loss = LOSS_FUNCTIONS[name]
    for play, sign in ((loss.generator, -1), (lambda fake: loss.critic(REAL, fake), 1)):
        fake = torch.full_like(REAL, 0.3, requires_grad=True)
        (gradient,) = torch.autograd.grad(play(fake), fake)
        assert (gradient * sign > 0).all()


@pytest.mark.parametrize(
    ("name", "vanishes"), [("minimax", True), ("non-saturating", False), ("wasserstein", False)]
)
def test_only_the_saturating_loss_starves_a_generator_that_is_found_out(name, vanishes):
    fake = torch.full((1,), -30.0, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(LOSS_FUNCTIONS[name].generator(fake), fake)
    assert (gradient.abs().item() < 1e-12) == vanishes


@pytest.mark.parametrize("name", LOSSES)
def test_losses_stay_finite_for_scores_of_any_size(name):
    loss = LOSS_FUNCTIONS[name]
    scores = torch.tensor([-1e4, 0.0, 1e4])
    assert torch.isfinite(loss.critic(scores, scores))
    assert torch.isfinite(loss.generator(scores))
