"""Sorting activations: permutations, 1-Lipschitz, on the axis that is asked for."""

import pytest
import torch

from onelip.constraint.activation import FullSort, GroupSort, MaxMin
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
