"""Every operator with a known constant, against that constant and against Jacobians by autograd."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from onelip.certificate.certify import certify
from onelip.certificate.rules import effect_of
from onelip.certificate.trace import trace
from onelip.errors import ArgumentError, NonFiniteError, UnknownOperatorError
from tests.certificate.functions import Function


class Scaled(nn.Module):
    """relu(c x), so that neighbours are no one linear map."""

    def __init__(self, c):
        super().__init__()
        self.c = c

    def forward(self, x):
        return (F.linear(x, torch.eye(2, dtype=x.dtype)) * self.c).relu()


def normalized(gamma, variance):
    layer = nn.BatchNorm1d(2).double()
    layer.weight.data.fill_(gamma)
    layer.running_var.fill_(variance)
    return layer


def maxmin(x):
    a, b = x.chunk(2, 1)
    return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], 1)


def maxmin_by_views(x):
    return torch.stack([x.view(2, -1, 2).max(-1)[0], x.view(2, -1, 2).min(-1)[0]], -1).flatten(1)


def split_and_join(x):
    a, b, c = x.split([1, 2, 1], 1)
    return torch.cat([c, a, b], 1)


def half_fold(x):
    a, b = x.chunk(2, 1)
    return torch.cat([a, (b - 0.5).abs()], 1)


def half_sorted(x):
    a, b = x.chunk(2, 1)
    return torch.stack([3 * a.flip(1), b.sort(1)[0]], 2)


def edit_in_place(x):
    x = 2 * x
    x[:, 0] = 5
    x[:, 1:] += 1
    return x.relu_()


def eye_conv(scale):
    layer = nn.Conv2d(2, 2, 1, bias=False)
    layer.weight.data = scale * torch.eye(2).reshape(2, 2, 1, 1)
    return layer


def batch_norm(variance, weight):
    layer = nn.BatchNorm2d(2, eps=0.0)
    layer.running_var.fill_(variance)
    layer.weight.data = torch.tensor(weight)
    return layer


ROOT = math.sqrt
# (name, function or module, input shape, its Lipschitz constant)
EXACT = [
    ("identity", lambda x: x.clone(), (3,), 1),
    ("flatten and permute", lambda x: x.permute(0, 2, 1).flatten(1), (2, 3), 1),
    ("expand", lambda x: x.unsqueeze(1).expand(-1, 5, -1), (3,), ROOT(5)),
    ("repeat", lambda x: x.repeat(1, 3), (4,), ROOT(3)),
    ("index twice", lambda x: x[:, [0, 0, 1]], (3,), ROOT(2)),
    ("slice", lambda x: x[:, 1:], (4,), 1),
    ("split and join", split_and_join, (4,), 1),
    ("half folded", half_fold, (4,), 1),
    ("half folded twice", lambda x: half_fold(half_fold(x).flip(1)), (4,), 1),
    ("halves through different operators", half_sorted, (4, 3), 3),
    ("an entry in two pieces", lambda x: torch.cat([x[:, :2].abs(), -x[:, 1:]], 1), (3,), ROOT(2)),
    ("pieces of pieces", lambda x: torch.cat([x[:, :1], half_fold(x[:, 1:]).relu()], 1), (5,), 1),
    ("cat with itself", lambda x: torch.cat([x, x], 1), (4,), ROOT(2)),
    ("cat with constants", lambda x: torch.cat([x, torch.ones(2, 2)], 1), (4,), 1),
    ("unfold", lambda x: x.unfold(1, 3, 1), (8,), ROOT(3)),
    ("roll and flip", lambda x: x.roll(1, 1).flip(1), (5,), 1),
    ("pixel shuffle", nn.PixelShuffle(2), (4, 3, 3), 1),
    ("channel shuffle", nn.ChannelShuffle(2), (4, 3, 3), 1),
    ("zero pad", nn.ZeroPad2d(2), (1, 4, 4), 1),
    ("constant pad", nn.ConstantPad2d(2, 3.5), (1, 4, 4), 1),
    ("reflect pad", nn.ReflectionPad2d(1), (1, 5, 5), 2),
    ("circular pad", nn.CircularPad1d(1), (1, 5), ROOT(2)),
    ("replicate pad", nn.ReplicationPad1d(2), (1, 5), ROOT(3)),
    ("nearest upsampling", nn.Upsample(scale_factor=3), (1, 4, 4), 3),
    ("scaling", lambda x: -2.5 * x + 7, (3,), 2.5),
    ("scaling by channel", lambda x: x * torch.tensor([[1.0, -3.0]]), (2,), 3),
    ("broadcast scaling", lambda x: x.unsqueeze(2) * torch.tensor([3.0, 4.0]), (2,), 5),
    ("reversed difference", lambda x: 1 - 2 * x, (3,), 2),
    ("division", lambda x: x / 4, (3,), 0.25),
    ("masking", lambda x: x.masked_fill(torch.tensor([True, False]), -math.inf)[:, 1:], (2,), 1),
    ("choice by a constant", lambda x: torch.where(torch.tensor([True, False]), x, -3 * x), (2,), 3),
    ("edit in place", edit_in_place, (3,), 2),
    ("relu in place", nn.ReLU(inplace=True), (3,), 1),
    ("sum", lambda x: x.sum(1), (9,), 3),
    ("mean", lambda x: x.mean(1), (9,), 1 / 3),
    ("mean over space", lambda x: x.mean((2, 3)), (2, 4, 4), 1 / 4),
    ("cast", lambda x: x.half().float(), (3,), 1),
    ("full like", lambda x: x * torch.full_like(x, 0.1), (3,), 0.1),
    ("zeros like", lambda x: x + torch.zeros_like(x), (3,), 1),
    ("batch norm", batch_norm(0.25, [1.0, -3.0]), (2, 3, 3), 6),
    ("conv and batch norm", nn.Sequential(eye_conv(0.5), batch_norm(0.25, [1.0, -3.0])), (2, 3, 3), 3),
    ("layer norm", nn.LayerNorm(4, eps=0.01), (4,), 10),
    ("group norm", nn.GroupNorm(2, 4, eps=0.01), (4, 3), 10),
    ("instance norm", nn.InstanceNorm1d(2, eps=0.01), (2, 5), 10),
    ("rms norm", nn.RMSNorm(4, eps=0.01), (4,), 10),
    ("softmax", nn.Softmax(1), (2,), 0.5),
    ("log-softmax", nn.LogSoftmax(1), (4,), 2),
    ("logsumexp", lambda x: x.logsumexp(1), (4,), 1),
    ("sort", lambda x: x.sort(1)[0], (5,), 1),
    ("largest", lambda x: x.topk(2, 1)[0], (5,), 1),
    ("maximum of an axis", lambda x: x.amax(1), (5,), 1),
    ("maxmin", maxmin, (6,), 1),
    ("maxmin by views", maxmin_by_views, (6,), 1),
    ("pairs of pairs", lambda x: x.view(2, 2, 2).amax(1).amax(1), (4,), 1),
    ("group sort", lambda x: x.view(2, -1, 3).sort(2)[0].flatten(1), (6,), 1),
    ("norm", lambda x: x.norm(dim=1), (5,), 1),
    ("1-norm", lambda x: torch.linalg.vector_norm(x, 1, dim=1), (4,), 2),
    ("mean of a stack", lambda x: torch.stack([x, 2 * x, 3 * x]).mean(0), (3,), 2),
    ("norm of a stack", lambda x: torch.stack([3 * x.abs(), 4 * x]).norm(dim=0), (3,), 5),
    ("sums on both sides", lambda x: torch.stack([x, x]).sum((0, 2)), (4,), 4),
    ("average pooling", nn.AvgPool2d(2), (1, 6, 6), 0.5),
    ("max pooling", nn.MaxPool2d(2), (1, 6, 6), 1),
    ("max pooling with overlap", nn.MaxPool2d(3, stride=1), (1, 7, 7), 3),
    ("max pooling, k3 s2", nn.MaxPool1d(3, stride=2), (1, 9), ROOT(2)),
    ("adaptive max pooling", nn.AdaptiveMaxPool1d(2), (1, 6), 1),
    ("adaptive max pooling with overlap", nn.AdaptiveMaxPool1d(2), (1, 5), ROOT(2)),
    ("adaptive average", nn.AdaptiveAvgPool2d(1), (2, 4, 4), 0.25),
    ("dropout", nn.Dropout(0.5), (3,), 1),
    ("residual", lambda x: x + torch.relu(x), (3,), 2),
    ("cancelling branches", lambda x: 3 * x - 2 * x, (3,), 1),
    ("matrix on the left", lambda x: torch.tensor([[0.0, 3.0], [4.0, 0.0]]) @ x, (2, 5), 4),
    ("matrix on the right", lambda x: x @ torch.tensor([[0.0, 3.0], [4.0, 0.0]]), (5, 2), 4),
    ("vector", lambda x: x @ torch.tensor([3.0, 4.0]), (2,), 5),
    ("einsum", lambda x: torch.einsum("bi,ij->bj", x, torch.tensor([[0.0, 3.0], [4.0, 0.0]])), (2,), 4),
    ("clamp", lambda x: x.clamp(-1, 1), (3,), 1),
    ("clamp of a broadcast", lambda x: torch.clamp(x, max=torch.tensor([1.0, 2.0, 3.0, 4.0])), (1,), 2),
    ("constant", lambda x: 0 * x, (3,), 0),
    ("linear, then copies", lambda x: F.linear(x, torch.eye(3)) * torch.ones(3, 1), (1, 3), ROOT(3)),
    ("conv, then copies", lambda x: F.conv2d(x, torch.ones(1, 1, 1, 1)) * torch.ones(4, 4), (1, 1, 1), 4),
    ("conv without the padding before it", lambda x: F.conv1d(F.pad(x, []), torch.ones(1, 1, 1)), (1, 5), 1),
    ("transposed conv, then copies", lambda x: F.conv_transpose2d(x, torch.ones(5, 1, 1, 1))
                                               * torch.ones(5, 1, 1), (5, 1, 1), 5),
    ("sum of no entries", lambda x: x[:, :0].sum(1, keepdim=True) + x, (3,), 1),
    ("running sum of no entries", lambda x: torch.cat([x[:, :0].cumsum(1), 2 * x], 1), (3,), 2),
    ("einsum of no entries", lambda x: torch.einsum("bi,ij->bj", x[:, :0], torch.ones(0, 3)) + x, (3,), 1),
    ("no entries on the left", lambda x: torch.ones(3, 0) @ x[:, :0] + x, (3, 3), 1),
    ("no matrices", lambda x: torch.cat([x[:, :0] @ torch.ones(0, 4, 4), x], 1), (3, 3, 4), 1),
    ("average of another sign", lambda x: F.avg_pool2d(x, 2, divisor_override=-4), (1, 4, 4), 0.5),
]  # fmt: skip


def as_module(function):
    return function if isinstance(function, nn.Module) else Function(function)


@pytest.mark.parametrize(("name", "function", "shape", "constant"), EXACT, ids=[case[0] for case in EXACT])
def test_upper_bound_is_the_known_constant(name, function, shape, constant):
    upper = certify(as_module(function), shape, starts=0).upper
    assert constant * (1 - 1e-6) <= upper <= constant * (1 + 1e-4)


# Bounds that are sound but not tight, or whose value has no closed form: only Jacobians judge them.
SOUND = [
    ("conv", nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 5, 5)),
    ("grouped conv", nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2), (4, 9)),
    ("same padding", nn.Conv1d(2, 2, 4, padding="same"), (2, 7)),
    ("transposed conv", nn.ConvTranspose2d(2, 3, 3, stride=2, output_padding=1), (2, 3, 3)),
    ("conv 3d", nn.Conv3d(1, 2, 2), (1, 3, 3, 3)),
    ("linear on sequences", nn.Linear(4, 3), (5, 4)),
    ("transposed conv and batch norm", nn.Sequential(nn.ConvTranspose2d(2, 4, 2, groups=2),
                                                     nn.BatchNorm2d(4)), (2, 3, 3)),
    ("bilinear", nn.Upsample(scale_factor=2, mode="bilinear"), (1, 4, 4)),
    ("bicubic", nn.Upsample(size=(5, 3), mode="bicubic"), (1, 4, 4)),
    ("average pooling with overlap", nn.AvgPool2d(3, 2, 1, count_include_pad=False), (1, 5, 5)),
    ("average of another sign with overlap", lambda x: F.avg_pool2d(x, 3, 1, 1, divisor_override=-1),
     (1, 8, 8)),
    ("cumsum", lambda x: x.cumsum(1), (5,)),
    ("softmax of many", nn.Softmax(1), (6,)),
    ("head by head", lambda x: (x.unsqueeze(2) @ torch.ones(3, 4, 2)).squeeze(2), (3, 4)),
    ("maxima of maxima", lambda x: torch.maximum(torch.maximum(x[:, 0], x[:, 1]), x[:, 2]), (3,)),
    ("maximum of two branches", lambda x: torch.maximum(x, 2 * x), (3,)),
    ("two branches", lambda x: torch.cat([torch.relu(x), torch.tanh(2 * x)], 1), (3,)),
    ("dense network", nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 9), nn.Mish(),
                                    nn.Linear(9, 2)), (6,)),
    ("folded batch", lambda x: (x.reshape(-1, 3) @ torch.ones(3, 2)).relu().reshape(x.shape[0], -1), (4, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "function", "shape"), SOUND, ids=[case[0] for case in SOUND])
def test_no_jacobian_exceeds_the_upper_bound(name, function, shape):
    torch.manual_seed(0)
    module = as_module(function).double().eval()
    if name in ("head by head", "folded batch"):
        module.float()  # their constants are in single precision
    upper = certify(module, shape, starts=0).upper
    assert upper < 1e3
    like = torch.ones((), dtype=torch.float32 if name in ("head by head", "folded batch") else torch.float64)
    for scale in (0.1, 1.0, 4.0):
        x = scale * torch.randn(shape).to(like)
        J = torch.autograd.functional.jacobian(lambda z: module(z.expand(2, *shape)).reshape(2, -1)[0], x)
        norm = torch.linalg.matrix_norm(J.reshape(J.shape[0], -1).double(), 2).item()
        assert norm <= upper * (1 + (1e-9 if like.dtype == torch.float64 else 1e-5))


UNBOUNDED = [
    ("product", lambda x: x * x, (3,), "product of two"),
    ("attention", lambda x: F.scaled_dot_product_attention(x, x, x), (4, 3), "product of two"),
    ("gate", lambda x: F.glu(x, 1), (4,), "product of two"),
    ("quotient", lambda x: x / x.norm(dim=1, keepdim=True), (3,), "division"),
    ("square", torch.square, (3,), "slope is not bounded"),
    ("exponential", torch.exp, (3,), "slope is not bounded"),
    ("root", torch.sqrt, (3,), "slope is not bounded"),
    ("power", lambda x: x**3, (3,), "power"),
    ("cast to integers", lambda x: x.int().float(), (3,), "jumps"),
    ("cast by example", lambda x: x.type_as(torch.tensor([1])) * 1.0, (3,), "jumps"),
    ("sign", torch.sign, (3,), "jumps"),
    ("choice by the input", lambda x: torch.where(x > 0, x, x - 1), (3,), "jumps"),
    ("batch statistics of a sample", lambda x: x.var(1), (3,), "slope is not bounded"),
    ("lstm", lambda x: x, (3, 4), "product of two"),
    ("elu that grows", lambda x: torch.ops.aten.elu(x, 1, 1, -1), (3,), "exponentially"),
    ("deviation", lambda x: torch.native_layer_norm(x, [4], None, None, 1e-5)[2], (4,), "1/σ"),
    ("sum in integers", lambda x: x.sum(1, dtype=torch.int64), (3,), "jumps"),
    ("running sum in integers", lambda x: x.cumsum(1, dtype=torch.int64), (3,), "jumps"),
    ("einsum of integers", lambda x: torch.einsum("bi,ij->bj", x.long(), torch.eye(3).long()), (3,), "jumps"),
    ("bits as another type", lambda x: x.view(torch.int32) * 1.0, (3,), "bits"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "function", "shape", "why"), UNBOUNDED, ids=[case[0] for case in UNBOUNDED])
def test_unbounded_operators_say_why(name, function, shape, why):
    module = First(nn.LSTM(4, 2, batch_first=True)) if name == "lstm" else Function(function)
    certificate = certify(module, shape, starts=0)
    assert certificate.upper == math.inf
    assert why in certificate.why


JUMPS = [
    ("a comparison", lambda x: (x > 0).float()),
    ("a truncation", lambda x: x.long().float()),
    ("a position", lambda x: x.argmax(1)),
    ("positions", lambda x: x.sort(1).indices.float()),
    ("without a derivative", lambda x: x.detach() * 3 + (x > 0)),
    ("into integers", lambda x: torch.slice_scatter(torch.zeros(x.shape, dtype=torch.int64), x, 1) * 1.0),
]


@pytest.mark.parametrize(("name", "function"), JUMPS, ids=[name for name, _ in JUMPS])
def test_what_jumps_has_no_bound_and_a_search_that_ends(name, function):
    certificate = certify(Function(function), (3,), starts=1, steps=3)
    assert certificate.upper == math.inf


TWICE = [
    ("einsum", lambda x: torch.einsum("bi,bi->b", x, x)),
    ("einsum of samples", lambda x: torch.einsum("bi,ci->bc", x, x)),
    ("einsum behind an offset", lambda x: torch.einsum("bi,bj->bij", (x - 100).relu(), (x - 100).relu())),
    ("the same bias", lambda x: F.linear(x, torch.eye(2), x)),
    ("linear by itself", lambda x: F.linear(x, x)),
    ("convolution by itself", lambda x: F.conv1d(x[None], x[..., None])[0]),
]


@pytest.mark.parametrize(("name", "function"), TWICE, ids=[name for name, _ in TWICE])
def test_the_input_as_a_weight_has_no_bound(name, function):
    certificate = certify(Function(function), (2,), starts=0)
    assert certificate.upper == math.inf
    assert "a product of two tensors" in certificate.why


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * math.nan,
        lambda x: x + math.nan,
        lambda x: F.leaky_relu(x, math.nan),
        lambda x: F.layer_norm(x, [3], eps=math.nan),
        lambda x: x[:, :0].mean(1, keepdim=True) + x,
        lambda x: x.clamp(max=torch.tensor([math.nan, 1.0, 1.0])),
        lambda x: torch.where(torch.tensor([True, False, True]), x, math.nan).amax(1),
        lambda x: x.masked_fill(torch.ones(3, dtype=torch.bool), -math.inf).softmax(1),
        lambda x: x.masked_fill(torch.tensor([True, False, False]), math.inf) * 0,
    ],
)
def test_numbers_that_are_nan_raise(function):
    with pytest.raises(NonFiniteError, match="NaN"):
        certify(Function(function), (3,), starts=0)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.cos(x + 3j).abs(),
        lambda x: (x * torch.tensor(1j)).abs(),
        lambda x: torch.fft.rfft(x).abs(),
    ],
)
def test_complex_numbers_have_no_rule(function):
    with pytest.raises(UnknownOperatorError, match="complex"):
        certify(Function(function), (3,), starts=0)


def test_softplus_is_searched_without_its_switch():
    flat = Function(lambda x: F.softplus(20 + 1e-12 * x) + 1e-3 * (x.tanh() - (2 * (2 * x).sigmoid() - 1)))
    assert certify(flat, (100,), starts=1).lower < 1e-11


def test_a_product_that_underflows_is_not_taken_for_zero():
    layers = (Scaled(1e-200), Scaled(1e-130), Scaled(1e300), Scaled(1e40))
    assert certify(nn.Sequential(*layers).double(), (2,), starts=0).upper >= 1e10


def test_a_factor_that_underflows_is_refused():
    layers = (normalized(1e-250, 1e200), Scaled(1e180), Scaled(1e180))
    with pytest.raises(NonFiniteError, match=r"^batch_norm in '0' has .* smaller than float64 holds"):
        certify(nn.Sequential(*layers).double(), (2,), starts=0)


class First(nn.Module):
    """The first of a module's outputs."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[0]


def test_multi_head_attention_is_infinite_and_names_the_module():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x):
            return x + self.attention(x, x, x)[0]

    certificate = certify(Block(), (3, 4), starts=0)
    assert certificate.upper == math.inf
    assert "attention" in certificate.why


MIXING = [
    ("mean", lambda x: x - x.mean(0, keepdim=True)),
    ("flip", lambda x: x + x.flip(0)),
    ("reshape", lambda x: x.t().reshape(2, -1)),
    ("sort", lambda x: x.sort(0)[0]),
    ("softmax", lambda x: x.softmax(0)),
    ("matrix", lambda x: torch.ones(2, 2) @ x),
    ("roll", lambda x: x.roll(1, 0)),
    ("maximum", lambda x: x.amax()),
    ("pick one", lambda x: x[:1].expand(2, -1)),
    ("sum of broadcasts", lambda x: x.sum(1) + x[:, :2]),
    ("sample as a bias", lambda x: F.linear(x, torch.eye(4), x[0])),
    ("samples as statistics", lambda x: F.batch_norm(torch.zeros(2, 4), x[0], x[1].abs())),
    ("sample as the weight of a norm", lambda x: F.layer_norm(x, [4], weight=x[0])),
    ("weight a sample", lambda x: torch.einsum("bi,bi->bi", x, torch.ones(2, 4))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "function"), MIXING, ids=[case[0] for case in MIXING])
def test_what_mixes_the_samples_of_a_batch_raises(name, function):
    with pytest.raises(UnknownOperatorError, match="mixes the samples"):
        certify(Function(function), (4,), starts=0)


def test_a_batch_axis_that_ends_elsewhere_raises():
    with pytest.raises(ArgumentError, match="batch axis first"):
        certify(Function(lambda x: x.transpose(0, 1)), (3,), starts=0)


def test_batch_norm_on_batch_statistics_raises():
    with pytest.raises(UnknownOperatorError, match="mixes the samples"):
        certify(nn.BatchNorm1d(3, track_running_stats=False), (3,), starts=0)


def test_an_operator_without_a_rule_is_named_with_its_place():
    network = nn.Sequential(nn.Linear(2, 2), Function(torch.special.i0))
    with pytest.raises(UnknownOperatorError, match="special_i0 in '1'"):
        certify(network, (2,), starts=0)


def copied_into_integers(x):
    whole = torch.zeros_like(x, dtype=torch.int64)
    whole.copy_(x)
    return whole * 1.5


REFUSED = [
    ("linear", lambda x: F.linear(x, torch.ones(3)), (3,), "a weight of 1 axes: give the weight two"),
    ("addmm", lambda x: torch.addmm(torch.ones(3), x, torch.eye(3), alpha=2), (3,), "write it with F.linear"),
    ("matmul", lambda x: torch.ones(3) @ x.t(), (3,), r"shapes \(3, 2\) and \(3,\): replace it"),
    ("bicubic", lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), (3, 64, 64), "smaller inputs"),
    ("einsum", lambda x: torch.einsum("bi,ij", x, torch.eye(3)), (3,), "'bi,ij': write out '->'"),
    ("a number", lambda x: x * x.sum().item(), (3,), "numbers read from tensors, .*: take it out of forward"),
    ("complex", lambda x: torch.fft.rfft(x).abs(), (3,), "complex numbers, .*: compute with real"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "function", "shape", "message"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_has_no_rule_is_refused_with_the_way_out(name, function, shape, message):
    with pytest.raises(UnknownOperatorError, match=f"^no sound rule for .*{message}"):
        certify(Function(function), shape, starts=0)


def test_a_copy_into_integers_has_no_rule():
    with pytest.raises(UnknownOperatorError, match="copy"):
        certify(Function(copied_into_integers), (3,), starts=0)


@torch.library.custom_op("onelip_tests::relu", mutates_args=())
def three_relu(x: torch.Tensor) -> torch.Tensor:
    return 3 * torch.relu(x)


@three_relu.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


def test_an_operator_of_another_library_has_no_rule_of_aten_s():
    with pytest.raises(UnknownOperatorError, match="onelip_tests::relu"):
        certify(Function(three_relu), (3,), starts=0)


@pytest.mark.parametrize(
    "function",
    [lambda x: torch.cat([x, 1e-9 * x], 1), lambda x: torch.add(x, x, alpha=1e-17)],
    ids=["joined", "summed"],
)
def test_what_rounding_to_one_hides_is_still_above_one(function):
    assert certify(Function(function), (3,), starts=0).upper > 1


def test_an_average_into_no_entries_is_zero():
    """Not searched: torch cannot differentiate it."""
    node = trace(Function(lambda x: F.adaptive_avg_pool1d(x, 0)), (1, 3)).output
    assert effect_of(node).norm.upper == 0


def test_random_operators_raise():
    with pytest.raises(UnknownOperatorError, match="random"):
        certify(Function(lambda x: x + torch.rand_like(x)), (3,), starts=0)


@pytest.mark.parametrize("seed", range(40))
def test_blocks_bound_random_pieces_that_overlap_and_are_joined(seed):
    """Each piece takes any entries, some twice, through its own operators; the Jacobian is the judge."""
    generator = torch.Generator().manual_seed(seed)
    pieces = [torch.randint(0, 5, (3,), generator=generator) for _ in range(3)]
    W = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    ways = [torch.tanh, lambda z: 3 * z, lambda z: z.sort(1)[0], lambda z: (z @ W.to(z)).abs(), lambda z: z]
    chosen = torch.randint(0, len(ways), (4,), generator=generator).tolist()

    def network(x):
        joined = torch.cat([ways[way](x[:, at]) for way, at in zip(chosen, pieces, strict=False)], 1)
        return torch.cat([joined[:, :2], ways[chosen[3]](joined[:, 2:5]), joined[:, 5:].relu()], 1)

    upper = certify(Function(network), (5,), starts=0).upper
    for x in 2 * torch.randn(20, 5, generator=generator, dtype=torch.float64):
        J = torch.autograd.functional.jacobian(lambda z: network(z[None])[0], x)
        assert torch.linalg.matrix_norm(J, 2) <= upper * (1 + 1e-12)


CANCELS = torch.tensor([[1e16, 1.0, -1e16]])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.einsum("bi,ij,jk->bk", x, CANCELS, torch.ones(3, 1)),
        lambda x: torch.einsum("bi,ij->b", x, CANCELS),
        lambda x: torch.einsum("bj,kj->bk", x, CANCELS),
    ],
    ids=["two weights", "a sum over a weight", "a sum over a weight that x is broadcast to"],
)
def test_an_einsum_that_rounds_its_weights_has_no_rule(function):
    with pytest.raises(UnknownOperatorError, match="computes with weights alone"):
        certify(Function(function), (1,), starts=0)


def test_a_normalisation_that_underflows_is_not_zero():
    norm = nn.LayerNorm(3, eps=100.0).double()
    norm.weight.data.fill_(5e-324)
    assert certify(norm, (3,), starts=0).upper > 0
