"""W₁ between samples against linear programming, POT, SciPy and the axioms of a metric."""

import numpy as np
import ot
import pytest
import scipy.optimize
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onelip.errors import ArgumentError
from onelip.transport import discrete, lipschitz_residual, sliced_wasserstein1, wasserstein1
from onelip.transport.duality import extend_potential
from onelip.transport.samples import distances


def gaussian(n, *shape, seed=0):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def simplex(n, seed):
    draws = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    draws[0] = 0  # a sample without weight must not disturb the rest
    return draws / draws.sum()


def linear_program(x, y, a, b):
    """W₁ by SciPy's linprog on the n·m variables of the plan."""
    n, m = len(a), len(b)
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    cost = np.linalg.norm(x[:, None] - y[None], axis=-1).ravel()
    solved = scipy.optimize.linprog(cost, A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([a, b]))
    assert solved.success
    return solved.fun


CASES = {
    "a line": (gaussian(7, 1), gaussian(9, 1, seed=1), None, None),
    "a weighted line": (gaussian(7, 1), gaussian(9, 1, seed=1), simplex(7, 2), simplex(9, 3)),
    "n against n": (gaussian(8, 3), gaussian(8, 3, seed=1), None, None),
    "n against m": (gaussian(6, 3), gaussian(9, 3, seed=1), None, None),
    "weighted": (gaussian(8, 3), gaussian(8, 3, seed=1), simplex(8, 2), simplex(8, 3)),
    "ties": (gaussian(8, 2).round(), gaussian(8, 2, seed=1).round(), None, None),
    "one point each": (gaussian(1, 4), gaussian(1, 4, seed=1), None, None),
    "equal sets": (gaussian(6, 2), gaussian(6, 2).flip(0), None, None),
    "all one point": (torch.zeros(4, 2), torch.zeros(5, 2), None, None),
}


@pytest.fixture(params=CASES, ids=str)
def case(request):
    x, y, a, b = CASES[request.param]
    a = torch.full((len(x),), 1 / len(x), dtype=torch.float64) if a is None else a
    b = torch.full((len(y),), 1 / len(y), dtype=torch.float64) if b is None else b
    return x.double(), y.double(), a, b


def test_exact_is_the_linear_program_with_plan_and_potential_to_prove_it(case):
    x, y, a, b = case
    result = wasserstein1(x, y, a, b)
    assert result.value == pytest.approx(linear_program(*(t.numpy() for t in case)), abs=1e-9)
    assert abs(result.gap) <= 1e-12
    assert_feasible(result, case)


@pytest.mark.parametrize("method", ["entropic", "sliced"])
def test_the_other_methods_bracket_the_exact_value(case, method):
    x, y, a, b = case
    exact = wasserstein1(x, y, a, b).value
    result = wasserstein1(x, y, a, b, method)
    assert result.value - result.gap - 1e-12 <= exact <= result.value + 1e-12
    assert_feasible(result, case)


def assert_feasible(result, case):
    x, y, a, b = case
    leaves, arrives = result.plan.marginals()
    torch.testing.assert_close(leaves, a, rtol=0, atol=1e-14)
    torch.testing.assert_close(arrives, b, rtol=0, atol=1e-14)
    assert (result.plan.mass >= 0).all()
    f = torch.cat([result.potential_x, result.potential_y])
    assert lipschitz_residual(f, torch.cat([x, y])) <= 1e-14


def test_entropic_comes_close_and_closer_for_less_entropy():
    x, y = gaussian(60, 3), gaussian(50, 3, seed=1)
    exact = wasserstein1(x, y).value
    coarse, fine = (wasserstein1(x, y, method="entropic", epsilon=epsilon) for epsilon in (0.2, 0.02))
    assert exact < fine.value < 1.02 * exact < coarse.value
    assert fine.gap < 0.03 * exact < coarse.gap


def test_stopping_sinkhorn_early_widens_the_gap_and_breaks_nothing():
    x, y = gaussian(30, 3), gaussian(20, 3, seed=1) + 1
    early = wasserstein1(x, y, method="entropic", epsilon=0.02, max_iterations=1)
    late = wasserstein1(x, y, method="entropic", epsilon=0.02)
    exact = wasserstein1(x, y).value
    assert early.value - early.gap <= exact <= early.value
    assert early.gap > late.gap


def test_sliced_needs_many_samples_and_no_matrix():
    x, y = gaussian(20_000, 2), gaussian(30_000, 2, seed=1) + 3
    result = wasserstein1(x, y, method="sliced", projections=8)
    assert len(result.plan.mass) < 50_000
    assert result.value - result.gap <= 3 * 2**0.5 + 0.05
    assert result.value >= 3 * 2**0.5 - 0.05


@pytest.mark.parametrize("weighted", [False, True])
def test_a_line_agrees_with_scipy(weighted):
    x, y = gaussian(300), gaussian(200, seed=1).exp()
    a, b = (simplex(300, 2), simplex(200, 3)) if weighted else (None, None)
    expected = scipy.stats.wasserstein_distance(x, y, a, b)
    assert wasserstein1(x, y, a, b).value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", [(40, 40), (40, 55)])
def test_the_plan_costs_what_pots_does(size):
    x, y = gaussian(size[0], 5), gaussian(size[1], 5, seed=1)
    assert wasserstein1(x, y).value == pytest.approx(ot.emd2([], [], distances(x, y).numpy()), abs=1e-12)


SIZES = pytest.mark.parametrize(
    "size", [(30, 1), (20, 3), (30, 3)], ids=["a line", "n against m", "n against n"]
)


@pytest.mark.parametrize("exponent", [-300, -200, -160, *range(-30, 31, 5), 155, 200, 300])
@SIZES
def test_exact_is_exact_at_any_scale(exponent, size):
    x, y, scale = gaussian(*size), gaussian(30, size[1], seed=1), 10.0**exponent
    scaled = wasserstein1(scale * x, scale * y)
    assert scaled.value / scale == pytest.approx(wasserstein1(x, y).value, rel=1e-12)
    assert abs(scaled.gap) / scale <= 1e-12


@pytest.mark.parametrize("exponent", [-700, -1, 1, 700])
@pytest.mark.parametrize("method", ["exact", "entropic", "sliced"])
@SIZES
def test_powers_of_two_change_no_bit(size, method, exponent):
    x, y, scale = gaussian(*size), gaussian(30, size[1], seed=1), 2.0**exponent
    found, scaled = (wasserstein1(c * x, c * y, method=method) for c in (1, scale))
    assert (scaled.value, scaled.gap) == (scale * found.value, scale * found.gap)
    assert torch.equal(scaled.potential_x, scale * found.potential_x)
    assert torch.equal(scaled.plan.mass, found.plan.mass)
    one, other = sliced_wasserstein1(x, y), sliced_wasserstein1(scale * x, scale * y)
    assert other == (scale * one.value, scale * one.standard_error)


@pytest.mark.parametrize("sets", [1, 2], ids=["n against n", "n against m"])
def test_a_way_too_short_to_be_squared_is_counted(sets):
    x, y = torch.zeros(2, 2).double(), torch.zeros(2 * sets, 2).double()
    x[1], y[sets:] = 1, 1
    y[:sets, 0] = 1e-200
    result = wasserstein1(x, y)
    assert result.value - result.gap <= 0.5e-200 <= result.value * (1 + 1e-15)


def test_a_simplex_that_stops_early_is_said_not_returned(monkeypatch):
    monkeypatch.setattr(discrete, "_SIMPLEX_ITERATIONS", 2)
    with pytest.raises(ArgumentError, match=r"method must be one that ends .* 20 against 30: use method"):
        wasserstein1(gaussian(20, 3), gaussian(30, 3, seed=1))


def test_sliced_wasserstein_agrees_with_pot():
    x, y = gaussian(100, 3), gaussian(80, 3, seed=1) + 0.5
    ours = sliced_wasserstein1(x, y, projections=400)
    theirs = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), n_projections=4000, p=1, seed=0)
    assert abs(ours.value - theirs) < 4 * ours.standard_error
    assert ours.value < wasserstein1(x, y).value


def test_one_projection_has_no_standard_error():
    with pytest.raises(ArgumentError, match="projections must be at least two, got 1"):
        sliced_wasserstein1(torch.zeros(3, 2), torch.ones(3, 2), projections=1)


def test_tensors_arrays_and_any_shape_give_the_same():
    x, y = gaussian(5, 2, 3), gaussian(6, 2, 3, seed=1)
    expected = wasserstein1(x, y).value
    read_only = x.numpy().copy()
    read_only.flags.writeable = False
    assert wasserstein1(read_only, y.numpy()[::-1]).value == pytest.approx(expected, abs=1e-12)
    assert wasserstein1(x.flatten(1).requires_grad_(), y.flatten(1)).value == expected
    assert wasserstein1(x.float(), y.float()).value == pytest.approx(expected, rel=1e-6)
    assert wasserstein1(np.array([0, 1]), torch.tensor([2, 3])).value == 2


def test_the_extended_potential_agrees_on_the_samples_and_is_1_lipschitz_everywhere():
    x, y, z = gaussian(30, 3), gaussian(40, 3, seed=1), 3 * gaussian(200, 3, seed=2)
    result = wasserstein1(x, y)
    torch.testing.assert_close(extend_potential(x, y, result.potential_y), result.potential_x)
    torch.testing.assert_close(extend_potential(y, y, result.potential_y), result.potential_y)
    everywhere = torch.cat([x, y, z])
    f = extend_potential(everywhere, y, result.potential_y)
    assert lipschitz_residual(f, everywhere) <= 1e-14
    z = z.requires_grad_()
    (gradient,) = torch.autograd.grad(extend_potential(z, y, result.potential_y).sum(), z)
    torch.testing.assert_close(gradient.norm(dim=1), torch.ones(200, dtype=torch.float64))


coordinates = st.floats(-10, 10, allow_subnormal=False)
point_sets = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(2)), elements=coordinates)
lines = hnp.arrays(np.float64, st.integers(1, 8), elements=coordinates)
brief = settings(max_examples=40, deadline=None, derandomize=True)


@brief
@given(point_sets, point_sets)
def test_the_gap_closes_for_any_samples(x, y):
    result = wasserstein1(x, y)
    assert abs(result.gap) <= 1e-9
    assert result.value >= 0


@brief
@given(lines, lines)
def test_a_line_is_the_plane_with_one_coordinate_zero(x, y):
    on_line, in_plane = wasserstein1(x, y), wasserstein1(np.c_[x, 0 * x], np.c_[y, 0 * y])
    assert on_line.value == pytest.approx(in_plane.value, abs=1e-9)
    assert abs(on_line.gap) <= 1e-9


@brief
@given(point_sets, point_sets, point_sets)
def test_it_is_a_metric(x, y, z):
    xy, yz, xz = wasserstein1(x, y).value, wasserstein1(y, z).value, wasserstein1(x, z).value
    assert xz <= xy + yz + 1e-9
    assert wasserstein1(y, x).value == pytest.approx(xy, abs=1e-9)
    assert wasserstein1(x, x[::-1]).value <= 1e-12
    farthest = np.linalg.norm(x[:, None] - y[None], axis=-1).max()
    assert np.linalg.norm(x.mean(0) - y.mean(0)) - 1e-9 <= xy <= farthest + 1e-9


@brief
@given(point_sets, hnp.arrays(np.float64, 2, elements=coordinates), st.floats(-5, 5))
def test_it_moves_and_scales_with_its_samples(x, shift, factor):
    y = x[::-1] * 0.5 + 1
    value = wasserstein1(x, y).value
    assert wasserstein1(x, x + shift).value == pytest.approx(np.linalg.norm(shift), abs=1e-9)
    assert wasserstein1(x + shift, y + shift).value == pytest.approx(value, abs=1e-9)
    assert wasserstein1(factor * x, factor * y).value == pytest.approx(abs(factor) * value, abs=1e-9)


X = torch.zeros(3, 2)
BAD = [
    ({"y": torch.zeros(3, 4)}, "y must be of the dimension of x, 2 numbers a sample, got 4"),
    ({"x": torch.zeros(0, 2)}, r"x must be at least one sample along the first axis, got shape \(0, 2\)"),
    ({"y": np.zeros((3, 0))}, "y must be at least one sample"),
    ({"x": torch.tensor(1.0)}, "x must be at least one sample"),
    ({"x": torch.tensor([[0.0, float("nan")]])}, "x must be finite, got 1 NaN or infinite of 2 numbers"),
    ({"y": np.array([[0.0, np.inf]])}, "y must be finite"),
    ({"x_weights": torch.tensor([0.5, 0.6, -0.1])}, "x_weights must be non-negative and of sum one"),
    ({"y_weights": np.array([0.5, 0.6, 0.1])}, "y_weights must be .* of sum one, got .* sum 1.2"),
    ({"y_weights": np.array([0.5, 0.5])}, "y_weights must be one weight for each of 3 samples"),
    ({"x_weights": np.array([0.5, 0.5, np.nan])}, "x_weights must be finite"),
    ({"method": "entropic", "epsilon": 0.0}, "epsilon must be positive"),
    ({"method": "entropic", "max_iterations": 0}, "max_iterations must be positive"),
    ({"method": "sliced", "projections": 0}, "projections must be positive"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_input_is_one_clear_line(arguments, message):
    with pytest.raises(ArgumentError, match=message) as error:
        wasserstein1(**{"x": X, "y": X, **arguments})
    assert "\n" not in str(error.value)


def test_too_little_entropy_is_said_not_returned():
    x, y = gaussian(20, 2), 50 + gaussian(20, 2)
    x[0] = -1e4
    with pytest.raises(ArgumentError, match="epsilon must be large enough"):
        wasserstein1(x, y, method="entropic", epsilon=1e-4)
