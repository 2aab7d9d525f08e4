"""Norms of linear layers side by side: processor time, what each method returns, and the truth.

Methods take turns (paired.py), and ratios are to three of them. 'flat SVD' is torch's matrix norm of the
reshaped kernel; 'FFT+SVD' is Sedghi, Gupta, Long (ICLR 2019) on the torus of the image, in the weight's
precision and in float64, there also of half of the frequencies, which is all that a real kernel needs: exact
for circular padding up to rounding, and for other paddings no bound in either direction. orthogonium and
deel-torchlip take part where they are installed; their bounds hold for exact arithmetic, and orthogonium's
takes a strided convolution for the one without stride.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from benchmarks.paired import Quartiles, quartiles, ratio, turns
from onelip.linear.layers import linear_map
from onelip.linear.norm import operator_norm
from onelip.linear.power import lanczos, power_iteration, start_vector

ROUNDS = 9
BASELINES = ("FFT+SVD", "FFT+SVD float64", "FFT+SVD float64, half")
# Each iteration of orthogonium doubles its kernel's size: the fourth takes 2 to 70 s on these layers.
ORTHOGONIUM_ITERATIONS = 3

Layer = nn.Linear | _ConvNd
CASES: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "64→64 k3 at 14×14": (lambda: nn.Conv2d(64, 64, 3, padding=1, bias=False), (64, 14, 14)),
    "64→64 k3 at 28×28": (lambda: nn.Conv2d(64, 64, 3, padding=1, bias=False), (64, 28, 28)),
    "128→128 k3 at 14×14": (lambda: nn.Conv2d(128, 128, 3, padding=1, bias=False), (128, 14, 14)),
    "64→128 k4 s2 at 28×28": (lambda: nn.Conv2d(64, 128, 4, stride=2, padding=1, bias=False), (64, 28, 28)),
    "dense 2048²": (lambda: nn.Linear(2048, 2048, bias=False), (2048,)),
}


@dataclass(frozen=True)
class Row:
    """Quartiles over rounds of milliseconds and of ratios to the baselines, and what the method says: None
    where it says nothing from that side."""

    method: str
    milliseconds: Quartiles
    ratios: dict[str, Quartiles]
    lower: float | None
    upper: float | None


Method = Callable[[Layer, tuple[int, ...]], tuple[float | None, float | None]]


def flat_svd(layer: Layer, shape: tuple[int, ...]) -> tuple[float | None, float | None]:
    sigma = float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2))
    return (sigma, sigma) if isinstance(layer, nn.Linear) else (None, None)


def fft_svd(
    layer: Layer, shape: tuple[int, ...], dtype: torch.dtype | None = None, half: bool = False
) -> tuple[None, float]:
    """Norm of the circular convolution on the torus of the image; stride s by its s² aliases.

    half: only one of the frequencies ±k, which have the same singular values, for the kernel is real.
    """
    W = layer.weight.detach().to(dtype or layer.weight.dtype)
    if isinstance(layer, nn.Linear):
        return None, float(torch.linalg.svdvals(W)[0])
    (n, m), (s, _) = shape[1:], layer.stride
    symbols = torch.fft.fft2(W, s=(n, m)).permute(2, 3, 0, 1)
    aliases = symbols.unflatten(1, (s, m // s)).unflatten(0, (s, n // s))
    A = aliases.permute(1, 3, 4, 0, 2, 5).flatten(3) / s
    kept = m // s // 2 + 1 if half else m // s
    return None, float(torch.linalg.svdvals(A[:, :kept]).max())


def plain_power_iteration(layer: Layer, shape: tuple[int, ...]) -> tuple[float, None]:
    map = linear_map(layer, shape, layer.weight.detach())
    return float(power_iteration(map, start_vector(map), steps=200).sigma), None


def ours(layer: Layer, shape: tuple[int, ...]) -> tuple[float, float]:
    found = operator_norm(layer, shape)
    return found.lower, found.upper


def orthogonium(layer: Layer, shape: tuple[int, ...]) -> tuple[None, float]:
    from orthogonium.layers.conv.singular_values import get_conv_sv  # pyright: ignore[reportMissingImports]

    return None, float(get_conv_sv(layer, n_iter=ORTHOGONIUM_ITERATIONS, return_stab_rank=False))


def deel_torchlip(layer: Layer, shape: tuple[int, ...]) -> tuple[None, float]:
    """Its bound on a convolution: norm of the reshaped kernel over a factor of the geometry."""
    from deel.torchlip.utils.lconv_norm import compute_lconv_coef  # pyright: ignore[reportMissingImports]

    sigma = float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2))
    return None, sigma / float(compute_lconv_coef(layer.kernel_size, (1, *shape), layer.stride))


METHODS: dict[str, Method] = {
    "torch flat SVD": flat_svd,
    "FFT+SVD": fft_svd,
    "FFT+SVD float64": lambda layer, shape: fft_svd(layer, shape, torch.float64),
    "FFT+SVD float64, half": lambda layer, shape: fft_svd(layer, shape, torch.float64, half=True),
    "power iteration ×200": plain_power_iteration,
    "onelip": ours,
}
PACKAGES = {"orthogonium": "orthogonium", "deel-torchlip": "deel.torchlip"}
CONVOLUTIONS_ONLY: dict[str, Method] = {"orthogonium": orthogonium, "deel-torchlip": deel_torchlip}


def installed() -> dict[str, str]:
    """Version of each optional package that is there."""
    present = (name for name, module in PACKAGES.items() if importlib.util.find_spec(module.split(".")[0]))
    return {name: importlib.metadata.version(name) for name in present}


def contenders(layer: Layer) -> dict[str, Method]:
    if isinstance(layer, nn.Linear):
        return METHODS
    return METHODS | {name: CONVOLUTIONS_ONLY[name] for name in installed()}


def compare(case: str, rounds: int = ROUNDS) -> list[Row]:
    """Every method on one layer; what each says is of a first call, which warms up."""
    make, shape = CASES[case]
    torch.manual_seed(0)
    layer = make()
    said = {name: method(layer, shape) for name, method in contenders(layer).items()}
    calls = {name: partial(method, layer, shape) for name, method in contenders(layer).items()}
    seconds = turns(calls, 0, rounds)
    return [
        Row(
            name,
            quartiles([1000 * t for t in taken]),
            {baseline: ratio(taken, seconds[baseline]) for baseline in BASELINES},
            *said[name],
        )
        for name, taken in seconds.items()
    ]


def converged(case: str) -> float:
    """The norm itself, to single precision: Lanczos in float64 until it stands still."""
    make, shape = CASES[case]
    torch.manual_seed(0)
    layer = make()
    map = linear_map(layer, shape, layer.weight.detach().double())
    v, before = start_vector(map), 0.0
    while True:
        sigma, _, v = lanczos(map, v, 40)
        if sigma <= before * (1 + 1e-8):
            return float(sigma)
        before = float(sigma)


def table(case: str, rows: list[Row], truth: float) -> str:
    def number(value: float | None) -> str:
        return "      –" if value is None else f"{value:7.4f}"

    lines = [
        f"{case}: truth {truth:.5f}",
        f"  {'':22s} {'ms':>8s}  of FFT+SVD  in float64  of its half   lower   upper",
    ]
    for r in rows:
        ratios = "  ".join(f"{r.ratios[baseline][1]:10.3f}" for baseline in BASELINES)
        lines.append(
            f"  {r.method:22s} {r.milliseconds[1]:8.1f}  {ratios} {number(r.lower)} {number(r.upper)}"
        )
    missing = PACKAGES.keys() - installed().keys()
    return "\n".join(lines + [f"  not installed: {', '.join(sorted(missing))}"] * bool(missing))


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Every method on every layer, beside the norm itself."""
    results: dict[str, Any] = {}
    for case in CASES:
        rows, truth = compare(case), converged(case)
        say(table(case, rows, truth))
        results[case] = {"truth": truth, "methods": [asdict(row) for row in rows]}
    return {
        "cases": results,
        "turns": ROUNDS,
        "time": "processor time of one thread; quartiles over turns, of ratios within a turn",
        "orthogonium_iterations": ORTHOGONIUM_ITERATIONS,
        "others": installed(),
    }
