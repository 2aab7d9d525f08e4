"""KL, JS and total variation against SciPy, closed forms and the inequalities between them."""

import math

import numpy as np
import pytest
import scipy.spatial
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onelip.errors import ArgumentError
from onelip.transport.divergence import density_divergences, histogram_divergences, sample_divergences

norm, uniform = scipy.stats.norm, scipy.stats.uniform
LOG_2 = math.log(2)


def test_histograms_agree_with_scipy():
    p, q = np.random.default_rng(0).dirichlet(np.ones(20), size=2)
    found = histogram_divergences(p, torch.from_numpy(q))
    assert found.kl == pytest.approx(scipy.stats.entropy(p, q), abs=1e-14)
    assert found.kl_reverse == pytest.approx(scipy.stats.entropy(q, p), abs=1e-14)
    assert found.js == pytest.approx(scipy.spatial.distance.jensenshannon(p, q) ** 2, abs=1e-14)
    assert found.total_variation == pytest.approx(abs(p - q).sum() / 2, abs=1e-14)


def test_infinite_kl_is_infinite_in_its_direction_only():
    found = histogram_divergences(np.array([[0.5, 0.5], [0, 0]]), np.array([[0.25, 0.25], [0.25, 0.25]]))
    assert found.kl == pytest.approx(LOG_2)
    assert found.kl_reverse == math.inf
    assert 0 < found.js < LOG_2


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (1.0, 1.0), (3.0, 0.5), (0.0, 2.0), (60.0, 1.0)])
def test_gaussians(shift, scale):
    knots = sorted({-12.0, 12.0, shift / 2, shift - 12 * scale, shift + 12 * scale})
    found = density_divergences(norm(0, 1).logpdf, norm(shift, scale).logpdf, knots)
    kl = math.log(scale) + (1 + shift**2) / (2 * scale**2) - 0.5
    assert found.kl == pytest.approx(kl, rel=1e-9, abs=1e-9)
    assert found.kl_reverse == pytest.approx(
        -math.log(scale) + (scale**2 + shift**2) / 2 - 0.5, abs=1e-9, rel=1e-9
    )
    if scale == 1:  # |p − q| has its kink at the knot halfway
        assert found.total_variation == pytest.approx(2 * norm.cdf(shift / 2) - 1, abs=1e-12)
    if shift == 60:
        assert found.js == pytest.approx(LOG_2, abs=1e-12)


@pytest.mark.parametrize("theta", [0.25, 0.5, 1.0, 2.0, 100.0])
def test_shifted_uniforms_reach_the_ceiling_and_stay_there(theta):
    knots = sorted({0.0, 1.0, theta, 1 + theta})
    with np.errstate(divide="ignore"):  # SciPy takes the logarithm of the zero density
        found = density_divergences(uniform(0, 1).logpdf, uniform(theta, 1).logpdf, knots)
    assert found.kl == found.kl_reverse == math.inf
    assert found.total_variation == pytest.approx(min(theta, 1), abs=1e-12)
    assert found.js == pytest.approx(min(theta, 1) * LOG_2, abs=1e-12)
    assert found.js <= LOG_2


def test_samples_far_apart_sit_at_the_ceiling_whatever_the_distance():
    x = torch.rand(500, 2, generator=torch.Generator().manual_seed(0))
    near, far = (sample_divergences(x, x + shift) for shift in (2, 200))
    assert near.js == far.js == LOG_2
    assert near.kl == far.kl == math.inf
    assert sample_divergences(x, x.flip(0)).js == 0


@pytest.mark.parametrize("exponent", [-900, -1, 1, 1021])
def test_powers_of_two_move_no_sample_into_another_bin(exponent):
    x, y = np.random.default_rng(0).uniform(-7, 7, size=(2, 500))
    assert sample_divergences(x * 2.0**exponent, y * 2.0**exponent) == sample_divergences(x, y)


def test_samples_estimate_the_law_when_there_are_many():
    draws = np.random.default_rng(0).normal(size=(2, 200_000))
    found = sample_divergences(draws[0], draws[1] + 1, bins=40)
    truth = density_divergences(norm(0, 1).logpdf, norm(1, 1).logpdf, (-12.0, 12.0))
    assert found.js == pytest.approx(truth.js, abs=0.003)
    assert found.total_variation == pytest.approx(truth.total_variation, abs=0.01)


masses = hnp.arrays(np.float64, 5, elements=st.sampled_from([0.0, 0.01, 0.3, 1.0, 7.0])).filter(np.any)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(masses, masses)
def test_the_inequalities_between_them(p, q):
    p, q = p / p.sum(), q / q.sum()
    found, swapped = histogram_divergences(p, q), histogram_divergences(q, p)
    assert (found.kl, found.kl_reverse) == (swapped.kl_reverse, swapped.kl)
    assert found.js == pytest.approx(swapped.js, abs=1e-15)
    assert found.total_variation**2 <= found.kl / 2 + 1e-12  # Pinsker
    assert found.total_variation**2 / 2 - 1e-12 <= found.js <= LOG_2 * found.total_variation + 1e-12
    assert histogram_divergences(p, p).kl == 0


HALF = np.array([0.5, 0.5])
BAD = [
    (lambda: histogram_divergences(HALF, np.array([1.5, -0.5])), "q must be non-negative and of sum one"),
    (lambda: histogram_divergences(HALF * 2, HALF), "p must be non-negative and of sum one, got .* sum 2"),
    (lambda: histogram_divergences(HALF, np.ones(1)), r"q must be over the bins of p, \[2\], got \[1\]"),
    (lambda: histogram_divergences(HALF, np.array([0.5, np.nan])), "q must be finite"),
    (lambda: density_divergences(norm.logpdf, norm.logpdf, (-1.0, 1.0)), "log_p must be .* got mass 0.68"),
    (lambda: density_divergences(norm.logpdf, norm.logpdf, (1.0, -1.0)), "knots must be two or more"),
    (lambda: sample_divergences(torch.zeros(2, 4), torch.zeros(2, 4)), "x must be of at most 3"),
    (lambda: sample_divergences(torch.zeros(2, 1), torch.zeros(2, 2)), "y must be of the dimension of x"),
    (lambda: sample_divergences(torch.zeros(2), torch.zeros(2), bins=0), "bins must be positive"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(ArgumentError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
