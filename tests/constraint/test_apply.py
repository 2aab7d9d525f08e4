"""Which layers are constrained and to what, what is refused, what is reported, and what is baked."""

import jaxtyping
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations as torch_parametrizations
from torch.nn.utils import parametrize

from onelip.constraint.apply import constrain
from onelip.constraint.bake import bake
from onelip.constraint.compiled import decode, encode
from onelip.constraint.describe import constraint_of, describe
from onelip.constraint.reshaped import Reshaped
from onelip.errors import ArgumentError, OnelipError, UnknownOperatorError
from onelip.linear.layers import linear_map
from onelip.linear.norm import operator_norm
from tests.constraint.test_spectral import LAYERS, norm


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x + self.gain * self.inner(x)


class Unused(nn.Module):
    """One layer that is called by the name of its argument, and one that is not."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.first(input=x)


class DoubledConvolution(nn.Conv1d):
    def _conv_forward(self, input, weight, bias):
        return 2 * super()._conv_forward(input, weight, bias)


class Doubled(nn.Linear):
    def forward(self, input):
        return 2 * super().forward(input)


def hooked(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda layer, args, output: 5 * output)
    return layer


UNKNOWN = [
    nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)),
    nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)),
    nn.Sequential(nn.Linear(2, 2), nn.PReLU()),
    nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 1)),
    nn.MultiheadAttention(4, 2),
    nn.LSTM(2, 2),
    nn.Bilinear(2, 2, 2),
    Doubled(2, 2),
    DoubledConvolution(1, 1, 3),
    Residual(),
]


@pytest.mark.parametrize(
    "module", UNKNOWN, ids=lambda m: type(m).__name__ if len(list(m.children())) < 2 else str(m[1])
)
def test_parameters_of_an_unknown_kind_are_refused_and_nothing_is_changed(module):
    with pytest.raises(UnknownOperatorError, match=r"allow=\["):
        constrain(module, "spectral-reshaped")
    assert not any(parametrize.is_parametrized(child) for child in module.modules())


def test_what_is_allowed_is_left_alone_and_reported():
    network = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.MultiheadAttention(4, 2), nn.Linear(4, 1))
    constrain(network, "spectral", allow=[nn.LayerNorm, "2"])
    description = describe(network)
    assert [layer.name for layer in description.layers] == ["0", "3"]
    assert [name for name, _ in description.left_alone] == ["1", "2", "2.out_proj"]


def test_filters_and_a_second_kind_for_the_rest():
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 4), nn.Linear(4, 1)
    )
    constrain(network, "spectral", input_shape=(1, 6, 6), exclude=["3", "4"])
    constrain(network, "orthogonal", only="3", target=0.5)
    described = {layer.name: (layer.kind, layer.target) for layer in describe(network).layers}
    assert described == {"0": ("spectral", 1.0), "1": ("spectral", 1.0), "3": ("orthogonal", 0.5)}
    assert describe(network).left_alone == (("4", "Linear: not constrained"),)


def test_network_target_is_spread_over_depth():
    network = constrain(nn.Sequential(*[nn.Linear(4, 4) for _ in range(3)]), "spectral", network=8.0)
    assert [norm(layer, (4,)) for layer in network] == pytest.approx([2.0] * 3, rel=1e-3)


def test_network_target_counts_calls_where_they_are_known():
    layer = nn.Linear(4, 4)
    twice = constrain(nn.Sequential(layer, nn.ReLU(), layer), "spectral", network=4.0, input_shape=(4,))
    assert describe(twice).layers[0].target == pytest.approx(2.0)
    unused = constrain(Unused(), "spectral", network=0.25, input_shape=(4,))
    assert {layer.target for layer in describe(unused).layers} == {0.25}


def test_what_is_refused_is_left_as_it_was():
    network = nn.Sequential(nn.Linear(4, 4), nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 1, 3))
    with pytest.raises(ArgumentError, match="input_shape must be given"):
        constrain(network, "spectral")
    assert not any(parametrize.is_parametrized(child) for child in network.modules())
    constrain(network, "spectral", input_shape=(4,))
    assert all(parametrize.is_parametrized(network[i]) for i in (0, 2))


def test_a_shared_weight_stays_one_parameter_with_one_estimate():
    first, second, other = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    network = constrain(nn.Sequential(first, second, other, first), "spectral")
    assert len([p for p in network.parameters() if p.dim() == 2]) == 2
    assert first.parametrizations.weight[0] is second.parametrizations.weight[0]
    torch.testing.assert_close(first.weight, second.weight, rtol=0, atol=0)
    baked = bake(network)
    assert baked[0] is baked[3]
    assert baked[0].weight is baked[1].weight


def test_an_optimizer_made_before_goes_on_working():
    layer = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    constrain(layer, "spectral")
    before = layer.weight.detach().clone()
    layer(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    assert not torch.allclose(layer.weight, before)


def test_a_single_layer_is_a_module_too():
    layer = nn.Linear(3, 3)
    assert constrain(layer, "spectral") is layer
    assert describe(layer).layers[0].name == "module"


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (nn.Conv2d(1, 2, 3), {"kind": "spectral"}, "input_shape must be given"),
        (
            nn.Linear(2, 2),
            {"kind": "spektral"},
            "kind must be one of .*, got 'spektral': did you mean spectral",
        ),
        (nn.Linear(2, 2), {"kind": "spectral", "target": 0.0}, "target must be a positive number"),
        (nn.Linear(2, 2), {"kind": "spectral", "target": 1e-42}, "target must be .* the range of float32"),
        (nn.Linear(2, 2), {"kind": "spectral", "network": -1.0}, "network must be a positive number"),
        (
            nn.Linear(2, 2),
            {"kind": "spectral", "network": 2.0, "target": 3.0},
            "network must be given without",
        ),
        (nn.Linear(2, 2), {"kind": "spectral", "tolerance": 0.0}, "tolerance must be between 0 and 1"),
        (nn.Linear(2, 2), {"kind": "spectral", "iterations": 0}, "iterations must be a positive integer"),
        (
            nn.Conv2d(1, 2, 3),
            {"kind": "spectral", "input_shape": (3, 8, 8)},
            "input_shape must be one that the module takes",
        ),
        (nn.Linear(2, 2), {"kind": "spectral", "iterations": 1, "tolerance": 0.1}, "given without tolerance"),
        *(
            (nn.Linear(2, 2), {"kind": "orthogonal", name: value}, f"{name} must be left out .*, got {value}")
            for name, value in (("soft", True), ("tolerance", 0.1), ("iterations", 2))
        ),
        (
            nn.Linear(2, 2),
            {"kind": "spectral", "only": "x*"},
            r"only must be names or patterns of .*, got x\*",
        ),
        (nn.Linear(2, 2), {"kind": "spectral", "exclude": "x"}, "exclude must be names or patterns of"),
        (nn.Linear(2, 2), {"kind": "spectral", "allow": ["x"]}, "allow must be names or patterns of"),
        (hooked(nn.Linear(2, 2)), {"kind": "spectral"}, "without forward hooks, got module with"),
        (nn.ReLU(), {"kind": "spectral"}, "module must be a network with linear layers .*, got ReLU:"),
        (
            nn.Sequential(nn.ReLU(), nn.Flatten()),
            {"kind": "spectral"},
            "linear layers to constrain, got Sequential: pass the network that holds them",
        ),
        (
            nn.Sequential(nn.Linear(2, 2), nn.ReLU()),
            {"kind": "spectral", "exclude": "0"},
            "linear layers to constrain, got Sequential: see only= and exclude=",
        ),
        (constrain(nn.Linear(2, 2), "spectral"), {"kind": "spectral"}, "must be a plain parameter"),
        (
            torch_parametrizations.weight_norm(nn.Linear(2, 2)),
            {"kind": "spectral"},
            "must be a plain parameter",
        ),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused_in_one_line(module, arguments, message):
    with pytest.raises(OnelipError, match=message) as error:
        constrain(module, **arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("argument", ["target", "network", "tolerance"])
def test_numbers_that_are_words_are_refused(argument, monkeypatch):
    # As users call it: annotations are checked under pytest alone, and refuse a word before the function can.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ArgumentError, match=f"{argument} must be .*, got '1'"):
        constrain(nn.Linear(2, 2), "spectral", **{argument: "1"})


def test_kernels_that_two_convolutions_share_cannot_be_orthogonal():
    first, second = nn.Conv1d(2, 2, 3), nn.Conv1d(2, 2, 3)
    second.weight = first.weight
    shared = r"free of kernels that two layers share, got 1\.weight, which is 0\.weight too"
    with pytest.raises(ArgumentError, match=shared):
        constrain(nn.Sequential(first, second), "orthogonal")


class Tied(nn.Module):
    """Two owners of one weight."""

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second = first, second
        second.weight = next(p for p in first.parameters() if p.dim() > 1)


TIED = [
    (lambda: Tied(nn.Embedding(10, 6), nn.Linear(6, 10)), {"allow": [nn.Embedding]}),
    (lambda: Tied(nn.Linear(4, 4), nn.Linear(4, 4)), {"exclude": "first"}),
    (lambda: Tied(nn.Conv1d(2, 2, 3), nn.Conv1d(2, 2, 3)), {"only": "second"}),
    (lambda: Tied(constrain(nn.Linear(4, 4), "spectral"), nn.Linear(4, 4)), {"allow": ["first"]}),
]


@pytest.mark.parametrize(("make", "chosen"), TIED)
def test_what_is_left_alone_keeps_its_weight(make, chosen):
    """An orthogonal layer has another weight, or other parameters, than it was given."""
    tied = make()
    before = tied.second.weight.detach().clone()
    with pytest.raises(ArgumentError, match=r"what is left alone, got second\.weight, which is first"):
        constrain(tied, "orthogonal", **chosen)
    torch.testing.assert_close(tied.second.weight, before, rtol=0, atol=0)
    assert not parametrize.is_parametrized(tied.second)
    assert parametrize.is_parametrized(constrain(make(), "spectral-reshaped", **chosen).second)


def test_description_is_a_table():
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    network[0].weight.data.copy_(torch.eye(2))
    text = str(describe(constrain(network, "spectral", target=2.0, allow=[nn.BatchNorm1d])))
    header, row, alone = text.splitlines()
    assert header.split("  ")[0] == "layer"
    assert row.split()[:3] == ["0", "spectral", "2"]
    norm = describe(network).layers[0].norm
    assert float(row.split()[3]) <= norm.lower <= norm.upper <= float(row.split()[5])
    assert alone == "left alone: 1 (BatchNorm1d: no linear layer)"


@pytest.mark.parametrize("size", [8, 64])
def test_a_printed_constraint_says_what_is_normalised_and_not_how(size):
    layer = constrain(nn.Conv2d(1, 2, 3, padding=1), "spectral", input_shape=(1, size, size), soft=True)
    told = f"operator on inputs of (1, {size}, {size}), target=1, tolerance=0.01, soft"
    assert repr(constraint_of(layer)) == f"SpectralNorm({told})"
    reshaped = constraint_of(constrain(nn.Conv2d(1, 2, 3), "spectral-reshaped", iterations=1))
    assert repr(reshaped) == "SpectralNorm(reshaped kernel, target=1, iterations=1)"


def test_intervals_of_the_description_are_of_the_weight_in_use():
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 4, 2, 1))
    constrain(network, "spectral", input_shape=(1, 8, 8))
    first, second = describe(network).layers
    assert (first.input_shape, second.input_shape) == ((1, 8, 8), (4, 8, 8))
    for report, layer in ((first, network[0]), (second, network[2])):
        assert norm(layer.eval(), report.input_shape) in report.norm


@pytest.mark.parametrize(("make", "shape"), LAYERS, ids=lambda case: str(case() if callable(case) else case))
@pytest.mark.parametrize("target", [1.0, 0.3])
def test_a_baked_norm_is_proved_to_meet_the_target(make, shape, target):
    torch.manual_seed(0)
    layer = constrain(make(), "spectral", input_shape=shape, target=target).eval()
    baked = bake(layer)
    interval = operator_norm(baked, shape)
    assert norm(baked, shape) <= interval.upper <= target
    torch.testing.assert_close(
        baked.weight, layer.weight, rtol=2 * operator_norm(layer, shape).relative_width + 1e-3, atol=1e-6
    )
    assert not any("onelip" in type(part).__module__ for part in baked.modules())


def test_a_target_too_small_for_the_format_cannot_be_baked():
    """The smallest number of float16 is 6e-8."""
    layer = nn.Linear(3, 3, dtype=torch.float16)
    nn.init.eye_(layer.weight)
    constrain(layer, "orthogonal", target=5e-8)
    with pytest.raises(ArgumentError, match=r"target of module must be .* weights of torch.float16"):
        bake(layer)
    assert 4.9e-8 <= operator_norm(bake(layer.float())).upper <= 5e-8


def test_a_target_whose_inverse_half_precision_does_not_hold():
    torch.manual_seed(0)
    layer = constrain(nn.Linear(20, 20, dtype=torch.float16), "spectral", target=1e-5)
    assert operator_norm(layer).upper == pytest.approx(1e-5, rel=0.02)


@pytest.mark.parametrize("kind", ["spectral", "orthogonal"])
def test_autocast_around_changes_neither_description_nor_baked_weights(kind):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    constrain(network, kind, input_shape=(2, 6, 6))
    described, baked = describe(network), bake(network).state_dict()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert describe(network) == described
        torch.testing.assert_close(bake(network).state_dict(), baked, rtol=0, atol=0)


def test_soft_weights_below_the_target_are_baked_as_they_are():
    layer = nn.Linear(3, 3)
    layer.weight.data.mul_(0.01)
    given = layer.weight.detach().clone()
    torch.testing.assert_close(bake(constrain(layer, "spectral", soft=True)).weight, given, rtol=0, atol=0)


@pytest.mark.parametrize("proved", [bake, describe])
def test_a_layer_with_forward_hooks_is_not_what_its_weight_says(proved):
    network = constrain(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "spectral")
    proved(network)
    hooked(network[1])
    with pytest.raises(ArgumentError, match="without forward hooks, got 1 with"):
        proved(network)


@pytest.mark.parametrize("kind", ["spectral", "orthogonal"])
@pytest.mark.parametrize("frozen", [True, False])
def test_what_is_frozen_stays_frozen_when_baked(kind, frozen):
    network = constrain(nn.Sequential(nn.Conv2d(2, 4, 3), nn.Linear(2, 2)), kind, input_shape=(2, 4, 4))
    network[0].parametrizations.requires_grad_(not frozen)
    assert [layer.weight.requires_grad for layer in bake(network)] == [not frozen, True]


def test_the_reshaped_kind_bounds_no_operator_and_cannot_be_baked():
    with pytest.raises(ArgumentError, match="of kind 'spectral' or 'orthogonal'"):
        bake(constrain(nn.Conv2d(1, 2, 3), "spectral-reshaped"))


@pytest.mark.parametrize(("make", "shape"), LAYERS, ids=lambda case: str(case() if callable(case) else case))
def test_maps_survive_their_journey_as_integers(make, shape):
    map = linear_map(make(), shape)
    returned = decode(map.weight, *encode(map))
    torch.testing.assert_close(returned.dense(), map.dense(), rtol=0, atol=0)


def test_reshaped_map_survives_too():
    map = Reshaped(torch.randn(2, 3, 4), axis=1)
    torch.testing.assert_close(decode(map.weight, *encode(map)).dense(), map.dense(), rtol=0, atol=0)
