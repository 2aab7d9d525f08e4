"""Fréchet, kernel and neighbourhood metrics against closed forms, plain code and published properties."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from onelip.errors import ArgumentError
from onelip.metrics import FeatureSet, features, frechet_distance, kernel_distance, neighbourhoods

METRICS = (frechet_distance, kernel_distance, lambda x, y: neighbourhoods(x, y, k=2))


def normal(n, d, seed, scale=1.0, shift=0.0):
    return scale * torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).double() + shift


def with_moments(mean, covariance, n=50):
    """Samples whose mean and unbiased covariance are exactly these."""
    x = normal(n, len(mean), 0)
    x = x - x.mean(0)
    whitening = torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (n - 1)))
    return x @ whitening.T @ torch.linalg.cholesky(covariance).T + mean


def covariance(d, seed):
    a = normal(d, d, seed)
    return a @ a.T + 0.1 * torch.eye(d)


@pytest.fixture(params=[1, 7, 2**20], ids="rows of {} numbers".format)
def _blocks(request, monkeypatch):
    monkeypatch.setattr(features, "BLOCK_NUMBERS", request.param)


def test_frechet_of_gaussians_with_one_basis_is_the_closed_form():
    a, b = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 4.0, 1.0]).double()
    shift = torch.tensor([1.0, -2.0, 2.0]).double()
    x, y = with_moments(0 * shift, a.diag()), with_moments(shift, b.diag())
    expected = 9 + (a.sqrt() - b.sqrt()).square().sum()
    assert frechet_distance(FeatureSet(x), FeatureSet(y)) == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("d", [1, 3, 20])
def test_frechet_agrees_with_the_matrix_square_root_of_scipy(d):
    means = normal(2, d, 1)
    c, e = covariance(d, 2), covariance(d, 3)
    x, y = with_moments(means[0], c), with_moments(means[1], e)
    root = scipy.linalg.sqrtm((c @ e).numpy()).real
    expected = float((means[0] - means[1]).square().sum() + c.trace() + e.trace()) - 2 * np.trace(root)
    assert frechet_distance(FeatureSet(x), FeatureSet(y)) == pytest.approx(expected, rel=1e-8)


def test_frechet_of_fewer_samples_than_features_is_finite_and_mostly_bias():
    few = frechet_distance(FeatureSet(normal(10, 40, 0)), FeatureSet(normal(10, 40, 1)))
    many = frechet_distance(FeatureSet(normal(4000, 40, 0)), FeatureSet(normal(4000, 40, 1)))
    assert few > 20 > 1 > many > 0


def cubic(a, b):
    return (float(a @ b) / len(a) + 1) ** 3


def mmd(x, y):
    """The unbiased estimate, written as its definition."""
    n, m = len(x), len(y)
    xx = sum(cubic(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(cubic(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(cubic(a, b) for a in x for b in y) / (n * m)


@pytest.mark.usefixtures("_blocks")
def test_kernel_distance_is_its_definition_and_its_error_the_jackknife():
    x, y = normal(6, 3, 0), normal(8, 3, 1, shift=0.5)
    found = kernel_distance(FeatureSet(x), FeatureSet(y))
    assert found.value == pytest.approx(mmd(x, y), rel=1e-10)
    without_x = [mmd(torch.cat([x[:i], x[i + 1 :]]), y) for i in range(6)]
    without_y = [mmd(x, torch.cat([y[:i], y[i + 1 :]])) for i in range(8)]
    variance = sum((len(left) - 1) * np.var(left) for left in (without_x, without_y))
    assert found.standard_error == pytest.approx(math.sqrt(variance), rel=1e-10)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("size", [1e3, 1e6, 1e12])
def test_one_row_far_out_takes_nothing_from_the_kernels_of_others(size):
    """Across from all others, so that only its kernel with itself is large."""
    x, y = normal(6, 3, 0), normal(8, 3, 1)
    x[:, 0], y[:, 0] = 0, 0
    x[2] = torch.tensor([size, 0, 0])
    assert kernel_distance(FeatureSet(x), FeatureSet(y)).value == pytest.approx(mmd(x, y), rel=1e-10)


@pytest.mark.parametrize(("shift", "most"), [(0.0, 1.8), (0.7, 1.3)], ids=["one law", "two laws"])
def test_kernel_distance_is_unbiased_and_its_error_is_not_too_small(shift, most):
    n, repeats = 60, 400
    draws = [
        kernel_distance(FeatureSet(normal(n, 2, 2 * i)), FeatureSet(normal(n, 2, 2 * i + 1, shift=shift)))
        for i in range(repeats)
    ]
    values = np.array([draw.value for draw in draws])
    stated = math.sqrt(np.mean([draw.standard_error**2 for draw in draws]))
    assert abs(values.mean() - population(shift)) < 4 * values.std() / math.sqrt(repeats)
    assert 0.9 * values.std() < stated < most * values.std()


def population(shift):
    """MMD² of N(0, I) and N(shift, I) in the plane by quadrature that is exact for the cubic kernel."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(6)
    points = np.array([(a, b) for a in nodes for b in nodes])
    w = np.array([a * b for a in weights for b in weights]) / (2 * np.pi)

    def mean(p, q):
        return w @ (p @ q.T / 2 + 1) ** 3 @ w

    moved = points + shift
    return mean(points, points) + mean(moved, moved) - 2 * mean(points, moved)


def reference_neighbourhoods(real, generated, k):
    """Kynkäänniemi et al. 2019, eq. 1–2, and Naeem et al. 2020, eq. 3–4, sample by sample."""

    def distance(a, b):
        return math.sqrt(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))

    def radius(points, i):
        return sorted(distance(points[i], p) for j, p in enumerate(points) if j != i)[k - 1]

    r, g = real.tolist(), generated.tolist()
    around_real = [radius(r, i) for i in range(len(r))]
    around_generated = [radius(g, i) for i in range(len(g))]
    inside = [[distance(a, b) <= s for b in g] for a, s in zip(r, around_real, strict=True)]
    reached = [[distance(a, b) <= s for b, s in zip(g, around_generated, strict=True)] for a in r]
    return (
        np.mean([any(column) for column in zip(*inside, strict=True)]),
        np.mean([any(row) for row in reached]),
        np.sum(inside) / (k * len(g)),
        np.mean([any(row) for row in inside]),
    )


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(("k", "d", "shift"), [(1, 2, 0.0), (3, 2, 1.0), (5, 10, 0.3), (2, 1, 3.0)])
def test_neighbourhoods_agree_with_plain_code(k, d, shift):
    real, generated = normal(23, d, 0), normal(31, d, 1, scale=0.8, shift=shift)
    found = neighbourhoods(FeatureSet(real), FeatureSet(generated), k)
    assert found == pytest.approx(reference_neighbourhoods(real, generated, k), abs=1e-12)


def clusters(n, seed, apart, scale):
    """Two of them; n samples in the plane."""
    return normal(n, 2, seed, scale) + torch.arange(n)[:, None].remainder(2) * apart


HARD = {
    "clusters far apart": (clusters(40, 0, 1e6, 1e-3), clusters(30, 1, 1e6, 1e-3)),
    "clusters in another place": (clusters(40, 0, -1e9, 1e-2), clusters(30, 1, 1e9, 1e-2)),
    "one sample far away": (torch.cat([normal(40, 3, 0), torch.full((1, 3), 1e15)]), normal(30, 3, 1)),
    "samples that occur twice": (normal(20, 3, 0, 7.0).repeat(2, 1), normal(10, 3, 1, 7.0).repeat(3, 1)),
    "radii of zero": (normal(6, 5, 0, 1e3).repeat(6, 1), normal(6, 5, 0, 1e3).repeat(5, 1)),
    "real ones among generated": (normal(40, 3, 0), torch.cat([normal(40, 3, 0)[::2], normal(9, 3, 1)])),
    "all equidistant": (torch.eye(30), 0.3 * torch.eye(30)),
    "whole numbers": (normal(40, 2, 0, 2.0).round(), normal(30, 2, 1, 2.0).round() + 0.5),
}


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("real", "generated"), HARD.values(), ids=HARD)
def test_neighbourhoods_of_clusters_and_ties_agree_with_plain_code(real, generated, k):
    found = neighbourhoods(FeatureSet(real), FeatureSet(generated), k)
    expected = reference_neighbourhoods(real.double(), generated.double(), k)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("n", "m", "k"), [(60, 60, 5), (40, 80, 3), (100, 50, 2)])
def test_neighbourhoods_of_one_law_have_the_published_expectations(n, m, k):
    """Density 1; coverage 1 − Π (n − i)/(n + m − i) (Naeem et al. 2020), whatever the law."""
    repeats = 300
    found = np.array(
        [
            neighbourhoods(FeatureSet(normal(n, 4, 2 * i)), FeatureSet(normal(m, 4, 2 * i + 1)), k)
            for i in range(repeats)
        ]
    )
    coverage = 1 - math.prod((n - i) / (n + m - i) for i in range(1, k + 1))
    error = 4 * found.std(0) / math.sqrt(repeats)
    assert abs(found[:, 3].mean() - coverage) < error[3]
    assert abs(found[:, 2].mean() - 1) < error[2]


@pytest.mark.parametrize(
    ("generated", "expected"),
    [
        ("far away", (0, 0, 0, 0)),
        ("the real ones", (1, 1, None, 1)),
        ("one real point, many times", (1, None, None, None)),
    ],
)
def test_neighbourhoods_of_known_cases(generated, expected):
    real = normal(50, 3, 0)
    sets = {"far away": real + 100, "the real ones": real}
    found = neighbourhoods(FeatureSet(real), FeatureSet(sets.get(generated, real[:1].expand(50, 3))), k=3)
    for value, known in zip(found, expected, strict=True):
        assert known is None or value == known
    if generated not in sets:
        assert found.recall <= 1 / 50
        assert found.coverage < 0.5


@pytest.mark.parametrize("offset", [1e4, 1e8])
def test_neighbourhoods_do_not_depend_on_where_the_origin_is(offset):
    real, generated = normal(300, 8, 0), normal(300, 8, 1)
    expected = neighbourhoods(FeatureSet(real), FeatureSet(generated))
    found = neighbourhoods(FeatureSet(real + offset), FeatureSet(generated + offset))
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("far", ["real", "generated"])
def test_one_sample_far_away_moves_no_other(far):
    sets = {"real": normal(100, 8, 0), "generated": normal(100, 8, 1)}
    sets[far][0] = 1e11
    found = neighbourhoods(*map(FeatureSet, sets.values()))
    assert found == pytest.approx(reference_neighbourhoods(*sets.values(), 5), abs=1e-12)


@pytest.mark.parametrize("metric", METRICS, ids=["frechet", "kernel", "neighbourhoods"])
def test_a_kept_reference_gives_the_numbers_of_a_fresh_one(metric):
    x, y, z = normal(20, 3, 0), normal(20, 3, 1), normal(20, 3, 2)
    reference = FeatureSet(y)
    metric(FeatureSet(x), reference)
    assert metric(FeatureSet(z), reference) == metric(FeatureSet(z), FeatureSet(y))
    assert metric(reference, FeatureSet(z)) == metric(FeatureSet(y), FeatureSet(z))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(3), r"must be \[n, d\]"),
        (torch.zeros(1, 3), "two samples at least, got 1: draw more samples"),
        (torch.zeros(4, 2, 2), r"must be \[n, d\].*: flatten them"),
        (torch.zeros(3, 2, dtype=torch.complex64), "real numbers, got complex ones"),
        (torch.zeros(3, 0), r"must be \[n, d\]"),
        (
            torch.tensor([[0.0], [math.nan], [math.inf]]),
            "finite and at most 1e[+]20 in size, got 2 of 3 samples",
        ),
        (torch.tensor([[0.0], [math.nan], [-math.inf]]).half(), "finite .* got 2 of 3 samples"),
    ],
)
def test_features_that_cannot_be_used_are_refused(values, message):
    with pytest.raises(ArgumentError, match=message):
        FeatureSet(values)


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.float16])
def test_features_of_every_real_kind_are_numbers(kind):
    values = torch.tensor([[0, 1], [1, 0], [1, 1]])
    assert torch.equal(FeatureSet(values.to(kind)).values, values.double())


@pytest.mark.parametrize("metric", METRICS, ids=["frechet", "kernel", "neighbourhoods"])
def test_features_of_two_spaces_are_refused(metric):
    with pytest.raises(ArgumentError, match="use one extractor for both"):
        metric(FeatureSet(normal(9, 2, 0)), FeatureSet(normal(9, 3, 0)))


def test_numbers_of_the_largest_size_overflow_nothing():
    x, y = (FeatureSet(normal(20, 3, seed).sign() * features.LARGEST) for seed in (0, 1))
    numbers = [frechet_distance(x, y), *kernel_distance(x, y), *neighbourhoods(x, y, k=2)]
    assert all(map(math.isfinite, numbers))


def test_too_few_samples_are_refused():
    x = FeatureSet(normal(2, 2, 0))
    with pytest.raises(ArgumentError, match="more than k = 2"):
        neighbourhoods(x, x, k=2)
    with pytest.raises(ArgumentError, match="at least three"):
        kernel_distance(x, x)


@pytest.mark.slow
def test_ten_thousand_by_ten_thousand_takes_seconds_and_little_memory():
    """The whole matrix of distances would be 763 MiB."""
    import resource
    import time

    x, y = FeatureSet(normal(10_000, 64, 0)), FeatureSet(normal(10_000, 64, 1))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    neighbourhoods(x, y)
    kernel_distance(x, y)
    assert time.process_time() - began < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 2**10
