"""Every pair with a known answer proves it: primal equals dual on each sample, and exact transport agrees."""

import math

import pytest
import scipy.stats
import torch

from onelip.errors import ArgumentError
from onelip.transport import funnel_pair, lipschitz_residual, monte_carlo_w1, wasserstein1
from onelip.transport.closed_form import (
    TranslationPair,
    absolute_value_pair,
    cone_pair,
    dirac_pair,
    squares_pair,
    three_cones_pair,
)
from onelip.transport.funnel import HALF_WIDTH, FunnelPair, stored_pair
from onelip.transport.gaussian import gaussian_w2
from onelip.transport.line_pair import line_pair

norm, expon, uniform = scipy.stats.norm, scipy.stats.expon, scipy.stats.uniform
cauchy, pareto, poisson = scipy.stats.cauchy, scipy.stats.pareto, scipy.stats.poisson


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(generator, size):
    return torch.randn(size, 2, 3, generator=generator, dtype=torch.float64)


FUNNELS = [(1, 3), (2, 4), (2, 256), (16, 16), (64, 4)]
KNOWN = {
    "diracs": (dirac_pair(torch.zeros(4).double(), torch.full((4,), 0.5).double()), 1.0),
    "one point": (dirac_pair(torch.zeros(4).double(), torch.zeros(4).double()), 0.0),
    "translation": (TranslationPair(normal, torch.full((2, 3), 2.0).double()), 24**0.5),
    "absolute value": (absolute_value_pair(), 1.0),
    "three cones": (three_cones_pair(), 1.0),
    "cone in 128-D": (cone_pair(torch.zeros(1, 128).double(), 1.0), 1.0),
    "squares": (squares_pair(), 35.0),
    "small squares": (squares_pair(5, 2), 2.0),
    "exponentials": (line_pair(expon(scale=1).ppf, expon(scale=3).ppf), 2.0),
    "uniforms, one inside": (line_pair(uniform(-1, 2).ppf, uniform(-2, 4).ppf, (0.0,)), 0.5),
    "Gaussians apart": (line_pair(norm(2, 1).ppf, norm(-1, 1).ppf), 3.0),
    "Gaussians crossing": (line_pair(norm(0, 3).ppf, norm(0, 1).ppf, (0.0,)), 2 * (2 / torch.pi) ** 0.5),
    "uniform against two crossings": (
        line_pair(scipy.stats.beta(2, 2).ppf, scipy.stats.beta(0.5, 0.5).ppf, (0.5,)),
        None,
    ),
} | {f"funnels {d}, {n}": (funnel_pair(d, n, seed=0), None) for d, n in FUNNELS}
PAIRS = [pytest.param(pair, id=name) for name, (pair, _) in KNOWN.items()]


@pytest.mark.parametrize("pair", PAIRS)
def test_primal_equals_dual_on_every_sample(pair):
    sample = pair.sample(rng(), 500)
    assert sample.x.shape == sample.y.shape == sample.gradient.shape == (500, *pair.shape)
    moved = (sample.x - sample.y).flatten(1).norm(dim=1)
    torch.testing.assert_close(sample.distance, moved, rtol=0, atol=1e-12)
    fall = pair.potential(sample.x) - pair.potential(sample.y)
    torch.testing.assert_close(fall, moved, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_potential_is_1_lipschitz(pair):
    sample = pair.sample(rng(), 60)
    apart = 3 * torch.randn(60, *pair.shape, generator=rng(1), dtype=torch.float64)
    points = torch.cat([sample.x, sample.y, apart])
    assert lipschitz_residual(pair.potential(points), points.flatten(1)) <= 1e-12


@pytest.mark.parametrize("pair", PAIRS)
def test_the_gradient_is_that_of_the_potential_and_points_against_the_transport(pair):
    sample = pair.sample(rng(), 300)
    # Halfway, since in few dimensions x may lie on a funnel's centre but for rounding, where f has a kink.
    halfway = ((sample.x + sample.y) / 2).requires_grad_()
    (gradient,) = torch.autograd.grad(pair.potential(halfway).sum(), halfway)
    torch.testing.assert_close(gradient, sample.gradient, rtol=0, atol=1e-9)
    ray = sample.distance.reshape(-1, *[1] * len(pair.shape)) * sample.gradient
    torch.testing.assert_close(sample.y, sample.x - ray, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pair", PAIRS)
def test_exact_transport_between_the_samples_finds_no_cheaper_plan(pair):
    """The optimal plan is cyclically monotone, and so is any sample of its rows."""
    sample = pair.sample(rng(), 120)
    result = wasserstein1(sample.x, sample.y)
    assert result.value == pytest.approx(float(sample.distance.mean()), abs=1e-10)
    assert abs(result.gap) <= 1e-10


@pytest.mark.parametrize("name", [name for name, (_, w1) in KNOWN.items() if w1 is not None])
def test_w1_is_the_closed_form(name):
    pair, w1 = KNOWN[name]
    assert pair.w1 == pytest.approx(w1, rel=1e-7, abs=1e-12)
    measured = monte_carlo_w1(pair, rng(), size=4000, batch=1500)
    assert abs(measured.value - w1) <= 4 * measured.standard_error + 1e-6


@pytest.mark.parametrize("pair", PAIRS)
def test_the_potential_is_computed_in_the_pairs_dtype_and_given_in_the_points(pair):
    points = pair.sample(rng(), 50).y.float().requires_grad_()
    f = pair.potential(points)
    assert f.dtype == torch.float32
    torch.testing.assert_close(f, pair.potential(points.double()).float(), rtol=0, atol=0)
    f.sum().backward()
    assert points.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (dirac_pair(torch.tensor([0, 0]), torch.tensor([3, 4])), 5.0),
        (cone_pair(torch.tensor([[0, 0], [9, 0]]), 2.0, torch.tensor([[0, 1], [1, 0]])), 2.0),
        (cone_pair(torch.tensor([[0, 0], [9, 0]]), 2.0), 2.0),
    ],
    ids=["diracs", "cones in two directions", "cones"],
)
def test_whole_numbers_are_as_good_as_others(pair, expected):
    sample = pair.sample(rng(), 20)
    fall = pair.potential(sample.x) - pair.potential(sample.y)
    torch.testing.assert_close(fall, torch.full((20,), expected).double())
    assert pair.w1 == pytest.approx(expected)


def test_a_line_pair_is_scipys_distance_between_large_samples():
    pair, _ = KNOWN["uniform against two crossings"]
    sample = pair.sample(rng(), 20_000)
    other = pair.sample(rng(1), 20_000)  # independent of the first: x and y are no longer coupled
    found = scipy.stats.wasserstein_distance(sample.x[:, 0], other.y[:, 0])
    assert pair.w1 == pytest.approx(found, abs=0.01)


def test_funnels_are_the_published_construction():
    pair = funnel_pair(dim=3, funnels=5000, seed=1)
    assert pair.centers.shape == (5000, 3)
    assert pair.centers.abs().max() <= HALF_WIDTH
    assert pair.centers.std() == pytest.approx(HALF_WIDTH / 3**0.5, rel=0.02)
    assert pair.bias.std() == pytest.approx(0.1, rel=0.05)
    sample = pair.sample(rng(), 2000)
    assert sample.y.abs().max() <= HALF_WIDTH
    assert sample.y.std() == pytest.approx(HALF_WIDTH / 3**0.5, rel=0.02)


@pytest.mark.parametrize(("dim", "funnels"), [(2, 4), (2, 64), (8, 16), (32, 256)])
def test_a_ray_ends_at_the_nearer_of_the_face_and_the_crossing(dim, funnels):
    pair = funnel_pair(dim, funnels, seed=3)
    sample = pair.sample(rng(), 1000)
    depth = (sample.y[:, None] - pair.centers).norm(dim=2) + pair.bias
    low, length = pair.centers[depth.argmin(1)], (sample.y - pair.centers[depth.argmin(1)]).norm(dim=1)
    t = (1 - sample.distance / length) ** (1 / 7)
    known = t > 0.3  # below, 1 − distance/length has lost t⁷ to rounding
    assert known.float().mean() > 0.5
    up = (low + (sample.y - low) / t[:, None])[known]
    first, second = ((up[:, None] - pair.centers).norm(dim=2) + pair.bias).topk(2, largest=False).values.T
    on_face = (up.abs().amax(1) - HALF_WIDTH).abs() < 1e-7
    at_crossing = (second - first).abs() < 1e-7
    assert (on_face | at_crossing).all()
    assert on_face.any()
    assert at_crossing.any()
    assert (up.abs() <= HALF_WIDTH + 1e-7).all()
    still_active = (up - low[known]).norm(dim=1) + pair.bias[depth.argmin(1)][known]
    torch.testing.assert_close(still_active, first, rtol=0, atol=1e-7)


def test_a_center_and_a_corner_are_no_exceptions():
    pair = FunnelPair(torch.zeros(1, 2).double(), torch.zeros(1).double())
    coupled = pair.couple(torch.tensor([[0.0, 0.0], [HALF_WIDTH, -HALF_WIDTH], [HALF_WIDTH, 0.0]]).double())
    assert coupled.distance.tolist() == [0, 0, 0]
    torch.testing.assert_close(coupled.x, coupled.y, rtol=0, atol=0)
    assert coupled.gradient[0].tolist() == [0, 0]


def test_the_seed_of_a_pair_may_be_that_of_its_samples():
    pair = funnel_pair(2, 16, seed=0)
    y = pair.sample(rng(0), 16).y
    assert (y[:, None] - pair.centers).norm(dim=2).min() > 1e-3


def test_a_pair_is_its_seed_and_float32_follows_float64():
    pair = funnel_pair(16, 64, seed=5)
    assert torch.equal(pair.centers, funnel_pair(16, 64, seed=5).centers)
    assert not torch.equal(pair.centers, funnel_pair(16, 64, seed=6).centers)
    y = pair.sample(rng(), 1000).y.float()
    single, double = pair.to(dtype=torch.float32).couple(y), pair.couple(y.double())
    assert single.x.dtype == torch.float32
    assert (single.x - double.x).abs().median() < 1e-6
    assert abs(single.distance.mean() - double.distance.mean()) < 1e-5


@pytest.mark.gpu
def test_a_pair_runs_on_the_accelerator_and_draws_the_same_there():
    pair = funnel_pair(16, 64, seed=5)
    here, there = pair.sample(rng(), 1000), pair.to(device="cuda").sample(rng(), 1000)
    assert there.x.is_cuda
    torch.testing.assert_close(there.x.cpu(), here.x, rtol=0, atol=1e-12)
    torch.testing.assert_close(there.gradient.cpu(), here.gradient, rtol=0, atol=1e-12)


def test_the_gaussian_w2_is_the_matrix_formula_and_bounds_w1():
    A, B = (torch.randn(4, 4, generator=rng(seed), dtype=torch.float64) for seed in (0, 1))
    C1, C2, m1, m2 = A @ A.T, B @ B.T, A[0], B[0]
    root = torch.from_numpy(scipy.linalg.sqrtm((A @ A.T).numpy())).real
    middle = torch.from_numpy(scipy.linalg.sqrtm((root @ C2 @ root).numpy())).real
    expected = ((m1 - m2).square().sum() + (C1 + C2 - 2 * middle).trace()).sqrt()
    assert gaussian_w2(m1, C1, m2, C2) == pytest.approx(float(expected), rel=1e-9)
    assert gaussian_w2(m1, C1, m1, C1) <= 1e-6
    assert gaussian_w2(m1, 0 * C1, m2, 0 * C2) == pytest.approx(float((m1 - m2).norm()))
    x = torch.randn(400, 4, generator=rng(2), dtype=torch.float64)
    y = torch.randn(400, 4, generator=rng(3), dtype=torch.float64)
    sampled = wasserstein1(m1 + x @ A.T, m2 + y @ B.T).value
    assert sampled <= 1.1 * gaussian_w2(m1, C1, m2, C2)


@pytest.mark.parametrize("deviation", [0.0, 1.0, 2.7, 1e6])
@pytest.mark.parametrize("shift", [0.0, 1e-200, 1e-8, 1.0, 1e200])
@pytest.mark.parametrize("stretch", [0.0, 1e-9, 1.0])
def test_the_gaussian_w2_of_dilations_is_exact_and_never_below_the_shift(deviation, shift, stretch):
    """N(0, σ²I) and N(m, (1 + s)²σ²I): √(‖m‖² + d s²σ²)."""
    m, C = shift * torch.eye(3).double()[0], deviation**2 * torch.eye(3).double()
    found = gaussian_w2(0 * m, C, m, (1 + stretch) ** 2 * C)
    expected = math.hypot(shift, math.sqrt(3) * stretch * deviation)
    assert found == pytest.approx(expected, abs=1e-14 * deviation, rel=1e-12)
    assert found >= shift


ZERO, ONE = torch.zeros(2).double(), torch.eye(2).double()
BAD = [
    (lambda: funnel_pair(0, 4, seed=0), "dim must be positive, got 0"),
    (lambda: funnel_pair(2, -1, seed=0), "funnels must be positive"),
    (lambda: funnel_pair(2, 4, seed=0).sample(rng(), 0), "size must be positive"),
    (lambda: stored_pair(torch.zeros(3), torch.zeros(3)), r"centers must be .* numbers \[N, D\]"),
    (lambda: stored_pair(torch.zeros(3, 2), torch.zeros(4)), r"bias must be .* beside centers \[3, 2\]"),
    (lambda: stored_pair(torch.zeros(3, 2), torch.tensor([0, 0, torch.nan])), "bias must be finite, got 1"),
    (lambda: stored_pair(torch.zeros(3, 2), torch.tensor([0.0, 1, 0])), "different, got 3, of which 2 are"),
    (lambda: monte_carlo_w1(absolute_value_pair(), rng(), size=1), "draws must be at least two"),
    (lambda: cone_pair(torch.tensor([[0.0], [1.0]]), 0.6), "radius must be .* between apexes, 0.5"),
    (lambda: squares_pair(8, 9), "side must be at most the size of the image, 8, got 9"),
    (lambda: line_pair(norm(0, 1).ppf, norm(0, 2).ppf), "crossings must be every point"),
    (lambda: gaussian_w2(ZERO, -ONE, ZERO, ONE), "covariance_x must be .* got an eigenvalue -1"),
    (lambda: gaussian_w2(ZERO, ONE, ZERO, ONE + ONE[0]), "covariance_y must be symmetric"),
    (lambda: gaussian_w2(ZERO, ONE, ZERO, ONE * torch.nan), "covariance_y must be finite .* with NaN"),
    (lambda: gaussian_w2(ZERO, ONE[:1], ZERO, ONE), r"covariance_x must be .* \(2, 2\), .* \(1, 2\)"),
    (lambda: gaussian_w2(ZERO, ONE, ZERO, torch.eye(3)), r"covariance_y must be .* \(2, 2\), .* \(3, 3\)"),
    (lambda: gaussian_w2(ZERO, ONE[0], ZERO, ONE), r"covariance_x must be .* got shape \(2,\)"),
    (lambda: gaussian_w2(ZERO, ONE, torch.zeros(3), ONE), r"mean_y must be .* \(2,\), .* got shape \(3,\)"),
    (lambda: gaussian_w2(ONE, ONE, ONE, ONE), r"mean_x must be .* got shape \(2, 2\)"),
    (lambda: gaussian_w2(ZERO, ONE, ZERO * torch.nan, ONE), "mean_y must be finite .* with NaN"),
    (lambda: line_pair(norm(0, 1).ppf, norm(0, 2).ppf, crossings=(torch.nan,)), "crossings must be finite"),
    (lambda: line_pair(norm(0, 1).ppf, norm(0, 2).ppf, crossings=(1.0, 0.0)), "finite and ascending"),
    (lambda: cone_pair(torch.zeros(1, 2), 1.0, directions=2 * torch.eye(2)), "directions must be unit"),
    (lambda: cone_pair(torch.zeros(1, 2) * 1j, 1.0), "values must be real numbers"),
    (lambda: line_pair(cauchy(0, 1).ppf, cauchy(0, 2).ppf, (0.0,)), "quantiles must be .* finite means"),
    (lambda: line_pair(pareto(0.9).ppf, pareto(0.9, scale=2).ppf), "quantiles must be .* finite means"),
    (lambda: line_pair(pareto(1).ppf, pareto(1, scale=2).ppf), "quantiles must be .* got W1 = nan"),
    (lambda: line_pair(poisson(300).ppf, poisson(350).ppf), "quantiles must be smooth"),
    (lambda: funnel_pair(2, 4, seed=0).couple(ONE.long()), "y must be floating-point .* got torch.int64"),
    (lambda: funnel_pair(2, 4, seed=0).couple(2.51 * ONE), "y must be .* at most 2.5 .* 2 of 2 points"),
    (lambda: funnel_pair(2, 4, seed=0).couple(torch.nan * ONE), "y must be .* 2 of 2 points outside"),
    (lambda: wasserstein1(torch.tensor([[1 + 5j]]), torch.ones(1, 1)), "values must be real numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(ArgumentError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_many_samples_of_many_funnels_are_coupled_in_portions_that_change_nothing():
    pair = funnel_pair(dim=3, funnels=300, seed=0)
    y = pair.sample(torch.Generator().manual_seed(0), 4000).y
    whole, halves = pair.couple(y), [pair.couple(rows) for rows in y.split(2000)]
    for name in ("x", "gradient", "distance"):
        parts = torch.cat([getattr(half, name) for half in halves])
        torch.testing.assert_close(getattr(whole, name), parts, rtol=1e-12, atol=1e-12)
    assert whole.y is y
