"""The weight that is made once and handed out again: while it is right, and with the right derivative."""

import copy
import pickle
import weakref

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import remove_parametrizations

from onelip.constraint.apply import constrain, refresh
from onelip.constraint.shared import Division, Part, Shared, divide
from tests.constraint.test_spectral import norm, raw

MODES = pytest.mark.parametrize("mode", [True, False], ids=["training", "eval"])
ROWS = pytest.mark.parametrize("rows", [5, 1], ids=["matrix", "vector"])
INPLACE = "modified by an inplace operation"


def linear(rows: int = 5, **options) -> nn.Linear:
    torch.manual_seed(0)
    return constrain(nn.Linear(6, rows), "spectral", **options)


def score(layer: nn.Module) -> torch.Tensor:
    return layer(torch.linspace(-1, 2, 6)).sum()


def gradient(layer: nn.Linear) -> torch.Tensor:
    raw(layer).grad = None
    score(layer).backward()
    return raw(layer).grad


@MODES
@ROWS
def test_the_same_tensor_is_handed_out_while_nothing_changes(mode, rows):
    layer = linear(rows).train(mode)
    weight = layer.weight
    assert layer.weight is weight
    assert layer.train(not mode).weight is not weight
    with torch.no_grad():
        assert not layer.weight.requires_grad
    assert layer.weight.requires_grad


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_first_and_second_derivatives_against_differences(soft, scale):
    weight = nn.Parameter(scale * torch.eye(3, dtype=torch.float64) + 0.1)
    slope = torch.zeros(9, dtype=torch.float64)
    slope[:2] = torch.tensor([0.9, 0.3])
    division = Division(slope, slope.new_zeros(()), 0.7, soft)

    def made(weight):
        return divide([Part(Shared(), weight, True, division)])[0]

    torch.autograd.gradcheck(made, weight)
    torch.autograd.gradgradcheck(made, weight)
    torch.testing.assert_close(made(weight), division(weight))


@MODES
@ROWS
@pytest.mark.parametrize("soft", [True, False])
def test_the_derivative_is_that_of_plain_operations(mode, rows, soft):
    layer = linear(rows, soft=soft).train(mode)
    for scale in (1.0, 0.0):
        raw(layer).data.mul_(scale)
        _ = layer.weight
        plain = torch.func.grad(lambda p: score_of(layer, p))(dict(layer.named_parameters()))
        torch.testing.assert_close(gradient(layer), plain["parametrizations.weight.original"])


def score_of(layer: nn.Module, parameters: dict) -> torch.Tensor:
    return torch.func.functional_call(layer, parameters, (torch.linspace(-1, 2, 6),)).sum()


@MODES
@ROWS
def test_an_edit_through_data_between_two_forwards_is_noticed(mode, rows):
    layer = linear(rows).train(mode)
    _ = layer.weight
    raw(layer).data[:, 2] += 5
    assert norm(layer, (6,)) == pytest.approx(1, rel=0.01)
    layer.weight.data.mul_(3)
    assert norm(layer, (6,)) == pytest.approx(1, rel=0.01)


@ROWS
def test_a_weight_that_changes_between_forward_and_backward_is_refused(rows):
    layer = linear(rows)
    loss = score(layer)
    with torch.no_grad():
        raw(layer).mul_(2)
    with pytest.raises(RuntimeError, match=INPLACE):
        loss.backward()


def test_a_change_that_is_undone_leaves_the_next_forward_differentiable():
    layer = linear()
    expected = gradient(layer).clone()
    with torch.no_grad():
        raw(layer).mul_(2).div_(2)
    torch.testing.assert_close(gradient(layer), expected)


def test_an_estimate_that_goes_on_between_forward_and_backward_does_no_harm():
    layer, other = linear(), linear()
    loss = score(layer)
    refresh(layer)
    _ = layer.eval().weight
    loss.backward()
    torch.testing.assert_close(raw(layer).grad, gradient(other))


def test_reads_without_gradients_leave_those_with_them_as_they_are():
    layer = linear()
    expected = gradient(layer).clone()
    for context in (torch.no_grad, torch.inference_mode):
        raw(layer).data.mul_(1)
        with context():
            _ = layer.weight
        torch.testing.assert_close(gradient(layer), expected)
    raw(layer).requires_grad_(False)
    assert not layer.weight.requires_grad
    raw(layer).requires_grad_()
    torch.testing.assert_close(gradient(layer), expected)


def test_a_transform_that_is_left_leaves_nothing_behind():
    layer, other = linear(), linear()
    with torch.no_grad():
        for module in (layer, other):
            raw(module).mul_(1.5)
    _ = layer.weight
    torch.func.jacrev(layer)(torch.ones(6))
    torch.testing.assert_close(gradient(layer), gradient(other))


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["c", "p"]
)
def test_copies_after_a_forward_hold_none_of_it(duplicate):
    network = constrain(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1)), "spectral")
    before = network(torch.ones(6))
    other = duplicate(network)
    for index in (0, 2):
        assert other[index].parametrizations.weight[0].shared.last is None
    with torch.no_grad():
        raw(other[0]).add_(1)
    other(torch.ones(6))  # its hook prepares its own layers
    assert other[0].parametrizations.weight[0].shared.last[0] is raw(other[0])
    torch.testing.assert_close(network(torch.ones(6)), before, rtol=0, atol=0)


def test_moving_a_module_makes_the_weight_anew():
    layer = linear()
    _ = layer.weight
    assert layer.double().weight.dtype == torch.float64


@MODES
@ROWS
def test_a_norm_beyond_the_largest_number_of_half_precision(mode, rows):
    """The weight in use and its gradient are those of single precision, to the resolution of half."""
    weight = 60000 * torch.rand(rows, 400, generator=torch.Generator().manual_seed(0)).half()
    used, slope = [], []
    for dtype in (torch.float16, torch.float32):
        layer = nn.Linear(400, rows, dtype=dtype)
        layer.weight.data.copy_(weight)
        constrain(layer, "spectral").train(mode)
        raw(layer).data[0] *= 0.5
        (1e4 * layer.weight.float()[0, :9].sum()).backward()
        used.append(layer.weight.float())
        slope.append(raw(layer).grad.float())
    torch.testing.assert_close(*used, rtol=0.01, atol=1e-4)
    torch.testing.assert_close(*slope, rtol=0.01, atol=1e-3)
    assert used[0].norm() > 0.9


def test_a_large_weight_in_half_precision_is_followed_for_ever():
    layer = nn.Linear(900, 900, dtype=torch.float16)
    layer.weight.data.fill_(50000)
    constrain(layer, "spectral")
    for factor in (0.999, 0.99, 0.97):
        raw(layer).data[:450] *= factor
        _ = layer.weight
    assert layer.parametrizations.weight[0].reach.isfinite()


def test_no_more_than_one_weight_is_held():
    layer = linear()
    first = weakref.ref(layer.weight)
    assert first() is not None
    with torch.no_grad():
        raw(layer).mul_(1.1)
    _ = layer.weight
    assert first() is None


def test_autocast_gives_what_was_made_without_it():
    layer = linear()
    weight = layer.weight
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(layer.weight, weight, rtol=0, atol=0)
        score(layer).backward()
    assert raw(layer).grad.dtype == torch.float32


def test_layers_are_prepared_together_and_only_those_still_constrained():
    network = constrain(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 5)), "spectral")
    remove_parametrizations(network[2], "weight")
    with torch.no_grad():
        raw(network[0]).mul_(2)
    made = []
    network[0].register_forward_pre_hook(
        lambda layer, _: made.append(layer.parametrizations.weight[0].shared.last)
    )
    network(torch.ones(6))
    assert made[0][4] is network[0].weight
