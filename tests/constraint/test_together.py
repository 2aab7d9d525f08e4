"""Layers of one shape, whose estimates are brought up to date together: each as it would be alone."""

from unittest import mock

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from onelip.constraint.apply import constrain
from onelip.constraint.patches import on_patches
from onelip.constraint.reshaped import Reshaped
from onelip.constraint.stack import likeness, stacked
from onelip.linear.layers import linear_map
from onelip.linear.maps import Dense
from tests.constraint.test_spectral import norm, raw

OPTIONS = pytest.mark.parametrize("options", [{}, {"iterations": 1}], ids=["tolerance", "iterations"])


def layers(count: int = 4) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(6, 6, bias=False, dtype=torch.float64) for _ in range(count)]


def together(**options) -> nn.Sequential:
    return constrain(nn.Sequential(*layers()), "spectral", **options)


def alone(**options) -> list[nn.Linear]:
    return [constrain(layer, "spectral", **options) for layer in layers()]


def move(layers, step: int, size: float) -> None:
    generator = torch.Generator().manual_seed(step)
    for layer in layers:
        with torch.no_grad():
            raw(layer).add_(torch.randn(6, 6, generator=generator, dtype=torch.float64), alpha=size)


def read(network: nn.Sequential) -> list[torch.Tensor]:
    network(torch.ones(6, dtype=torch.float64))
    return [layer.weight for layer in network]


@pytest.mark.parametrize("size", [1e-4, 0.03, 1.0])
def test_fixed_iterations_give_what_each_layer_alone_gives(size):
    network, single = together(iterations=2), alone(iterations=2)
    for step in range(5):
        move(network, step, size)
        move(single, step, size)
        for weight, layer in zip(read(network), single, strict=True):
            torch.testing.assert_close(weight, layer.weight, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [1e-4, 0.03, 1.0])
def test_every_layer_is_followed_as_closely_as_alone(size):
    network = together()
    for step in range(5):
        move(network, step, size)
        for layer in [layer for layer, _ in zip(network, read(network), strict=True)]:
            assert norm(layer, (6,)) == pytest.approx(1, rel=0.01)


def nothing(weight):
    pass


def small_step(weight):
    weight += 1e-3 * weight.flip(0)


def other_weight(weight):
    weight.copy_(5 * weight.T.flip(0))


def zero(weight):
    weight.zero_()


def not_a_number(weight):
    weight[0, 0] = torch.nan


def tiny(weight):
    weight *= 1e-200


EDITS = (nothing, small_step, other_weight, zero, not_a_number, tiny)


@OPTIONS
@pytest.mark.parametrize("edit", EDITS[1:], ids=lambda edit: edit.__name__)
@pytest.mark.parametrize("rest", EDITS[:3], ids=lambda edit: edit.__name__)
def test_what_happens_to_one_layer_does_nothing_to_the_others(edit, rest, options):
    network, single = together(**options), alone(**options)
    read(network)
    for group in (network, single):
        with torch.no_grad():
            edit(raw(group[1]))
            for index in (0, 2, 3):
                rest(raw(group[index]))
    for index, weight in enumerate(read(network)):
        expected = single[index].weight
        torch.testing.assert_close(weight, expected, rtol=0.005, atol=1e-9, equal_nan=True)


def test_one_stack_holds_the_layers_of_one_geometry():
    counts = []
    for network in (together(iterations=3), nn.Sequential(alone(iterations=3)[0])):
        move(network, 0, 0.1)
        with mock.patch("onelip.constraint.follow.stacked", side_effect=stacked) as stack:
            network(torch.ones(6, dtype=torch.float64))
        counts.append([len(call.args[0]) for call in stack.mock_calls])
    assert counts == [[4], [1]]


def test_layers_of_other_shapes_formats_or_options_keep_to_themselves():
    inner = constrain(nn.Sequential(*layers(2)), "spectral", tolerance=0.1)
    network = nn.ModuleList([*layers(2), nn.Linear(6, 5), nn.Linear(6, 5, dtype=torch.float16)])
    constrain(network, "spectral")
    everyone = nn.Sequential(*inner, *network)
    likeness = [layer.parametrizations.weight[0].likeness(raw(layer)) for layer in everyone]
    assert [likeness.index(one) for one in likeness] == [0, 0, 2, 2, 4, 5]


@OPTIONS
def test_a_frozen_layer_needs_no_gradient_and_the_others_get_theirs(options):
    network, single = together(**options), alone(**options)
    for group in (network, single):
        raw(group[1]).requires_grad_(False)
    move(network, 0, 0.1)
    move(single, 0, 0.1)
    network(torch.ones(6, dtype=torch.float64)).sum().backward()
    nn.Sequential(*single)(torch.ones(6, dtype=torch.float64)).sum().backward()
    assert not network[1].weight.requires_grad
    assert raw(network[1]).grad is None
    for index in (0, 2, 3):
        torch.testing.assert_close(raw(network[index]).grad, raw(single[index]).grad, rtol=0.01, atol=1e-6)


def test_a_backward_through_one_layer_leaves_the_others_without_gradients():
    network = together()
    read(network)[2].sum().backward()
    assert [raw(layer).grad is not None for layer in network] == [False, False, True, False]


@pytest.mark.parametrize(
    "maps",
    [
        [Dense(torch.randn(3, 4, generator=torch.Generator().manual_seed(i))) for i in range(3)],
        [Reshaped(torch.arange(24.0).reshape(4, 2, 3) - i, axis) for i, axis in ((0, 0), (1, 0))],
        [on_patches(linear_map(nn.Conv2d(2, 3, 3, 2, padding=1), (2, 5, 7))) for _ in range(3)],
        [linear_map(nn.Conv2d(2, 4, 3, padding=1, groups=2), (2, 5, 5))],
        [linear_map(nn.ConvTranspose1d(2, 3, 3, groups=1), (2, 5))],
    ],
    ids=["dense", "reshaped", "patches", "groups", "transposed"],
)
@torch.no_grad()
def test_a_stack_applies_each_map_to_its_own_vectors(maps):
    assert len({likeness(map) for map in maps}) == 1
    stack, generator = stacked(maps), torch.Generator().manual_seed(9)
    matrices = torch.stack([map.dense() for map in maps])
    x = torch.randn(len(maps), 2, matrices.shape[2], generator=generator)
    y = torch.randn(len(maps), 2, matrices.shape[1], generator=generator)
    torch.testing.assert_close(stack.apply(x), x @ matrices.mT, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(stack.adjoint(y), y @ matrices, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["weight_norm", "orthogonal"])
def test_a_layer_may_be_given_another_parametrization_of_several_originals(kind):
    shape = 2, 5, 5
    network = nn.Sequential(*(nn.Conv2d(2, 2, 3, padding=1) for _ in range(3)))
    constrain(network, "spectral", input_shape=shape)
    parametrize.remove_parametrizations(network[1], "weight")
    if kind == "weight_norm":
        weight_norm(network[1])
    else:
        constrain(network, kind, only="1", input_shape=shape)
    assert network(torch.randn(1, *shape)).isfinite().all()
