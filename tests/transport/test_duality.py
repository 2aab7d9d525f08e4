"""Primal, dual and residual of candidates that are wrong by known amounts, in blocks of any size."""

import pytest
import torch

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
