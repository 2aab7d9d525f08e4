"""Ellipsoids against the definition that they claim, proofs of semidefiniteness against eigenvalues."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from onelip.certificate import slopes
from onelip.certificate.certify import certify
from onelip.certificate.ellipsoid import Matrix, proves_semidefinite, start, through_layer, through_output
from tests.certificate.functions import Function

SLOPES = [
    slopes.ZERO_TO_ONE, slopes.leaky_relu(0.3), slopes.leaky_relu(-0.4), slopes.gelu(), slopes.SIGMOID,
    slopes.elu(1.5),
]  # fmt: skip


def random(*shape, seed):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 10_000), n=st.integers(1, 6), shift=st.floats(-1e-9, 1e-9))
@settings(max_examples=60, deadline=None)
def test_what_is_proved_semidefinite_has_no_negative_eigenvalue(seed, n, shift):
    A = random(n, n, seed=seed)
    A = A @ A.T + shift * torch.eye(n, dtype=torch.float64)
    A[-1] = A[0]  # singular, so that the shift decides
    A[:, -1] = A[:, 0]
    if proves_semidefinite(A, doubt=0.0):
        assert torch.linalg.eigvalsh(A).min() >= -1e-14 * n * A.norm()


def test_semidefiniteness_is_proved_with_room_and_refused_without():
    eye = torch.eye(3, dtype=torch.float64)
    assert proves_semidefinite(eye, doubt=0.5)
    assert not proves_semidefinite(eye, doubt=1.0)
    assert not proves_semidefinite(-eye, doubt=0.0)


@given(seed=st.integers(0, 10_000), widths=st.lists(st.integers(1, 6), min_size=3, max_size=5),
       kind=st.sampled_from(SLOPES), size=st.sampled_from([1e-3, 1.0, 40.0]))  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_no_choice_of_slopes_leaves_the_ellipsoid_or_exceeds_the_bound(seed, widths, kind, size):
    """φ acts on a difference as a diagonal matrix with entries in [low, high]: all of them are drawn from."""
    state, product = start(widths[0], 1.0), 1.0
    differences = random(widths[0], 64, seed=seed)
    differences /= differences.norm(dim=0)
    for i, (n, m) in enumerate(pairwise(widths[:-1])):
        W = size * random(m, n, seed=seed + i + 1)
        diagonal = torch.rand((m, 64), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        differences = (kind.low + (kind.high - kind.low) * diagonal.round()) * (W @ differences)
        product *= kind.lipschitz * torch.linalg.matrix_norm(W, 2).item()
        state = through_layer(state, Matrix(W), kind)
        assert state is not None
        assert ((differences * (state.P @ differences)).sum(0) <= state.scale**2 * (1 + 1e-9)).all()
    W = size * random(widths[-1], widths[-2], seed=seed + 99)
    bound = through_output(state, Matrix(W))
    assert bound is not None
    assert (W @ differences).norm(dim=0).max() <= bound
    assert bound <= product * torch.linalg.matrix_norm(W, 2).item() * (1 + 1e-4)


def test_an_uncertain_matrix_costs_exactly_its_error():
    exact = through_output(start(3, 1.0), Matrix(torch.eye(3, dtype=torch.float64)))
    uncertain = through_output(start(3, 1.0), Matrix(torch.eye(3, dtype=torch.float64), error=1e-6))
    assert exact is not None
    assert uncertain is not None
    assert 1 <= exact < 1 + 1e-6 <= uncertain < 1 + 1e-4


@pytest.mark.parametrize("kind", [slopes.MINUS_ONE_TO_ONE, slopes.hull(-1.0, 0.5), slopes.hull(1.0, 1.0)])
def test_slopes_that_the_form_does_not_cover_give_no_ellipsoid(kind):
    assert through_layer(start(2, 1.0), Matrix(torch.eye(2, dtype=torch.float64)), kind) is None


def test_a_dense_relu_network_gets_less_than_the_product_and_says_how():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    certificate = certify(network, (8,), starts=1, steps=20)
    product = math.prod(torch.linalg.matrix_norm(layer.weight, 2).item() for layer in network[::2])
    assert certificate.method == "ellipsoid (ECLipsE-Fast)"
    assert certificate.lower <= certificate.upper <= 0.8 * product


@pytest.mark.parametrize(
    "activation",
    [nn.LeakyReLU(1 - 1e-11), Function(lambda x: torch.ops.aten.elu(x, 1.0, 1e-200))],
    ids=["nearly one slope", "nearly none"],
)
def test_slopes_at_the_end_of_what_can_be_proved_give_no_ellipsoid(activation):
    layer = nn.Linear(2, 2)
    layer.weight.data = torch.eye(2)
    assert 0 < certify(nn.Sequential(layer, activation), (2,), starts=0).upper < 1 + 1e-4
