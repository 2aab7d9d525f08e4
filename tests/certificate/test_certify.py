"""Composition on networks whose constants are known, and witnesses that anyone can evaluate again."""

import math

import pytest
import torch
from torch import nn

from onelip.certificate.certify import Certificate, certify
from onelip.certificate.probe import Witness, ratio
from onelip.certificate.trace import trace
from onelip.constraint.activation import MaxMin
from onelip.errors import ArgumentError, ContradictionError
from tests.certificate.functions import Function


class Residual(nn.Module):
    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def forward(self, x):
        return x + self.branch(x)


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return torch.relu(self.factor * x)


def linear(*rows):
    layer = nn.Linear(len(rows[0]), len(rows))
    layer.weight.data = torch.tensor(rows)
    return layer


def test_layers_in_series_multiply_and_report_what_they_are():
    network = nn.Sequential(linear([3.0, 0.0], [0.0, 1.0]), nn.Tanh(), linear([2.0, 0.0]))
    certificate = certify(network, (2,), starts=0)
    assert certificate.upper == pytest.approx(6, rel=1e-4)
    assert [layer.operator for layer in certificate.layers] == ["linear", "tanh", "linear"]
    assert [layer.name for layer in certificate.layers] == ["0", "1", "2"]
    assert certificate.layers[0].reshaped == pytest.approx(3, rel=2e-3)
    assert 3.0 in certificate.layers[0].norm
    assert certificate.layers[1].cumulative == pytest.approx(3, rel=1e-4)


def test_adjacent_linear_maps_are_composed_before_the_norm_is_taken():
    network = nn.Sequential(linear([3.0, 0.0], [0.0, 0.5]), linear([0.1, 0.0], [0.0, 2.0]))
    certificate = certify(network, (2,), starts=0)
    assert certificate.upper == pytest.approx(1, rel=1e-4)
    assert certificate.method == "assembled matrix"


def test_a_linear_residual_block_is_one_map():
    assert certify(Residual(linear([-0.5, 0.0], [0.0, -1.0])), (2,), starts=0).upper == pytest.approx(
        0.5, rel=1e-4
    )


def test_a_nonlinear_residual_block_adds():
    block = Residual(nn.Sequential(linear([0.5, 0.0], [0.0, 0.25]), nn.ReLU()))
    assert certify(block, (2,), starts=0).upper == pytest.approx(1.5, rel=1e-4)


def test_batch_norm_is_merged_with_the_convolution_before_it_where_the_operator_is_large():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16)).eval()
    network[0].weight.data[0] *= 9
    network[1].running_var[0] = 81.0
    certificate = certify(network, (8, 32, 32), starts=0)
    assert certificate.method == "merged with the layer before"
    assert certificate.upper < 0.5 * certificate.layers[0].cumulative


def test_padding_is_merged_with_the_convolution_behind_it():
    torch.manual_seed(0)
    convolution = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
    certificate = certify(convolution, (8, 32, 32), starts=0)
    alone, merged = certificate.layers
    assert alone.operator == "pad"
    assert merged.method == "merged with the layer before"
    assert merged.cumulative < 0.75 * alone.cumulative * merged.norm.upper


def test_isometries_and_activations_of_slope_one_lose_nothing():
    network = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Flatten(), nn.MaxPool1d(2), nn.LeakyReLU(0.1))
    assert certify(network, (4, 4), starts=0).upper == 1


def test_shared_layers_count_each_time():
    layer = linear([2.0, 0.0], [0.0, 1.0])
    certificate = certify(nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), layer), (2,), starts=0)
    assert certificate.upper == pytest.approx(8, rel=1e-4)


def test_scales_of_weights_do_not_matter():
    for size in (1e-30, 1e30):
        network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        for layer in network[::2]:
            layer.weight.data = size * torch.eye(4)
        assert certify(network, (4,), starts=0).upper == pytest.approx(size**2, rel=1e-3)


def test_products_beyond_the_range_of_float64_stay_on_the_right_side():
    tiny = certify(nn.Sequential(*[Scale(1e-200)] * 3), (2,), starts=0)
    assert 0 < tiny.upper < 1e-290
    huge = certify(nn.Sequential(*[Scale(1e200)] * 3), (2,), starts=0)
    assert huge.upper == math.inf
    assert "exceeds" in huge.why


def test_a_variance_of_zero_has_no_bound():
    norm = nn.BatchNorm1d(2, eps=0.0)
    norm.running_var.zero_()
    assert "division by zero" in certify(norm, (2,), starts=0).why


def test_a_network_that_forgets_its_input_is_constant():
    certificate = certify(nn.Sequential(linear([0.0, 0.0]), nn.ReLU()), (2,), starts=1, steps=3)
    assert (certificate.lower, certificate.upper) == (0, 0)


def test_the_witness_reaches_the_constant_and_can_be_checked_again():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.LeakyReLU(0.5), nn.Flatten(), nn.Linear(36, 1))
    certificate = certify(network, (1, 8, 8))
    x, y = certificate.witness.x, certificate.witness.y
    with torch.no_grad():
        fx, fy = network.double()(torch.stack([x, y]))
    ratio = ((fx - fy).norm() / (x - y).norm()).item()
    assert certificate.lower <= ratio <= certificate.upper
    assert certificate.lower == pytest.approx(ratio, rel=1e-6)
    assert certificate.recheck(network) == pytest.approx(certificate.lower, rel=1e-9)
    assert certificate.lower > 0.4 * certificate.upper


@pytest.mark.parametrize(("activation", "depth"), [(nn.ReLU, 2), (nn.ReLU, 6), (MaxMin, 6), (nn.Tanh, 2)])
def test_the_witness_is_steeper_than_random_places(activation, depth):
    """A piecewise linear network has many slopes, and the ascent has to cross from one to the next."""
    torch.manual_seed(0)
    layers = [layer for _ in range(depth) for layer in (nn.Linear(16, 16), activation())]
    network = nn.Sequential(*layers, nn.Linear(16, 1)).double()
    x = torch.randn(500, 16, dtype=torch.float64, requires_grad=True)
    slopes = torch.autograd.grad(network(x).sum(), x)[0].norm(dim=1)
    assert certify(network, (16,)).lower > slopes.max()


def through_a_large_number(x):
    """The identity, but for rounding: of x + 10¹⁰ float64 keeps six digits behind the point, float32 none."""
    return (x + 1e10) - 1e10


AFTER = {
    "alone": lambda x: x,
    "unnoticed": lambda x: x.sin() - x.sin() + x,
}


@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
def test_what_rounding_adds_is_no_witness(after):
    certificate = certify(Function(lambda x: after(through_a_large_number(x))), (3,), starts=4, steps=10)
    assert certificate.lower <= 1


def test_what_rounding_adds_is_no_witness_where_a_clamp_hides_it():
    """In float64 x + 1.5 · 2⁵² is a whole number, and each of a thousand entries off by up to one half."""
    large = 1.5 * 2.0**52
    network = Function(lambda x: torch.clamp((x + large) - large, -1, 1))
    assert certify(network, (1000,), starts=1, steps=10).lower <= 1


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_what_is_switched_on_around_it_changes_no_certificate(mode):
    network = nn.Linear(6, 6)
    with mode():
        found = certify(network, (6,))
    assert found.lower == pytest.approx(found.upper, rel=1e-2)


def test_witnesses_are_reproducible_and_differ_by_seed():
    network = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    first, again, other = (certify(network, (5,), starts=1, steps=5, seed=seed) for seed in (0, 0, 7))
    assert torch.equal(first.witness.x, again.witness.x)
    assert not torch.equal(first.witness.x, other.witness.x)


def test_a_layer_norm_is_as_large_as_its_rule_says():
    certificate = certify(nn.LayerNorm(8, eps=1e-4), (8,))
    assert certificate.upper == pytest.approx(100, rel=1e-6)
    assert certificate.lower > 90


def test_an_output_without_entries_is_constant():
    certificate = certify(Function(lambda x: x[:, :0]), (3,), starts=1, steps=3)
    assert (certificate.lower, certificate.upper) == (0, 0)


def test_without_starts_there_is_no_witness():
    certificate = certify(nn.Linear(2, 2), (2,), starts=0)
    assert certificate.witness is None
    assert certificate.lower == 0
    with pytest.raises(ArgumentError, match="one with a witness"):
        certificate.recheck(nn.Linear(2, 2))


@pytest.mark.parametrize(("name", "value"), [("starts", -1), ("steps", 0)])
def test_the_search_is_checked(name, value):
    with pytest.raises(ArgumentError, match=f"{name} must be an integer"):
        certify(nn.Linear(2, 2), (2,), **{name: value})


def test_a_witness_above_the_bound_is_a_failure_of_our_own():
    witness = Witness(torch.zeros(1), torch.ones(1), 2.0)
    with pytest.raises(ContradictionError, match="above the bound"):
        Certificate(2.0, 1.0, (), witness, "product", "", (1,))
    Certificate(2.0, math.inf, (), witness, "unbounded", "attention", (1,))


def times(*factors):
    def function(x):
        for factor in factors:
            x = factor * x
        return x

    return function


DOWN_AND_UP = [*[1e-36] * 9, *[1e36] * 9]


@pytest.mark.parametrize(
    ("function", "truth"),
    [(times(*DOWN_AND_UP), 1), (lambda x: x - times(1e-36, *DOWN_AND_UP, 1e36)(x), 0)],
    ids=["a few digits", "a difference to none"],
)
def test_what_underflow_makes_is_no_witness(function, truth):
    assert certify(Function(function), (2,)).lower <= truth


@pytest.mark.parametrize("p", [2, 3, 100, 300])
def test_powers_that_underflow_within_a_norm_are_no_witness(p):
    """Of one power float64 makes zero, of the other its least number: the norms are far apart."""
    graph = trace(Function(lambda x: torch.linalg.vector_norm(x, ord=p, dim=1, keepdim=True)), (2,))
    logarithms = ((math.log(share) - 1074 * math.log(2)) / p for share in (0.4, 0.6))
    x, y = (torch.full((2,), math.exp(logarithm), dtype=torch.float64) for logarithm in logarithms)
    assert ratio(graph, x, y) <= 1
    assert ratio(graph, torch.zeros_like(x), torch.tensor([1.0, 0.0]).double()) > 0.99


def test_lengths_whose_squares_underflow_are_right():
    assert 0.99e-161 < certify(Function(times(1e-161)), (3,), starts=1, steps=5).lower <= 1e-161


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x // 2,
        lambda x: torch.remainder(2.0, x),
        lambda x: x.norm(p=0, dim=1),
        lambda x: x.view(torch.int32),
    ],
    ids=["floor_divide", "remainder", "0-norm", "bits"],
)
def test_functions_without_a_derivative_are_searched_without_an_error(function):
    certificate = certify(Function(function), (4,), starts=1, steps=3)
    assert certificate.lower < certificate.upper == math.inf


def test_a_merged_weight_that_overflows_is_left_apart():
    network = nn.Sequential(nn.Linear(2, 2).double(), Function(times(1e200, 1e-300)))
    network[0].weight.data = 1e200 * torch.eye(2).double()
    assert certify(network, (2,), starts=0).upper >= 1e100


def test_numbers_flushed_to_zero_are_refused():
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor flushes nothing")
    try:
        with pytest.raises(ArgumentError, match=r"call torch.set_flush_denormal\(False\)"):
            certify(nn.Linear(2, 2), (2,))
    finally:
        torch.set_flush_denormal(False)


def test_a_default_device_changes_no_certificate():
    network = nn.Sequential(nn.Linear(4, 3), nn.Softplus(), nn.Linear(3, 2))
    expected = certify(network, (4,), starts=1, steps=3)
    torch.set_default_device("meta")
    try:
        found = certify(network, (4,), starts=1, steps=3)
    finally:
        torch.set_default_device(None)
    assert (found.lower, found.upper) == (expected.lower, expected.upper)
