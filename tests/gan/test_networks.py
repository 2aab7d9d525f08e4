"""Networks fit the samples they are sized to, and a critic treats each sample alone."""

import dataclasses

import pytest
import torch
from torch import nn

from onelip.data.sets import ImageSet
from onelip.errors import ArgumentError
from onelip.gan.networks import build_critic, build_generator
from onelip.gan.players import build_players
from onelip.gan.step import train_step
from tests.gan.conftest import SMALL

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 8, 8), (3, 45, 30), (1, 5, 16), (2,)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("width", [1, 5])
def test_generator_and_critic_fit_the_samples(shape, width):
    generator = build_generator(6, width, shape)
    critic = build_critic(width, shape)
    samples = generator(torch.randn(3, 6))
    assert samples.shape == (3, *shape)
    assert critic(samples).shape == (3,)
    if len(shape) == 3:
        assert samples.abs().max() <= 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_score_does_not_depend_on_the_rest_of_the_batch(shape):
    critic = build_critic(4, shape).double()
    x = torch.randn(4, *shape, dtype=torch.float64)
    torch.testing.assert_close(critic(x)[:1], critic(x[:1]))
    norms = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
    assert not any(isinstance(layer, norms) for layer in critic.modules())


@pytest.mark.parametrize("player", [lambda s: build_generator(6, 4, s), lambda s: build_critic(4, s)])
@pytest.mark.parametrize(
    ("shape", "remedy"),
    [((1, 2, 64), "less elongated"), ((3, 1, 5), "less elongated"), ((1, 1, 1), "larger")],
)
def test_too_elongated_and_too_small_images_are_refused(player, shape, remedy):
    with pytest.raises(ArgumentError, match=f"shorter side, got .*: use {remedy} images"):
        player(shape)


@pytest.mark.parametrize(("batch", "shape"), [(1, (1, 2, 2)), (2, (1, 2, 2)), (1, (1, 2, 3))], ids=str)
def test_a_batch_of_one_needs_more_than_one_coarse_pixel(batch, shape):
    config = dataclasses.replace(SMALL, method="none", batch=batch).resolved()
    if (batch, shape) == (1, (1, 2, 2)):
        with pytest.raises(ArgumentError, match="batch must be 2 or more"):
            build_players(config, shape)
        return
    pixels = torch.zeros(3, *shape, dtype=torch.uint8)
    values = train_step(build_players(config, shape), ImageSet("dark", pixels), config, 1)
    assert all(value.isfinite() for value in values.values())
