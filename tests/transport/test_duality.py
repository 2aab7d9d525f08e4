"""Primal, dual and residual of candidates that are wrong by known amounts, in blocks of any size."""

import numpy as np
import pytest
import torch

from onelip.errors import ArgumentError
from onelip.transport import (
    Plan,
    dual,
    duality_gap,
    extend_potential,
    lipschitz_residual,
    primal,
    wasserstein1,
)
from onelip.transport import duality as duality_module
from onelip.transport.discrete import round_to_feasible

X, Y = (torch.randn(40, 3, generator=torch.Generator().manual_seed(seed)).double() for seed in (0, 1))
EQUAL = torch.full((40,), 1 / 40, dtype=torch.float64)


@pytest.fixture(params=[2**24, 100, 1], ids=["one block", "blocks of two rows", "blocks of one"])
def _block(request, monkeypatch):
    monkeypatch.setattr(duality_module, "_BLOCK", request.param)


@pytest.mark.usefixtures("_block")
@pytest.mark.parametrize(("slope", "residual"), [(0.5, 0), (1, 0), (-1, 0), (1.5, 0.5), (-3, 2)])
def test_the_residual_is_the_excess_over_the_largest_distance(slope, residual):
    t = torch.linspace(0, 10, 21, dtype=torch.float64)[:, None]
    assert lipschitz_residual(slope * t[:, 0], t) == pytest.approx(10 * residual, abs=1e-12)


@pytest.mark.usefixtures("_block")
def test_the_extension_is_the_largest_1_lipschitz_function_below_its_values():
    values = torch.randn(40, generator=torch.Generator().manual_seed(2)).double() * 3
    f = extend_potential(X, Y, values)
    torch.testing.assert_close(f, (values + (X[:, None] - Y).norm(dim=2)).amin(1), rtol=0, atol=1e-13)
    assert (extend_potential(Y, Y, values) <= values).all()
    assert lipschitz_residual(torch.cat([f, extend_potential(Y, Y, values)]), torch.cat([X, Y])) <= 1e-14


@pytest.mark.usefixtures("_block")
def test_values_as_critics_return_them_and_points_of_any_shape():
    values = 2 * X[:, :1]
    assert lipschitz_residual(values, X) == lipschitz_residual(values[:, 0], X) > 0
    assert lipschitz_residual(values.numpy(), X.reshape(40, 3, 1).numpy()) == lipschitz_residual(values, X)
    assert lipschitz_residual(np.array([0, 2, 6]), np.array([0, 1, 3])) == 3
    torch.testing.assert_close(extend_potential(Y, X, values), extend_potential(Y, X, values[:, 0]))


@pytest.mark.parametrize("exponent", [-1000, -500, 500, 1000])
def test_powers_of_two_change_no_bit(exponent):
    scale, values = 2.0**exponent, torch.randn(40, generator=torch.Generator().manual_seed(2)).double()
    x, y, v = scale * X, scale * Y, scale * values
    assert torch.equal(extend_potential(x, y, v), scale * extend_potential(X, Y, values))
    assert lipschitz_residual(v, y) == scale * lipschitz_residual(values, Y)
    product = Plan.of_dense(torch.outer(EQUAL, EQUAL))
    assert primal(product, x, y) == scale * primal(product, X, Y)


SETS = {
    "arrays": (X.numpy(), Y.numpy()[::-1]),
    "points on a line": (X[:, 0], Y[:30, 0]),
    "images": (X.reshape(20, 1, 2, 3), Y.reshape(20, 1, 2, 3)),
    "whole numbers": (torch.arange(12).reshape(6, 2), torch.arange(10).reshape(5, 2)),
    "float32 and whole numbers": (X.float(), torch.arange(30).reshape(10, 3)),
    "half precision": (X.half(), Y.half()),
}


@pytest.mark.parametrize(("x", "y"), SETS.values(), ids=SETS)
def test_the_potential_extends_from_what_transport_takes(x, y):
    result = wasserstein1(x, y)
    torch.testing.assert_close(
        extend_potential(x, y, result.potential_y), result.potential_x, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.int64], ids=str)
def test_the_residual_of_what_transport_takes(kind):
    t = torch.tensor([0, 1, 3], dtype=kind)
    assert lipschitz_residual(2 * t, t) == 3
    fine = torch.tensor([0.0, 1.0, 3.0 + 1e-12], dtype=torch.float64)
    assert lipschitz_residual(fine, t) == pytest.approx(1e-12, rel=1e-3)  # not in the narrower dtype


BAD = [
    (lambda: lipschitz_residual(X, X), r"values must be one number .* 40 samples, \(40,\) or \(40, 1\), got"),
    (lambda: lipschitz_residual(X[:7, 0], X), r"values must be .* got shape \(7,\)"),
    (lambda: lipschitz_residual(X[:0, 0], X[:0]), "points must be at least one sample"),
    (lambda: extend_potential(X, Y, X), r"values must be .* got shape \(40, 3\)"),
    (lambda: extend_potential(X, Y[:7], X[:, 0]), r"values must be .* 7 samples"),
    (lambda: extend_potential(X, Y[:0], X[:0, 0]), "anchors must be at least one sample"),
    (lambda: extend_potential(X, Y[:, :2], X[:, 0]), "points must be of the dimension of anchors, 2"),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(ArgumentError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_any_plan_and_any_potential_bracket_the_distance():
    result = wasserstein1(X, Y)
    product = Plan.of_dense(torch.outer(EQUAL, EQUAL))
    assert primal(product, X, Y) > result.value
    f_x, f_y = X[:, 0], Y[:, 0]
    assert dual(f_x, f_y, EQUAL, EQUAL) < result.value
    assert duality_gap(product, f_x, f_y, X, Y) == pytest.approx(
        primal(product, X, Y) - dual(f_x, f_y, EQUAL, EQUAL), abs=1e-12
    )
    assert duality_gap(result.plan, result.potential_x, result.potential_y, X, Y) == pytest.approx(
        0, abs=1e-12
    )


def test_rounding_meets_the_marginals_and_moves_no_more_than_they_are_off():
    a, b = (torch.rand(6, generator=torch.Generator().manual_seed(seed)).double() for seed in (3, 4))
    a, b = a / a.sum(), b / b.sum()
    rough = torch.rand(6, 6, generator=torch.Generator().manual_seed(5)).double() / 36
    plan = round_to_feasible(rough, a, b)
    torch.testing.assert_close(plan.sum(1), a)
    torch.testing.assert_close(plan.sum(0), b)
    off = (rough.sum(1) - a).abs().sum() + (rough.sum(0) - b).abs().sum()
    assert (plan - rough).abs().sum() <= 2 * off


@pytest.mark.parametrize("seed", range(5))
def test_no_rounded_plan_has_negative_mass(seed):
    """A plan of the right marginals misses rounding errors of either sign, its zeros among them."""
    plan = torch.rand(40, 40, generator=torch.Generator().manual_seed(seed)).double().triu()
    plan = plan / plan.sum()
    assert (round_to_feasible((1 + 1e-15) * plan, plan.sum(1), plan.sum(0)) >= 0).all()
