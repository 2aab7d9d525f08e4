"""Penalties with known values, against finite differences, and where the gradient vanishes."""

import pytest
import torch
from torch import nn

from onelip.constraint.penalty import gradient_penalty, interpolate, zero_centred_penalty
from onelip.errors import ArgumentError


def linear_critic(slope: float, shape: tuple[int, ...]):
    """f(x) = slope · ⟨e, x⟩ with a unit e spread over all axes: its gradient has norm `slope` everywhere."""
    e = torch.full(shape, 1.0) / torch.ones(shape).norm()
    return lambda x: slope * (x * e).flatten(1).sum(1)


@pytest.mark.parametrize("shape", [(2,), (3, 4), (3, 4, 5)])
@pytest.mark.parametrize(
    ("slope", "options", "expected"),
    [
        (3.0, {}, 4.0),
        (0.5, {}, 0.25),
        (0.5, {"one_sided": True}, 0.0),
        (3.0, {"one_sided": True}, 4.0),
        (3.0, {"target": 2.0}, 1.0),
    ],
)
def test_the_norm_is_that_of_a_whole_sample(shape, slope, options, expected):
    x, y = torch.randn(6, *shape), torch.randn(6, *shape)
    penalty = gradient_penalty(linear_critic(slope, shape), x, y, **options)
    assert penalty.item() == pytest.approx(expected, rel=1e-5)


def test_zero_centred_penalty_of_a_known_slope():
    assert zero_centred_penalty(linear_critic(3.0, (2, 3)), torch.randn(4, 2, 3)).item() == pytest.approx(9)


@pytest.mark.parametrize("one_sided", [False, True])
def test_a_vanishing_gradient_gives_no_nan(one_sided):
    critic = nn.Linear(3, 1)
    with torch.no_grad():
        critic.weight.zero_()
    penalty = gradient_penalty(critic, torch.zeros(4, 3), torch.ones(4, 3), one_sided=one_sided)
    penalty.backward()
    assert torch.isfinite(critic.weight.grad).all()


def test_double_backward_against_finite_differences():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    names, values = zip(*critic.named_parameters(), strict=True)
    x, y, mix = torch.randn(4, 3).double(), torch.randn(4, 3).double(), torch.rand(4).double()

    def penalty(*parameters):
        def call(points):
            return torch.func.functional_call(critic, dict(zip(names, parameters, strict=True)), points)

        return gradient_penalty(call, x, y, mix=mix) + zero_centred_penalty(call, x)

    assert torch.autograd.gradcheck(penalty, [v.detach().requires_grad_() for v in values])


def test_points_lie_on_the_segments_and_follow_from_the_generator():
    x, y = torch.zeros(50, 2, 3), torch.ones(50, 2, 3)
    draw = [interpolate(x, y, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    torch.testing.assert_close(draw[0], draw[1], rtol=0, atol=0)
    assert (draw[0] == draw[0][:, :1, :1]).all(), "one coefficient a sample"
    assert draw[0].min() >= 0
    assert draw[0].max() <= 1
    assert draw[0].std() > 0.2
    torch.testing.assert_close(
        interpolate(x, y, mix=torch.linspace(1, 0, 50))[:, 0, 0], torch.linspace(0, 1, 50)
    )


def test_the_points_stay_out_of_the_graph_of_the_generator():
    fake = torch.ones(4, 2, requires_grad=True)
    critic = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    gradient_penalty(critic, torch.zeros(4, 2), fake).backward()
    assert fake.grad is None


def test_a_critic_with_more_than_one_value_a_sample_is_refused():
    with pytest.raises(ArgumentError, match=r"one value a sample \(4\), got \(4, 2\)"):
        zero_centred_penalty(nn.Linear(3, 2), torch.zeros(4, 3))
