"""Random networks for fuzzing: every operator that has a rule, in series, residual, joined and odd shapes."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

Shape = tuple[int, ...]
Piece = tuple[nn.Module, Shape]
LARGEST = 400  # entries of any tensor, so that Jacobians stay cheap


class Apply(nn.Module):
    """A function as a module, with tensors as its buffers."""

    def __init__(self, name: str, function: Callable[..., Tensor], *buffers: Tensor):
        super().__init__()
        self.name, self.function, self.count = name, function, len(buffers)
        for i, buffer in enumerate(buffers):
            self.register_buffer(f"buffer_{i}", buffer)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *(getattr(self, f"buffer_{i}") for i in range(self.count)))

    def extra_repr(self) -> str:
        return self.name


class Join(nn.Module):
    """Branches from one input, joined by a function: sums, differences, concatenation, extrema."""

    def __init__(self, name: str, function: Callable[..., Tensor], *branches: nn.Module):
        super().__init__()
        self.name, self.function, self.branches = name, function, nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(*(branch(x) for branch in self.branches))


def maxmin(x: Tensor) -> Tensor:
    a, b = x.chunk(2, 1)
    return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], 1)


def sort_groups(x: Tensor, size: int) -> Tensor:
    return x.unflatten(1, (-1, size)).sort(2)[0].flatten(1, 2)


def extrema_of_pairs(x: Tensor) -> Tensor:
    pairs = x.unflatten(1, (-1, 2))
    return torch.stack([pairs.max(2)[0], pairs.min(2)[0]], 2).flatten(1, 2)


def inplace_edit(x: Tensor) -> Tensor:
    x = x * 1.5
    x[:, 0] = 0.25
    x[:, 1:] += 1
    return x.clamp_(-3, 3)


def activations(r: random.Random) -> nn.Module:
    slope = r.uniform(-1.5, 1.5)
    return r.choice(
        [
            nn.ReLU(inplace=r.random() < 0.5),
            nn.LeakyReLU(slope),
            nn.ELU(r.uniform(0.2, 2.5)),
            nn.SELU(),
            nn.Tanh(),
            nn.Sigmoid(),
            nn.Softplus(beta=r.uniform(0.3, 3)),
            nn.Hardtanh(-1, r.uniform(0, 2)),
            nn.GELU(),
            nn.GELU(approximate="tanh"),
            nn.SiLU(),
            nn.Mish(),
            nn.CELU(r.uniform(0.2, 2)),
            nn.ReLU6(),
            nn.Hardswish(),
            nn.Hardsigmoid(),
            nn.LogSigmoid(),
            nn.RReLU(),
            nn.Tanhshrink(),
            nn.PReLU(init=slope),
            nn.Threshold(0.0, 0.0),
            Apply("abs", torch.abs),
            Apply("sin", torch.sin),
            Apply("cos", lambda x: torch.cos(2 * x)),
            Apply("atan", torch.atan),
            Apply("erf", torch.erf),
            Apply("clamp", lambda x: x.clamp(-0.3, 1.2)),
            Apply("max with a constant", lambda x: torch.clamp_min(x, 0.1)),
            nn.Dropout(0.4),
            nn.Identity(),
        ]
    )


def anywhere(r: random.Random, shape: Shape) -> Piece | None:
    """Entrywise operators, sorting, softmax, and moves that keep the shape."""
    axis = r.randrange(1, len(shape) + 1)
    even = shape[0] % 2 == 0
    factor = torch.randn(shape[0], *[1] * (len(shape) - 1), dtype=torch.float64)
    mask = torch.rand(shape, dtype=torch.float64) < 0.5
    shift = r.randrange(3)
    if r.random() < 0.5:
        return activations(r), shape
    made: nn.Module = r.choice(
        [
            nn.Softmax(axis),
            nn.LogSoftmax(axis),
            Apply("scale", lambda x, c: x * c - 0.3, factor),
            Apply("divide", lambda x, c: (1 - x) / (c.abs() + 0.5), factor),
            Apply("flip", lambda x: x.flip(axis)),
            Apply("roll", lambda x: x.roll(shift, axis)),
            Apply("sort", lambda x: x.sort(axis)[0]),
            Apply("cumsum", lambda x: x.cumsum(axis) / shape[axis - 1]),
            Apply("centre", lambda x: x - x.mean(axis, keepdim=True)),
            Apply("mask", lambda x, m: x.masked_fill(m, 1.0), mask),
            Apply("choose", lambda x, m: torch.where(m, x, -2 * x), mask),
            Apply("permute entries", lambda x, i: x.index_select(1, i), torch.randperm(shape[0])),
            Apply("repeat an entry", lambda x, i: x[:, i], torch.randint(0, shape[0], (shape[0],))),
            Apply("edit in place", inplace_edit),
            *(
                [
                    Apply("maxmin", maxmin),
                    Apply("extrema of pairs", extrema_of_pairs),
                    Apply("sort groups", lambda x: sort_groups(x, 2)),
                ]
                if even
                else []
            ),
        ]
    )
    return made, shape


def on_vectors(r: random.Random, shape: Shape) -> Piece | None:
    (n,), m = shape, r.randint(1, 24)
    wrap = r.choice(
        [lambda layer: layer] * 3 + [parametrizations.weight_norm, parametrizations.spectral_norm]
    )
    linear = wrap(nn.Linear(n, m, bias=r.random() < 0.7).double())
    square = torch.randn(n, n, dtype=torch.float64) / math.sqrt(n)
    matrix = torch.randn(n, m, dtype=torch.float64) / math.sqrt(n)
    made: Piece = r.choice(
        [
            *[(linear, (m,))] * 4,
            (parametrizations.orthogonal(nn.Linear(n, n).double()), (n,)),
            (nn.BatchNorm1d(n), (n,)),
            (nn.LayerNorm(n, eps=0.1), (n,)),
            (Apply("rms norm", lambda x: F.rms_norm(x, (n,), eps=0.2)), (n,)),
            (Apply("matmul", torch.matmul, matrix), (m,)),
            (Apply("einsum", lambda x, A: torch.einsum("bi,ij->bj", x, A), matrix), (m,)),
            (Apply("skip", lambda x, A: x + x @ A, square), (n,)),
            (Apply("norm", lambda x: x.norm(dim=1, keepdim=True)), (1,)),
            (Apply("logsumexp", lambda x: x.logsumexp(1, keepdim=True)), (1,)),
            (Apply("sum", lambda x: x.sum(1, keepdim=True)), (1,)),
            (Apply("1-norm", lambda x: torch.linalg.vector_norm(x, 1, dim=1, keepdim=True)), (1,)),
            (Apply("extreme", lambda x: x.amax(1, keepdim=True) - x.amin(1, keepdim=True)), (1,)),
            (Apply("largest", lambda x: x.topk(max(1, n // 2), 1)[0]), (max(1, n // 2),)),
            (
                Apply(
                    "broadcast",
                    lambda x, c: x[:, :, None] * c,
                    torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64),
                ),
                (n, 3),
            ),
            *([(nn.Unflatten(1, (n // 4, 4)), (n // 4, 4))] if n % 4 == 0 else []),
            *([(nn.Unflatten(1, (n // 9, 3, 3)), (n // 9, 3, 3))] if n % 9 == 0 else []),
        ]
    )
    return made


def on_sequences(r: random.Random, shape: Shape) -> Piece | None:
    c, n = shape
    m = r.randint(1, 6)
    heads = torch.randn(c, n, m, dtype=torch.float64)
    mixing = torch.randn(c, c, dtype=torch.float64)
    made: Piece = r.choice(
        [
            convolution(r, shape),
            convolution(r, shape),
            transposed(r, shape),
            (nn.Linear(n, m).double(), (c, m)),
            (nn.BatchNorm1d(c), shape),
            (nn.InstanceNorm1d(c, eps=0.1), shape),
            (nn.GroupNorm(1, c, eps=0.1), shape),
            (nn.LayerNorm([n], eps=0.1), shape),
            (nn.MaxPool1d(2, 1), shape),
            (nn.AvgPool1d(3, 2, 1), shape),
            (nn.AdaptiveAvgPool1d(2), shape),
            (nn.AdaptiveMaxPool1d(3), shape),
            (nn.Flatten(), shape),
            (Apply("transpose", lambda x: x.transpose(1, 2)), (n, c)),
            (nn.Upsample(scale_factor=2), shape),
            (nn.Upsample(scale_factor=2, mode="linear"), shape),
            (Apply("mix", lambda x, A: A @ x, mixing), shape),
            (Apply("windows", lambda x: x.unfold(2, 2, 1).flatten(1, 2).clone()), shape),
            (nn.ReflectionPad1d(1), shape),
            (Apply("matrix a head", lambda x, A: (x.unsqueeze(2) @ A).squeeze(2), heads), (c, m)),
        ]
    )
    return measured(made[0], shape)


def on_images(r: random.Random, shape: Shape) -> Piece | None:
    c = shape[0]
    pads = [r.randrange(3) for _ in range(4)]
    mode = r.choice(["constant", "reflect", "replicate", "circular"])
    made: Piece = r.choice(
        [
            *[convolution(r, shape) for _ in range(5)],
            transposed(r, shape),
            (nn.BatchNorm2d(c), shape),
            (nn.Sequential(convolution(r, shape)[0], nn.LazyBatchNorm2d()), shape),
            (nn.GroupNorm(1, c, eps=0.1), shape),
            (nn.InstanceNorm2d(c, eps=0.1, affine=True), shape),
            (nn.LayerNorm(list(shape), eps=0.1), shape),
            (nn.MaxPool2d(r.choice([2, 3, (3, 2)]), r.choice([1, 2]), 1), shape),
            (nn.MaxPool2d(2, 1, dilation=2), shape),
            (nn.MaxPool2d(3, 2, ceil_mode=True), shape),
            (nn.AvgPool2d(2), shape),
            (nn.AvgPool2d(3, 1, 1), shape),
            (nn.AvgPool2d(3, 2, 1, count_include_pad=False), shape),
            (nn.AdaptiveAvgPool2d((3, 2)), shape),
            (nn.AdaptiveMaxPool2d((2, 3)), shape),
            (nn.Upsample(scale_factor=2), shape),
            (nn.PixelUnshuffle(2), shape),
            (nn.Upsample(scale_factor=1.5, mode="bilinear"), shape),
            (nn.Upsample(size=(5, 4), mode="bicubic"), shape),
            (nn.PixelShuffle(2), shape),
            (nn.ChannelShuffle(2), shape),
            (Apply("pad", lambda x: F.pad(x, pads, mode)), shape),
            (Apply("permute", lambda x: x.permute(0, 2, 3, 1)), shape),
            (Apply("mean over space", lambda x: x.mean((2, 3))), shape),
            (nn.Flatten(), shape),
            (nn.Flatten(2), shape),
            (Apply("crop", lambda x: x[:, :, 1:, :-1]), shape),
            (Apply("patches", lambda x: F.unfold(x, 2, stride=2)), shape),
            (nn.Dropout2d(), shape),
            (parametrizations.spectral_norm(convolution(r, shape)[0]), shape),
        ]
    )
    return measured(made[0], shape)


def convolution(r: random.Random, shape: Shape) -> Piece:
    kind = {1: nn.Conv1d, 2: nn.Conv2d}[len(shape) - 1]
    groups = r.choice([g for g in (1, 1, 2, 3, shape[0]) if shape[0] % g == 0])
    mode = r.choice(["zeros", "zeros", "circular", "reflect", "replicate"])
    layer = kind(
        shape[0],
        groups * r.randint(1, 4),
        r.randint(1, 4),
        stride=r.choice([1, 1, 2]),
        padding=r.randrange(3),
        dilation=r.choice([1, 1, 2]),
        groups=groups,
        padding_mode=mode,
    )
    return layer.double(), shape


def transposed(r: random.Random, shape: Shape) -> Piece:
    kind = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}[len(shape) - 1]
    return kind(
        shape[0], r.randint(1, 4), r.randint(1, 4), stride=r.choice([1, 2]), padding=r.randrange(2)
    ).double(), shape


def measured(module: nn.Module, shape: Shape) -> Piece | None:
    """The module with the shape that it gives, or None where it does not take this one."""
    with torch.no_grad():
        out = module.double().eval()(torch.zeros(2, *shape, dtype=torch.float64))
    return module, tuple(out.shape[1:])


def joined(r: random.Random, shape: Shape, depth: int) -> Piece | None:
    """Residual sums, scaled branches, concatenation and extrema of two branches."""
    first, second = chain(r, shape, r.randint(1, 3), depth - 1), chain(r, shape, r.randint(0, 2), depth - 1)
    (f, a), (g, b) = first, second
    beta = r.uniform(-1.5, 1.5)
    if a == b:
        function = r.choice(
            [
                torch.add,
                torch.sub,
                torch.maximum,
                torch.minimum,
                lambda x, y: x.add(y, alpha=beta),
                lambda x, y: torch.stack([x, y], 1).flatten(1, 2),
            ]
        )
        return measured(Join("join", function, f, g), shape)
    if len(a) == len(b) and a[1:] == b[1:]:
        return measured(Join("cat", lambda x, y: torch.cat([x, y], 1), f, g), shape)
    return measured(Join("flat cat", lambda x, y: torch.cat([x.flatten(1), y.flatten(1)], 1), f, g), shape)


def piece(r: random.Random, shape: Shape, depth: int) -> Piece | None:
    makers = {1: on_vectors, 2: on_sequences, 3: on_images}
    choices: list[Callable[[], Piece | None]] = [lambda: makers[len(shape)](r, shape)] * 5
    choices += [lambda: anywhere(r, shape)] * 3 + ([lambda: joined(r, shape, depth)] if depth else [])
    try:
        return r.choice(choices)()
    except (RuntimeError, ValueError, IndexError, KeyError):
        return None  # torch refuses this geometry


def chain(r: random.Random, shape: Shape, length: int, depth: int) -> Piece:
    made: list[nn.Module] = []
    while len(made) < length:
        found = piece(r, shape, depth)
        if found is not None and found[1] and 1 <= math.prod(found[1]) <= LARGEST and len(found[1]) <= 3:
            made.append(found[0])
            shape = found[1]
    return nn.Sequential(*made), shape


@dataclass(frozen=True)
class Case:
    """A network in float64 for the oracles, and as given to certify: the same weights, some in float32."""

    number: int
    network: nn.Module
    given: nn.Module
    shape: Shape


def cases(seed: int, count: int) -> Iterator[Case]:
    """Networks that torch itself can run; the same seed gives the same ones."""
    for number in range(count):
        r = random.Random(f"{seed}-{number}")
        torch.manual_seed(r.randrange(2**31))
        shape = r.choice(
            [
                (r.randint(1, 20),),
                (r.choice([1, 2, 4]), r.randint(3, 9)),
                (r.choice([1, 2, 4]), 6, 6),
                (r.randint(1, 3), r.randint(3, 8), r.randint(3, 8)),
            ]
        )
        if len(shape) == 1 and r.random() < 0.5:
            network = dense_network(r, shape[0])
        else:
            network, _ = chain(r, shape, r.randint(1, 7), depth=2)
        network = randomized(network.double().eval())
        if any(parametrize.is_parametrized(module) for module in network.modules()) or r.random() < 0.7:
            yield Case(number, network, network, shape)
        else:
            network.float()
            yield Case(number, copy.deepcopy(network).double(), network, shape)


def dense_network(r: random.Random, width: int) -> nn.Module:
    """Linear layers and activations by turns, as critics of points are."""
    layers: list[nn.Module] = []
    for _ in range(r.randint(2, 5)):
        wider = r.randint(1, 40)
        layers += [nn.Linear(width, wider), activations(r)]
        width = wider
    return nn.Sequential(*layers, nn.Linear(width, r.randint(1, 3)))


def randomized(network: nn.Module) -> nn.Module:
    """Running statistics and affine parameters that are not the defaults."""
    batch_norms = nn.modules.batchnorm._BatchNorm
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, batch_norms) and module.running_var is not None:
                module.running_var.uniform_(0.05, 3)
                module.running_mean.normal_()  # type: ignore[union-attr]
            if isinstance(module, batch_norms | nn.LayerNorm | nn.GroupNorm) and module.weight is not None:
                module.weight.normal_()
    return network
