"""What each method promises of its critic, held against dense oracles after real training steps."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from onelip.constraint.penalty import gradient_penalty
from onelip.data import load
from onelip.data.sets import ImageSet
from onelip.gan.networks import build_critic
from onelip.gan.observe import input_gradient_norms
from onelip.gan.players import build_players
from onelip.gan.step import critic_step, generator_step, noise, train_step
from onelip.linear.layers import input_shapes, linear_map
from tests.gan.conftest import SMALL

SHAPES = [(1, 28, 28), (3, 17, 13)]  # even sizes, and odd ones that strides do not divide


def trained_critic(method: str, shape: tuple[int, ...], **changes):
    """A critic after ten steps on noise pictures of `shape`."""
    config = dataclasses.replace(SMALL, **{"method": method} | changes).resolved()
    pixels = torch.randint(256, (32, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    players = build_players(config, shape)
    for step in range(1, 11):
        train_step(players, ImageSet("noise", pixels), config, step)
    return players.critic


def test_the_penalty_has_the_gradient_that_finite_differences_have():
    torch.manual_seed(0)
    critic = build_critic(2, (1, 8, 8)).double()
    real, fake = torch.randn(2, 3, 1, 8, 8, dtype=torch.float64)
    mix = torch.rand(3, dtype=torch.float64)
    gradients = torch.autograd.grad(
        gradient_penalty(critic, real, fake, mix=mix), list(critic.parameters())[:-1]
    )
    for parameter, gradient in zip(critic.parameters(), gradients, strict=False):
        direction = torch.randn_like(parameter)
        sides = []
        for h in (1e-6, -1e-6):
            with torch.no_grad():
                parameter += h * direction
            sides.append(gradient_penalty(critic, real, fake, mix=mix).item())
            with torch.no_grad():
                parameter -= h * direction
        difference = (sides[0] - sides[1]) / 2e-6
        assert (gradient * direction).sum().item() == pytest.approx(difference, rel=1e-4, abs=1e-8)


def test_the_penalty_of_a_flat_critic_has_a_finite_gradient():
    critic = build_critic(2, (1, 8, 8))
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.zero_()
    penalty = gradient_penalty(critic, torch.randn(4, 1, 8, 8), torch.randn(4, 1, 8, 8))
    assert penalty.item() == 1
    gradients = torch.autograd.grad(penalty, list(critic.parameters()), materialize_grads=True)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("c", [0.01, 0.003])
def test_clipping_bounds_every_parameter_and_binds(c):
    parameters = list(trained_critic("clip", (1, 28, 28), clip=c).parameters())
    assert len(parameters) == 8
    for parameter in parameters:
        assert parameter.abs().max() <= c
    assert any((parameter.abs() == c).any() for parameter in parameters)


def reshaped_norms(critic, shape):
    weights = [critic.get_submodule(name).weight for name in input_shapes(critic, shape)]
    return [torch.linalg.matrix_norm(w.detach().double().flatten(1), 2).item() for w in weights]


def applied_norms(critic, shape):
    layers = [(critic.get_submodule(name), size) for name, size in input_shapes(critic, shape).items()]
    maps = [linear_map(layer, size, layer.weight.detach().double()) for layer, size in layers]
    return [torch.linalg.matrix_norm(map.dense(), 2).item() for map in maps]


NORMS = {"sn": reshaped_norms, "sn-operator": applied_norms}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("method", NORMS)
@pytest.mark.parametrize("target", [1.0, 0.5])
def test_spectral_methods_hold_the_norm_that_they_name(method, shape, target):
    critic = trained_critic(method, shape, target=target)
    # One iteration a step estimates from below: while weights move, the norm exceeds the target by its lag.
    in_training = NORMS[method](critic.train(), shape)
    assert min(in_training) > target * (1 - 1e-5)
    at_rest = NORMS[method](critic.eval(), shape)
    assert at_rest == pytest.approx([target] * 4, rel=1e-2)  # the constraint's default tolerance


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("target", [1.0, 0.5])
def test_orthogonal_critics_never_exceed_the_target(shape, target):
    critic = trained_critic("orthogonal", shape, target=target)
    norms = applied_norms(critic, shape)
    assert max(norms) <= target * (1 + 1e-5)
    assert norms[-1] == pytest.approx(target, rel=1e-5)
    assert [type(layer).__name__ for layer in critic].count("MaxMin") == len(norms) - 1


def test_r1_and_r2_are_half_gamma_times_the_mean_squared_gradients():
    config = dataclasses.replace(SMALL, method="r1r2", gamma=3.0).resolved()
    players = build_players(config, (2,))
    random = torch.Generator().manual_seed(0)
    real = torch.randn(config.batch, 2, generator=random)
    state = random.get_state()
    with torch.no_grad():
        fake = players.generator(noise(config, random, torch.device("cpu")))
    squares = [input_gradient_norms(players.critic, x).square().mean() for x in (real, fake)]
    values = critic_step(players, real, config, torch.Generator().set_state(state))
    penalty = values["critic_loss_with_penalty"] - values["critic_loss"]
    assert penalty == pytest.approx(1.5 * sum(squares).item(), rel=1e-4)


def test_the_relativistic_generator_is_held_against_real_samples_pair_by_pair():
    config = dataclasses.replace(SMALL, method="r1r2", loss="relativistic").resolved()
    data, players = load("ring"), build_players(config, (2,))
    random = torch.Generator().manual_seed(0)
    state = random.get_state()
    with torch.no_grad():
        fake = players.generator(noise(config, random, torch.device("cpu")))
        real = data.batch(random, config.batch)
        expected = F.softplus(players.critic(real) - players.critic(fake)).mean()
    values = generator_step(players, data, config, torch.Generator().set_state(state))
    torch.testing.assert_close(values["generator_loss"], expected)


def test_an_adaptive_estimate_lags_less_than_one_iteration():
    one, adaptive = (
        max(reshaped_norms(trained_critic("sn", SHAPES[0], **choice), SHAPES[0]))
        for choice in ({"power_iterations": 1}, {"tolerance": 0.001})
    )
    assert adaptive - 1 < (one - 1) / 3


def test_more_iterations_lag_less():
    def lag(iterations):
        return (
            max(reshaped_norms(trained_critic("sn", SHAPES[0], power_iterations=iterations), SHAPES[0])) - 1
        )

    assert lag(1) > 10 * lag(50)
