"""Orthogonal weights against the dense matrix of the layer: at the start, after steps, for every geometry."""

import pytest
import torch
from torch import nn

from onelip.constraint.apply import constrain
from onelip.constraint.bake import bake
from onelip.constraint.polar import polar_factor
from onelip.errors import ArgumentError
from onelip.linear.layers import linear_map

CIRCULAR = {"padding_mode": "circular"}
EXACT = [
    (lambda: nn.Linear(8, 8), (8,)),
    (lambda: nn.Linear(9, 4), (9,)),
    (lambda: nn.Linear(4, 9), (4,)),
    (lambda: nn.Conv1d(4, 4, 5, dilation=2, padding=4, groups=2, **CIRCULAR), (4, 9)),
    (lambda: nn.Conv2d(4, 4, 3, padding=1, **CIRCULAR), (4, 6, 6)),
    (lambda: nn.Conv2d(4, 8, 3, padding=1, **CIRCULAR), (4, 6, 5)),
    (lambda: nn.Conv2d(8, 4, 3, padding="same", **CIRCULAR), (8, 5, 6)),
    (lambda: nn.Conv2d(1, 16, 4, 2, 1, **CIRCULAR), (1, 6, 6)),
    (lambda: nn.Conv2d(4, 6, 4, 2, 1, **CIRCULAR), (4, 6, 6)),
    (lambda: nn.Conv2d(4, 6, 2, 2), (4, 6, 6)),
    (lambda: nn.ConvTranspose2d(6, 4, 2, 2), (6, 3, 3)),
    (lambda: nn.Conv3d(2, 3, 2, padding="same", **CIRCULAR), (2, 3, 3, 3)),
]
AT_MOST_ONE = [
    (lambda: nn.Conv2d(4, 4, 3, padding=1), (4, 6, 6)),
    (lambda: nn.Conv2d(3, 5, 4, 2, 1), (3, 7, 8)),
    (lambda: nn.Conv2d(2, 9, 1, stride=2), (2, 5, 5)),
    (lambda: nn.Conv1d(3, 4, 3, dilation=3), (3, 12)),
    (lambda: nn.ConvTranspose2d(6, 4, 4, 2, 1, output_padding=1), (6, 4, 4)),
    (lambda: nn.Conv2d(1, 8, 3, 2, 1), (1, 8, 8)),
    (lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8), (8, 5, 5)),
    (lambda: nn.ConvTranspose2d(8, 1, 3, 2), (8, 4, 4)),
]


def singular_values(layer: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    weight = layer.weight.detach().double()
    return torch.linalg.svdvals(linear_map(layer, shape, weight).dense())


def stepped(layer: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """After ten steps of an optimizer on a loss that pulls the layer far from where it was."""
    x = torch.ones(4, *shape, dtype=layer.weight.dtype)
    goal = torch.randn_like(layer(x))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(10):
        optimizer.zero_grad()
        (layer(x) - 5 * goal).square().mean().backward()
        optimizer.step()
    return layer


@pytest.fixture(params=EXACT, ids=lambda case: str(case[0]()))
def exact(request):
    make, shape = request.param
    torch.manual_seed(0)
    return constrain(make(), "orthogonal", input_shape=shape), shape


@pytest.mark.parametrize("after", [lambda layer, shape: layer, stepped], ids=["at the start", "after steps"])
def test_all_singular_values_are_one(exact, after):
    sigma = singular_values(after(*exact), exact[1])
    torch.testing.assert_close(sigma, torch.ones_like(sigma), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "shape"), AT_MOST_ONE, ids=lambda case: str(case() if callable(case) else case)
)
def test_where_orthogonality_is_impossible_no_singular_value_exceeds_one(make, shape):
    torch.manual_seed(0)
    layer = constrain(make().double(), "orthogonal")
    for _ in range(2):
        sigma = singular_values(layer, shape)
        assert sigma.max() <= 1 + 1e-12
        assert sigma.max() > 0.7
        stepped(layer, shape)


@pytest.mark.parametrize(
    ("make", "shape"),
    [(lambda: nn.Linear(6, 4), (6,)), (lambda: nn.Conv2d(2, 3, 2, 2), (2, 4, 4))],
    ids=["linear", "convolution whose windows do not overlap"],
)
def test_starts_at_the_nearest(make, shape):
    """No orthogonal matrix is nearer than the polar factor, random ones from its neighbourhood included."""
    torch.manual_seed(0)
    layer = make().double()
    given = layer.weight.detach().flatten(1).clone()
    start = constrain(layer, "orthogonal", input_shape=shape).weight.detach().flatten(1)
    distance = (start - given).norm()
    for scale in (0.01, 0.1, 1.0):
        for _ in range(20):
            other = polar_factor(start + scale * torch.randn_like(start))
            assert (other - given).norm() >= distance - 1e-12


def test_a_convolution_starts_much_nearer_than_its_middle():
    """The cosine with the given kernel, which that of default weights' middle tap alone is a third of."""
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 3, padding=1, **CIRCULAR)
    given = layer.weight.detach().flatten()
    start = constrain(layer, "orthogonal", input_shape=(8, 6, 6)).weight.detach().flatten()
    assert torch.cosine_similarity(start, given, dim=0) > 0.5


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e10])
def test_a_convolution_that_is_orthogonal_starts_as_it_is(scale):
    layer = nn.Conv2d(4, 4, 3, padding=1, bias=False)
    torch.nn.init.orthogonal_(layer.weight.data[:, :, 1, 1])
    layer.weight.data[:, :, [0, 2]] = layer.weight.data[:, :, :, [0, 2]] = 0
    given = layer.weight.detach().clone()
    layer.weight.data *= scale
    torch.testing.assert_close(constrain(layer, "orthogonal").weight, given, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "shape"),
    [case for case in (*EXACT, *AT_MOST_ONE) if len(case[1]) > 1],
    ids=lambda case: str(case() if callable(case) else case),
)
def test_a_kernel_is_contained_and_a_larger_one_is_not(make, shape):
    layer = constrain(make(), "orthogonal", input_shape=shape)
    constraint, weight = layer.parametrizations.weight[0], layer.weight.detach()
    assert constraint.contains(weight, atol=0.02)
    assert not constraint.contains(1.5 * weight, atol=0.02)


@pytest.mark.parametrize("shape", [(4, 4), (2, 5, 3), (3, 6)])
def test_derivative_of_the_polar_factor(shape):
    torch.manual_seed(0)
    W = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(polar_factor, (W,))


@pytest.mark.parametrize("shape", [(4, 4), (4, 2), (2, 4)])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-40, 0.0])
def test_a_singular_or_tiny_matrix_has_a_polar_factor_and_a_finite_gradient(shape, scale):
    W = torch.zeros(shape)
    W[0, 0] = scale
    W.requires_grad_()
    Q = polar_factor(W)
    (Q * torch.arange(float(Q.numel())).reshape(shape)).sum().backward()
    torch.testing.assert_close(torch.linalg.svdvals(Q), torch.ones(min(shape)))
    assert W.grad.isfinite().all()


def test_transforms_of_torch_func_are_refused_and_take_what_bake_returns():
    layer = constrain(nn.Linear(3, 3), "orthogonal")
    x = torch.randn(2, 3)
    jacobians = torch.func.vmap(torch.func.jacrev(bake(layer)))(x)
    torch.testing.assert_close(jacobians, layer.weight.expand(2, 3, 3), rtol=1e-3, atol=1e-3)
    with pytest.raises(ArgumentError, match=r"outside the transforms of torch\.func.*bake"):
        torch.func.vmap(torch.func.jacrev(layer))(x)


def test_contains_says_whether_all_singular_values_meet_the_target():
    layer = constrain(nn.Linear(5, 3), "orthogonal", target=2.0)
    constraint, weight = layer.parametrizations.weight[0], layer.weight.detach()
    assert constraint.contains(weight)
    assert not constraint.contains(weight + 0.1 * torch.eye(3, 5))


def test_target_scales_all_singular_values():
    layer = constrain(nn.Linear(5, 5), "orthogonal", target=0.5)
    torch.testing.assert_close(
        singular_values(layer, (5,)), torch.full((5,), 0.5).double(), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (
            nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
            (2, 6, 6),
            "padding_mode must be zeros or circular",
        ),
        (nn.Conv2d(2, 2, 3, stride=2, dilation=2), (2, 9, 9), "dilation must be 1"),
        (nn.Conv1d(2, 2, 3, padding=2, **CIRCULAR), (2, 6), "padding must be so small"),
        (nn.Conv1d(2, 2, 4, stride=2, padding=1, **CIRCULAR), (2, 7), "padding must be so small"),
        (nn.Conv1d(2, 2, 3, padding=1, **CIRCULAR), None, "input_shape must be given"),
    ],
)
def test_what_cannot_be_orthogonal_is_refused(layer, shape, message):
    with pytest.raises(ArgumentError, match=message):
        constrain(layer, "orthogonal", input_shape=shape)
