"""operator_norm: widths that were promised, weights that are hard, and what is refused."""

import math

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.utils import parametrizations, prune, spectral_norm

from onelip.errors import ArgumentError, NonFiniteError
from onelip.linear.interval import NormInterval
from onelip.linear.layers import linear_map
from onelip.linear.maps import Dense
from onelip.linear.norm import operator_norm, reshaped_norm


def truth(layer: nn.Module, shape: tuple[int, ...]) -> float:
    return float(
        torch.linalg.matrix_norm(linear_map(layer, shape, layer.weight.detach().double()).dense(), 2)
    )


def default(layer: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    layer.reset_parameters()
    return layer


WIDTHS = [
    (nn.Linear(300, 200), None, "dense cholesky", 1e-3),
    (nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"), (8, 16, 16), "circular", 1e-3),
    (nn.Conv2d(8, 16, 4, stride=2, padding=1, padding_mode="circular"), (8, 32, 32), "circular", 1e-3),
    (nn.Conv2d(64, 64, 3, padding=1), (64, 14, 14), "circular embedding", 1e-2),
    (nn.Conv2d(64, 64, 3, padding=1), (64, 28, 28), "circular embedding", 3e-3),
    (nn.Conv2d(16, 32, 4, stride=2, padding=1), (16, 28, 28), "circular embedding", 3e-3),
    (nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), (32, 14, 14), "circular embedding", 3e-3),
    (nn.Conv2d(1, 64, 4, stride=2, padding=1), (1, 28, 28), "tight cholesky", 1e-3),
    (nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), (8, 14, 14), "tight cholesky", 1e-3),
    (nn.Conv2d(8, 8, 3, padding=1, padding_mode="replicate", groups=2), (8, 14, 14), "tight cholesky", 1e-3),
    (nn.Conv2d(8, 8, 3, stride=2, padding=1, padding_mode="circular"), (8, 15, 15), "tight cholesky", 1e-3),
    (nn.Conv2d(8, 8, 3), None, "every size", 1e-3),
    (nn.Conv2d(4, 8, 5, stride=2, padding=2), None, "every size", 1e-3),
    (nn.ConvTranspose1d(4, 8, 5, stride=2, output_padding=1), None, "every size", 1e-3),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "shape", "method", "width"), WIDTHS, ids=str)
def test_intervals_are_as_narrow_as_promised(layer, shape, method, width):
    interval = operator_norm(default(layer), shape)
    assert interval.method == method
    assert interval.relative_width <= width


AROUND = [lambda: torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode, torch.no_grad]


@pytest.mark.parametrize("around", AROUND, ids=["autocast", "inference", "no grad"])
@pytest.mark.parametrize(("layer", "shape", "method", "width"), WIDTHS, ids=str)
def test_the_same_interval_whatever_mode_is_around(layer, shape, method, width, around):
    expected = operator_norm(default(layer), shape), reshaped_norm(layer)
    with around():
        assert (operator_norm(layer, shape), reshaped_norm(layer)) == expected


SCALES = [
    *((torch.float32, scale) for scale in (1e-38, 1e-30, 1.0, 1e30, 1e37)),
    *((torch.float64, scale) for scale in (1e-310, 1e-200, 1e200, 1e307)),
    *((torch.float16, scale) for scale in (1e-6, 1.0, 1e4)),
    *((torch.bfloat16, scale) for scale in (1e-30, 1e30)),
]


@pytest.mark.parametrize(("dtype", "scale"), SCALES, ids=str)
@pytest.mark.parametrize(
    ("layer", "shape", "method"),
    [
        (nn.Linear(6, 4), (6,), "auto"),
        (nn.Conv1d(2, 3, 3, padding=1), (2, 9), "circular"),
        (nn.Conv1d(2, 3, 3, padding=1), (2, 9), "tight"),
        (nn.Conv1d(2, 3, 3, padding=1), None, "auto"),
    ],
    ids=str,
)
def test_every_dtype_and_scale(layer, shape, method, dtype, scale):
    torch.manual_seed(0)
    base = torch.rand(layer.weight.shape, dtype=torch.float64)
    layer = type(layer)(*layer_arguments(layer)).to(dtype)
    layer.weight.data = (base * scale).to(dtype)
    interval = operator_norm(layer, shape, method=method)
    largest = layer.weight.detach().double().abs().max()
    unit = type(layer)(*layer_arguments(layer)).double()
    unit.weight.data = layer.weight.detach().double() / largest
    expected = operator_norm(unit, shape, method=method)
    subnormal = 2.0**-1074 / float(largest)
    assert interval.lower / float(largest) == pytest.approx(expected.lower, rel=1e-4, abs=2 * subnormal)
    assert interval.upper / float(largest) == pytest.approx(expected.upper, rel=1e-4, abs=2 * subnormal)


def layer_arguments(layer: nn.Module) -> tuple:
    if isinstance(layer, nn.Linear):
        return (layer.in_features, layer.out_features)
    return (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding)


def test_a_norm_beyond_float64_is_infinite_from_above():
    interval = operator_norm(Dense(torch.full((3, 3), 1e308, dtype=torch.float64)))
    assert interval.upper == math.inf
    assert 1e308 < interval.lower < math.inf


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Linear(3, 2), None), (nn.Conv2d(1, 1, 3), (1, 5, 5)), (nn.Conv2d(1, 1, 3, padding=1), None)],
    ids=str,
)
def test_zero_weight_has_norm_zero(layer, shape):
    nn.init.zeros_(layer.weight)
    assert operator_norm(layer, shape) == NormInterval(0.0, 0.0, "zero map")


def test_a_weight_that_only_ever_meets_padding_has_norm_zero():
    layer = nn.Conv1d(1, 1, 5, padding=2, bias=False)
    layer.weight.data = torch.tensor([[[1.0, 1.0, 0.0, 1.0, 1.0]]])
    assert operator_norm(layer, (1, 1)) == NormInterval(0.0, 0.0, "zero map")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_weights_are_named(value):
    layer = nn.Conv2d(1, 2, 3)
    layer.weight.data[0, 0, 1, 1] = value
    with pytest.raises(NonFiniteError, match=r"critic\.3"):
        operator_norm(layer, (1, 8, 8), name="critic.3")
    for called, given in (("Conv2d", layer), ("Parameter", layer.weight)):
        with pytest.raises(NonFiniteError, match=f"^the weight of {called} holds NaN or infinity"):
            reshaped_norm(given)
    parametrized = parametrizations.spectral_norm(nn.Linear(2, 2))
    parametrized.parametrizations.weight.original.data[0, 0] = value
    with pytest.raises(NonFiniteError, match=r"^the weight of ParametrizedLinear holds NaN or infinity"):
        operator_norm(parametrized)


class Tenfold(nn.Linear):
    def forward(self, input):
        return 10 * super().forward(input)


class TenfoldConvolution(nn.Conv1d):
    def _conv_forward(self, input, weight, bias):
        return 10 * super()._conv_forward(input, weight, bias)


def hooked(hook, where="register_forward_hook"):
    layer = nn.Linear(2, 2)
    getattr(layer, where)(hook)
    return layer


def five_times(layer, args, output=None):
    return 5 * (args[0] if output is None else output)


def stored(change) -> nn.Linear:
    """A layer with its weight kept in another way."""
    layer = nn.Linear(2, 2)
    layer.weight = nn.Parameter(change(layer.weight.detach()))
    return layer


def padded(mode, width):
    return nn.Conv1d(1, 1, 3, padding=width, padding_mode=mode)


class CalledTenfold(nn.Linear):
    def __call__(self, input):
        return 10 * super().__call__(input)


def padded_anew(mode, width):
    layer = padded(mode, 1)
    layer.padding = (width,)
    return layer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": nn.ReLU()}, "layer must be nn.Linear"),
        ({"layer": nn.Linear(2, 2), "rtol": 0.0}, "rtol must be"),
        ({"layer": nn.Linear(2, 2), "method": "tigth"}, "got 'tigth': did you mean tight"),
        ({"layer": nn.Linear(2, 2), "method": "exact"}, "method must be one of auto, circular, tight, got"),
        ({"layer": nn.Conv2d(3, 4, 3), "input_shape": (8, 8)}, "input_shape must be"),
        ({"layer": nn.Linear(3, 2), "input_shape": (7,)}, r"input_shape must be \(…, 3\) for Linear"),
        ({"layer": padded("reflect", 2), "input_shape": (1, 2)}, "large enough for the reflect padding"),
        ({"layer": padded("circular", 3), "input_shape": (1, 2)}, "large enough for the circular padding"),
        ({"layer": linear_map(nn.Linear(2, 2), (2,)), "input_shape": (3,)}, "input_shape must be .* own"),
        ({"layer": nn.Conv1d(3, 3, 2, padding=3), "input_shape": (3, -4)}, "a tuple of positive integers"),
        ({"layer": nn.LazyLinear(2)}, "weight must be .* holds numbers, got one that is not initialised"),
        ({"layer": nn.Linear(2, 2, device="meta")}, "weight must be .* got one on the meta device"),
        ({"layer": Dense(torch.ones(2, 2, device="meta"))}, "weight must be .* got one on the meta device"),
        (
            {"layer": parametrizations.orthogonal(nn.Linear(2, 2)).to("meta")},
            "weight must be .* got one on the meta device",
        ),
        ({"layer": stored(torch.Tensor.to_sparse)}, "weight must be a dense tensor .* torch.sparse_coo"),
        ({"layer": stored(lambda w: w.to(torch.complex64))}, "weight must be of real numbers"),
        ({"layer": stored(lambda w: w.to(torch.float8_e4m3fn))}, "real numbers of 16 bits or more"),
        (
            {"layer": padded_anew("circular", 2)},
            r"that of the circular padding, got \(2,\), which was changed",
        ),
        ({"layer": CalledTenfold(2, 2)}, "layer must be nn.Linear.* with the forward of torch"),
        ({"layer": Tenfold(2, 2)}, "layer must be nn.Linear.* with the forward of torch"),
        ({"layer": hooked(five_times)}, "without forward hooks, got Linear with five_times: remove"),
        ({"layer": hooked(five_times, "register_forward_pre_hook"), "name": "critic.3"}, "got critic.3 with"),
        ({"layer": TenfoldConvolution(1, 1, 3)}, "layer must be nn.Linear.* with the forward of torch"),
        (
            {"layer": spectral_norm(nn.Linear(2, 2))},
            "weight must be a parameter of the layer",
        ),
        ({"layer": prune.random_unstructured(nn.Linear(2, 2), "weight", 1)}, "weight must be a parameter"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments, message):
    with pytest.raises(ArgumentError, match=message) as error:
        operator_norm(**arguments)
    assert "\n" not in str(error.value)


def test_padding_with_zeros_may_change():
    assert operator_norm(padded_anew("zeros", 0)).upper > 0


@pytest.mark.parametrize("register", [register_module_forward_hook, register_module_forward_pre_hook])
def test_hooks_of_all_modules_are_refused(register):
    handle = register(five_times)
    try:
        with pytest.raises(ArgumentError, match=r"without forward hooks, got .* with five_times"):
            operator_norm(nn.Linear(2, 2))
    finally:
        handle.remove()


def test_numbers_flushed_to_zero_are_refused():
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor flushes nothing")
    try:
        with pytest.raises(ArgumentError, match=r"call torch.set_flush_denormal\(False\)"):
            operator_norm(nn.Linear(2, 2))
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize(("layer", "shape", "method", "width"), WIDTHS[:5], ids=str)
def test_a_default_device_changes_no_interval(layer, shape, method, width):
    expected = operator_norm(default(layer), shape)
    torch.set_default_device("meta")
    try:
        assert operator_norm(layer, shape) == expected
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize("training", [True, False])
def test_a_parametrized_layer_is_read_without_being_advanced(training):
    torch.manual_seed(0)
    layer = parametrizations.spectral_norm(nn.Conv2d(3, 4, 3, padding=1)).train(training)
    layer.parametrizations.weight.original.data *= 3
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    interval = operator_norm(layer, (3, 8, 8))
    assert layer.training is training
    assert layer.parametrizations.weight[0].training is training
    for name, value in layer.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    layer.eval()
    assert truth(layer, (3, 8, 8)) in interval


def test_hooks_that_torch_computes_another_tensor_with_do_no_harm():
    layer = prune.l1_unstructured(nn.Linear(3, 2), "bias", 1)
    assert truth(layer, (3,)) in operator_norm(layer)
    hooked_layer = hooked(five_times)
    assert reshaped_norm(hooked_layer) == reshaped_norm(hooked_layer.weight)


def test_a_map_stands_for_itself():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3, padding=1)
    assert operator_norm(linear_map(layer, (3, 8, 8))) == operator_norm(layer, (3, 8, 8))


def test_every_size_bounds_all_sizes_and_is_approached():
    torch.manual_seed(0)
    layer = nn.Conv1d(2, 3, 4, stride=2, padding=1)
    interval = operator_norm(layer)
    sizes = [truth(layer, (2, n)) for n in (2, 3, 8, 31, 200)]
    assert max(sizes) <= interval.upper
    assert sizes == sorted(sizes)
    assert interval.lower * (1 - 1e-3) <= sizes[-1] <= interval.lower * (1 + 1e-3)


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(7, 5), nn.Conv2d(4, 6, 3, groups=2), nn.ConvTranspose2d(4, 6, 3)],
    ids=str,
)
def test_reshaped_norm_is_what_torch_normalises(layer):
    torch.manual_seed(0)
    interval = reshaped_norm(layer)
    normalised = parametrizations.spectral_norm(layer, n_power_iterations=200).eval()
    original = normalised.parametrizations.weight.original.detach()
    sigma = float(original.norm() / normalised.weight.detach().norm())
    assert interval.lower * (1 - 1e-5) <= sigma <= interval.upper * (1 + 1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize(("layer", "shape", "method", "width"), WIDTHS, ids=str)
def test_the_same_interval_on_a_gpu(layer, shape, method, width):
    on_cpu = operator_norm(default(layer), shape)
    on_gpu = operator_norm(layer.cuda(), shape)
    layer.cpu()
    assert on_gpu.method == on_cpu.method
    assert on_gpu.lower <= on_cpu.upper
    assert on_cpu.lower <= on_gpu.upper
    assert on_gpu.relative_width <= width


def test_the_supremum_over_all_sizes_is_bounded_when_it_hides_off_the_axes_of_its_cell():
    # Found by search: a bound by a product of cosines, axis by axis, missed the supremum by 2.6e-6 here.
    kernel = [
        [0.6646074258540021, 0.0855168860120718, 0.15589680798053795],
        [0.0748138353485635, -0.5097544027344718, -0.03851715131689925],
        [0.02198480770770854, -0.05942508024987724, -0.5934072963108283],
    ]
    layer = nn.Conv2d(1, 1, 3, bias=False).double()
    layer.weight = nn.Parameter(torch.tensor(kernel, dtype=torch.float64)[None, None])
    attained = torch.fft.fft2(layer.weight[0, 0].detach(), s=(512, 512)).abs().max().item()
    assert attained <= operator_norm(layer).upper


@pytest.mark.parametrize("scale", [1e-10, 1e-20])
def test_taps_that_never_meet_data_do_not_drown_the_others(scale):
    layer = default(nn.Conv2d(8, 8, 3, padding=1, bias=False))
    with torch.no_grad():
        layer.weight[:, :, 1, 1] *= scale
    interval = operator_norm(layer, (8, 1, 1), method="circular")
    assert truth(layer, (8, 1, 1)) in interval
    assert interval.relative_width < 1e-3


def test_a_weight_of_one_axis_is_no_matrix():
    with pytest.raises(ArgumentError, match="two axes or more"):
        reshaped_norm(torch.ones(4))
