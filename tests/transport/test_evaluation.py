"""Scoring critics: known critics on known pairs, honest standard errors, clear refusals."""

import math

import pytest
import scipy.stats
import torch
from torch import nn

from onelip.errors import ArgumentError, NonFiniteError
from onelip.transport import evaluate_potential, funnel_pair
from onelip.transport.closed_form import cone_pair, dirac_pair, squares_pair
from onelip.transport.line_pair import line_pair

FUNNELS = funnel_pair(8, 16, seed=0)
PAIRS = {"funnels": FUNNELS, "squares": squares_pair(), "cones": cone_pair(torch.zeros(1, 3).double(), 2.0)}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize(
    ("factor", "cos", "l2", "deviation"),
    [(1, 1, 0, 0), (-1, -1, 4, -2), (0.5, 1, 0.25, -0.5), (3, 1, 4, 2), (1e-10, 1, 1, -1)],
)
def test_multiples_of_the_optimal_potential(pair, factor, cos, l2, deviation):
    score = evaluate_potential(lambda x: factor * pair.potential(x) + 7, pair, size=200, batch=64)
    assert score.cos == pytest.approx((cos, 0), abs=1e-9)
    assert score.l2 == pytest.approx((l2, 0), abs=1e-9)
    assert score.deviation == pytest.approx((deviation, 0), abs=1e-9)
    assert score.w1.value == pytest.approx(factor * score.w1_true.value, abs=1e-9)


@pytest.mark.parametrize("factor", [1e-300, 1e-163, 1e155, 1e300, -1e-163, -1e155])
def test_the_cosine_does_not_depend_on_the_scale_of_the_critic(factor):
    cosine = evaluate_potential(lambda x: factor * FUNNELS.potential(x), FUNNELS, size=100).cos
    assert cosine == pytest.approx((math.copysign(1, factor), 0), abs=1e-12)


def test_a_linear_critic_by_hand():
    pair = dirac_pair(torch.tensor([3.0, 4.0]).double(), torch.zeros(2).double())
    score = evaluate_potential(lambda x: x[:, :1], pair, size=2)
    assert score.cos == pytest.approx((0.6, 0))
    assert score.l2 == pytest.approx((0.8, 0))
    assert score.w1 == pytest.approx((3, 0))
    assert score.w1_true == pytest.approx((5, 0))
    assert score.deviation == pytest.approx((-0.4, 0))


def test_a_module_is_called_in_its_own_dtype():
    critic = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    single = evaluate_potential(critic, FUNNELS, size=500)
    double = evaluate_potential(critic.double(), FUNNELS, size=500)
    for a, b in zip(vars(single).values(), vars(double).values(), strict=True):
        assert a == pytest.approx(b, abs=1e-4)
    assert all(parameter.grad is None for parameter in critic.parameters())


def test_grad_mode_of_the_caller_does_not_matter():
    with torch.no_grad():
        inside = evaluate_potential(FUNNELS.potential, FUNNELS, size=100)
    assert inside == evaluate_potential(FUNNELS.potential, FUNNELS, size=100)


def test_a_vanishing_gradient_counts_as_cosine_zero():
    flat = nn.Linear(8, 1).double()
    nn.init.zeros_(flat.weight)
    score = evaluate_potential(flat, FUNNELS, size=100)
    assert (score.cos.value, score.l2.value) == (0, pytest.approx(1))
    assert score.deviation.value == pytest.approx(-1)


def test_standard_errors_say_how_far_off_the_estimates_are():
    pair = line_pair(scipy.stats.norm(0, 3).ppf, scipy.stats.norm(0, 1).ppf, (0.0,))

    def critic(x):
        return x.square().squeeze(1) / 10  # E_P f − E_Q f = 0.8

    truths = {"w1": 0.8, "w1_true": pair.w1, "deviation": 0.8 / pair.w1 - 1}
    scores = [evaluate_potential(critic, pair, size=2, w1_size=1000, seed=seed) for seed in range(150)]
    for name, truth in truths.items():
        z = torch.tensor([(getattr(s, name).value - truth) / getattr(s, name).standard_error for s in scores])
        assert abs(z.mean()) < 0.35, name
        assert 0.8 < z.std() < 1.25, name


def test_the_paired_deviation_is_far_more_certain_than_its_parts():
    pair = funnel_pair(8, 16, seed=0)
    score = evaluate_potential(lambda x: 0.9 * pair.potential(x), pair, w1_size=2000)
    assert score.deviation.standard_error < 1e-9
    assert score.w1.standard_error > 0.01


class Constant(nn.Module):
    def forward(self, x):
        return torch.zeros(len(x))


def as_one_number(x):
    return x.sum()


BAD = [
    (as_one_number, FUNNELS, ArgumentError, r"one score a sample, \(10,\) .* got a result of shape \(\)"),
    (lambda x: x, FUNNELS, ArgumentError, r"got a result of shape \(10, 8\)"),
    (lambda x: None, FUNNELS, ArgumentError, "critic must be one that returns a tensor, got NoneType"),
    (lambda x: 1.0, FUNNELS, ArgumentError, "critic must be one that returns a tensor, got float"),
    (lambda x: (x[:, 0] - x[:, 0]).sqrt(), FUNNELS, NonFiniteError, "gradients hold NaN or infinity"),
    (lambda x: x[:5, 0], FUNNELS, ArgumentError, r"got a result of shape \(5,\)"),
    (lambda x: x[None, :, 0], FUNNELS, ArgumentError, r"got a result of shape \(1, 10\)"),
    (Constant(), FUNNELS, ArgumentError, "critic must be differentiable in its input"),
    (lambda x: x.detach()[:, 0], FUNNELS, ArgumentError, "critic must be differentiable in its input"),
    (lambda x: x[:, 0] / 0, FUNNELS, NonFiniteError, "scores hold NaN or infinity"),
    (lambda x: x[:, 0], dirac_pair(torch.ones(2), torch.ones(2)), ArgumentError, "two different laws"),
]  # fmt: skip


@pytest.mark.parametrize(("critic", "pair", "error", "message"), BAD, ids=[case[3][-40:] for case in BAD])
def test_what_cannot_be_scored_is_refused_in_one_line(critic, pair, error, message):
    with pytest.raises(error, match=message) as raised:
        evaluate_potential(critic, pair, size=10)
    assert "\n" not in str(raised.value)
