"""Sorting activations: permutations, 1-Lipschitz, on the axis that is asked for."""

import pytest
import torch
from torch.autograd import forward_ad

from onelip.constraint.activation import FullSort, GroupSort, MaxMin
from onelip.constraint.sorting import sorted_rows
from onelip.errors import ArgumentError

ACTIVATIONS = [MaxMin(), GroupSort(3), FullSort(), MaxMin(axis=-1), GroupSort(2, axis=2)]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_jacobian_is_a_permutation(activation):
    x = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(activation, x).reshape(24, 24)
    torch.testing.assert_close(jacobian @ jacobian.T, torch.eye(24, dtype=torch.float64))
    assert ((jacobian == 0) | (jacobian == 1)).all()


@pytest.mark.parametrize("shape", [(3, 6), (3, 6, 5), (3, 6, 2, 2)])
def test_channels_are_sorted_and_nothing_else_moves(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(FullSort()(x), x.sort(1).values)
    torch.testing.assert_close(GroupSort(6)(x), FullSort()(x))
    pairs = x.unflatten(1, (3, 2)).sort(2, descending=True).values.flatten(1, 2)
    torch.testing.assert_close(MaxMin()(x), pairs)
    torch.testing.assert_close(GroupSort(2)(x).unflatten(1, (3, 2)).flip(2).flatten(1, 2), pairs)


def test_channels_that_do_not_divide_are_refused():
    with pytest.raises(ArgumentError, match=r"x.shape\[1\] must be a multiple of 2, got 5"):
        MaxMin()(torch.zeros(1, 5))
    with pytest.raises(ArgumentError, match="size must be a positive integer"):
        GroupSort(0)


def plain_sort(x):
    return x.sort(-1).values


ROWS = {
    "normal": torch.randn(5, 40, generator=torch.Generator().manual_seed(0)),
    "all of size": torch.randn(40, 7, generator=torch.Generator().manual_seed(1)).T
    * torch.logspace(-44, 37, 40),
    "ties and zeros": torch.randint(-2, 3, (6, 50), generator=torch.Generator().manual_seed(2)).float() * 0.0
    + torch.randint(-2, 3, (6, 50), generator=torch.Generator().manual_seed(2)),
    "more axes": torch.randn(2, 3, 17, generator=torch.Generator().manual_seed(3)),
    "infinite": torch.tensor([[1.0, -torch.inf, torch.inf, 0.0] * 5]),
    "not numbers": torch.tensor([[1.0, torch.nan, -torch.nan, 0.0] * 5]),
    "too long a sum": torch.full((2, 20), 3e38).cumsum(1).clamp_max(3e38) * torch.linspace(1, -1, 20),
    "short": torch.randn(4, 3, generator=torch.Generator().manual_seed(4)),
    "double": torch.randn(4, 30, generator=torch.Generator().manual_seed(5), dtype=torch.float64),
    "none": torch.zeros(0, 20),
}


@pytest.mark.parametrize("x", ROWS.values(), ids=ROWS)
def test_sorted_rows_are_those_of_torch(x):
    assert torch.equal(sorted_rows(x).nan_to_num(7.0), x.sort(-1).values.nan_to_num(7.0))


def test_a_penalty_passes_through_sorted_rows_twice():
    generator = torch.Generator().manual_seed(0)
    x, W = (torch.randn(shape, generator=generator) for shape in ((8, 20), (20, 20)))

    def penalty(sort):
        weight = W.clone().requires_grad_()
        point = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad((sort(point @ weight) ** 3).sum(), point, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), weight)[0]

    torch.testing.assert_close(penalty(sorted_rows), penalty(lambda x: x.sort(-1).values))


def test_what_looks_on_sees_a_sort():
    traced = torch.export.export(FullSort(), (torch.randn(2, 20),))
    assert any("sort" in str(node.target) for node in traced.graph.nodes)
    x = torch.randn(3, 5, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.vmap(sorted_rows)(x), x.sort(-1).values)


def test_any_number_of_channels_is_exported():
    channels = torch.export.Dim("channels", min=2)
    traced = torch.export.export(FullSort(), (torch.randn(2, 20),), dynamic_shapes={"x": {1: channels}})
    x = torch.randn(2, 5)
    assert torch.equal(traced.module()(x), x.sort(1).values)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, when forward mode loads
def test_tangents_are_sorted_along():
    x, t = torch.randn(2, 4, 20, generator=torch.Generator().manual_seed(0))
    with forward_ad.dual_level():
        pairs = [
            forward_ad.unpack_dual(sort(forward_ad.make_dual(x, t))) for sort in (FullSort(), plain_sort)
        ]
    assert torch.equal(pairs[0].tangent, pairs[1].tangent)


def test_zeros_keep_their_gradients_where_small_numbers_are_flushed():
    x = torch.zeros(1, 20, requires_grad=True)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor flushes nothing")
    try:
        (slope,) = torch.autograd.grad((FullSort()(x) * torch.arange(20.0)).sum(), x)
    finally:
        torch.set_flush_denormal(False)
    assert sorted(slope.flatten().tolist()) == list(range(20))


@pytest.mark.parametrize(("axis", "shape"), [(1, (20,)), (3, (4, 20)), (-3, (4, 20))])
def test_an_axis_that_is_not_there_is_refused(axis, shape):
    with pytest.raises(IndexError):
        FullSort(axis)(torch.randn(shape))
