"""Every map against its dense matrix, and the layer that it was read from."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from onelip.errors import ArgumentError, UnknownOperatorError
from onelip.linear.layers import check_shape, input_shapes, linear_map, plain_copy
from onelip.linear.power import power_iteration, start_vector

LAYERS = [
    (lambda: nn.Linear(5, 3, bias=False), (5,)),
    (lambda: nn.Conv1d(2, 3, 4, padding="same", bias=False), (2, 7)),
    (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=2, groups=2, padding_mode="reflect", bias=False), (4, 6)),
    (lambda: nn.Conv1d(1, 1, 5, padding=3, padding_mode="replicate", bias=False), (1, 4)),
    (lambda: nn.Conv2d(2, 3, 4, stride=2, padding=1, bias=False), (2, 7, 6)),
    (lambda: nn.Conv2d(2, 2, 3, dilation=2, padding=2, padding_mode="circular", bias=False), (2, 5, 6)),
    (lambda: nn.Conv2d(1, 2, (2, 3), stride=(3, 1), padding=(4, 1), bias=False), (1, 2, 5)),
    (lambda: nn.Conv3d(1, 2, 2, stride=2, padding=1, padding_mode="reflect", bias=False), (1, 3, 4, 2)),
    (lambda: nn.ConvTranspose1d(2, 3, 4, stride=3, padding=1, output_padding=2, bias=False), (2, 5)),
    (lambda: nn.ConvTranspose1d(2, 2, 3, dilation=4, output_padding=3, bias=False), (2, 3)),
    (lambda: nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, groups=2, bias=False), (4, 3, 5)),
    (lambda: nn.ConvTranspose3d(1, 1, 2, stride=2, bias=False), (1, 2, 2, 2)),
]  # fmt: skip


@pytest.fixture(params=LAYERS, ids=lambda case: str(case[0]()))
def layer_and_map(request):
    make, shape = request.param
    torch.manual_seed(0)
    layer = make().double()
    return layer, linear_map(layer, shape)


def test_apply_is_what_the_layer_does(layer_and_map):
    layer, map = layer_and_map
    x = torch.randn(3, *map.in_shape, dtype=torch.float64)
    torch.testing.assert_close(map.apply(x), layer(x), rtol=1e-12, atol=1e-12)
    assert map.apply(x).shape[1:] == map.out_shape


def test_adjoint_is_the_transposed_matrix(layer_and_map):
    _, map = layer_and_map
    matrix = map.dense()
    y = torch.randn(2, *map.out_shape, dtype=torch.float64)
    expected = y.flatten(1) @ matrix
    torch.testing.assert_close(map.adjoint(y).flatten(1), expected, rtol=1e-12, atol=1e-12)


def test_weight_gradient_is_the_derivative_of_the_bilinear_form(layer_and_map):
    layer, map = layer_and_map
    u = torch.randn(1, *map.out_shape, dtype=torch.float64)
    v = torch.randn(1, *map.in_shape, dtype=torch.float64)
    (expected,) = torch.autograd.grad((u * layer(v)).sum(), layer.weight)
    torch.testing.assert_close(map.weight_gradient(u, v), expected, rtol=1e-12, atol=1e-12)


def test_power_iteration_reaches_the_norm_of_the_dense_matrix_from_below(layer_and_map):
    _, map = layer_and_map
    truth = torch.linalg.matrix_norm(map.dense(), 2)
    sigma = power_iteration(map, start_vector(map), steps=500).sigma
    assert truth * (1 - 1e-4) <= sigma <= truth * (1 + 1e-12)


def test_zero_weight_gives_zero_not_nan():
    map = linear_map(nn.Linear(3, 2), (3,), weight=torch.zeros(2, 3))
    triple = power_iteration(map, start_vector(map), steps=3)
    assert triple.sigma == 0
    assert torch.isfinite(triple.u).all()
    assert torch.isfinite(triple.v).all()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.ReLU(), (3,), "layer must be nn.Linear"),
        (nn.Conv2d(3, 4, 3), (1, 8, 8), r"input_shape must be \(3, size, size\)"),
        (nn.Conv2d(3, 4, 9), (3, 8, 8), "large enough for the kernel"),
        (nn.Conv1d(3, 4, 2, padding=3), (3, -4), "input_shape must be a tuple of positive integers"),
    ],
)
def test_what_is_no_linear_map_is_refused_in_one_line(layer, shape, message):
    with pytest.raises(ArgumentError, match=message):
        linear_map(layer, shape)


def test_a_convolution_at_two_sizes_has_two_norms_and_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x):
            return self.layer(x).mean() + self.layer(x[:, :, ::2, ::2]).mean()

    with pytest.raises(
        UnknownOperatorError, match=r"'layer' is applied to inputs of \(1, 8, 8\) and of \(1, 4, 4\)"
    ):
        input_shapes(Twice(), (1, 8, 8))


@pytest.mark.parametrize("shape", [5, "15", None, (1, 8.0, 8), (3, -4), (0,)])
def test_a_shape_is_a_tuple_of_positive_integers(shape):
    with pytest.raises(ArgumentError, match="input_shape must be a tuple of positive integers, got"):
        check_shape(shape)


class Particular(nn.Module):
    """Refuses an input in a way of its own."""

    def __init__(self, how):
        super().__init__()
        self.layer, self.how = nn.Linear(3, 3), how

    def forward(self, x):
        if self.how == "assertion":
            assert x.shape[1] == 1
        if self.how == "index":
            return x.shape[3]
        return self.layer(x) if self.how == "dimension" else self.forward()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("assertion", "Assert"),
        ("index", "IndexError"),
        ("dimension", "RuntimeError"),
        ("argument", "TypeError"),
    ],
)
def test_whatever_a_module_says_of_a_wrong_shape_is_one_line(how, said):
    wanted = rf"input_shape must be one that the module takes, got \(2, 4\), for which it says: {said}"
    with pytest.raises(ArgumentError, match=wanted) as raised:
        input_shapes(Particular(how), (2, 4))
    assert "\n" not in str(raised.value)


class Resized(nn.Module):
    """A transposed convolution told how large its output is to be."""

    def __init__(self, *, by_name: bool):
        super().__init__()
        self.layer, self.by_name = nn.ConvTranspose1d(1, 1, 3, stride=2, padding=1), by_name

    def forward(self, x):
        size = (2 * x.shape[-1],)
        return self.layer(x, output_size=size) if self.by_name else self.layer(x, size)


@pytest.mark.parametrize("by_name", [True, False])
def test_a_transposed_convolution_called_with_an_output_size_is_refused(by_name):
    with pytest.raises(UnknownOperatorError, match="'layer' is called with an output_size"):
        input_shapes(Resized(by_name=by_name), (1, 1))


def test_an_output_size_of_none_changes_nothing():
    network = nn.Sequential(nn.ConvTranspose1d(1, 1, 3))
    network.forward = lambda x: network[0](x, None)
    assert input_shapes(network, (1, 4)) == {"0": (1, 4)}


def test_a_plain_copy_computes_the_same_and_leaves_the_original():
    torch.manual_seed(0)
    frozen = parametrizations.weight_norm(nn.Linear(4, 2)).requires_grad_(False)
    network = nn.Sequential(parametrizations.spectral_norm(nn.Linear(3, 4)), nn.ReLU(), frozen)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    plain = plain_copy(network)
    assert network.training
    assert plain.training
    assert all(network.state_dict()[name].equal(value) for name, value in before.items())
    assert [type(layer) for layer in plain] == [nn.Linear, nn.ReLU, nn.Linear]
    assert [p.requires_grad for p in plain.parameters()] == [True, True, False, False]
    x = torch.ones(2, 3)
    assert plain(x).equal(network.eval()(x))
