"""Norms of linear layers side by side: processor time, what each method returns, and the truth.

    pytest benchmarks/test_norms.py -m slow -s
    python benchmarks/test_norms.py --out results/norms.json

Methods take turns, so that a busy machine slows all of them alike; time is the process's own, on one thread;
ratios are between methods of one turn, and medians with quartiles are quoted. 'flat SVD' is torch's matrix
norm of the reshaped kernel; 'FFT+SVD' is Sedghi, Gupta, Long (ICLR 2019) on the torus of the image, in the
weight's precision and in float64, there also of half of the frequencies, which is all that a real kernel
needs: exact for circular padding up to rounding, and for other paddings no bound
in either direction. orthogonium and deel-torchlip take part where they are installed; their bounds hold for
exact arithmetic, and orthogonium's takes a strided convolution for the one without stride.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from onelip.files import write_json
from onelip.linear.layers import linear_map
from onelip.linear.norm import operator_norm
from onelip.linear.power import lanczos, power_iteration, start_vector
from onelip.provenance import provenance

TURNS = 9
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


Quartiles = tuple[float, float, float]


@dataclass(frozen=True)
class Row:
    """Quartiles over turns of milliseconds and of ratios to the baselines, and what the method says: None
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


def compare(case: str, turns: int = TURNS) -> list[Row]:
    """Every method `turns` times, and once before to warm up."""
    make, shape = CASES[case]
    torch.manual_seed(0)
    layer = make()
    seconds, said = {name: [] for name in contenders(layer)}, {}
    for _ in range(turns + 1):
        for name, method in contenders(layer).items():
            start = time.process_time()
            said[name] = method(layer, shape)
            seconds[name].append(time.process_time() - start)
    taken = {name: times[1:] for name, times in seconds.items()}
    return [
        Row(
            name,
            quartiles([1e3 * t for t in times]),
            {b: quartiles([t / u for t, u in zip(times, taken[b], strict=True)]) for b in BASELINES},
            *said[name],
        )
        for name, times in taken.items()
    ]


def quartiles(values: list[float]) -> Quartiles:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return round(low, 4), round(middle, 4), round(high, 4)


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


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_proved_in_half_the_time_of_fft_and_svd(case):
    torch.set_num_threads(1)
    rows, truth = compare(case), converged(case)
    print("\n" + table(case, rows, truth))
    by_method = {row.method: row for row in rows}
    proved, uppers = by_method["onelip"], {row.method: row.upper for row in rows if row.upper is not None}
    assert proved.lower is not None
    assert proved.lower <= truth * (1 + 1e-6)
    assert truth * (1 - 1e-6) <= uppers["onelip"]
    assert all(uppers["onelip"] < uppers[name] for name in uppers.keys() & CONVOLUTIONS_ONLY.keys())
    assert proved.ratios["FFT+SVD float64"][1] <= 0.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    origin, results = provenance(), {}
    for case in CASES:
        rows, truth = compare(case, options.turns), converged(case)
        print(table(case, rows, truth), flush=True)
        results[case] = {"truth": truth, "methods": [asdict(row) for row in rows]}
    if options.out:
        content = {
            "cases": results,
            "turns": options.turns,
            "time": "processor time of one thread; quartiles over turns, of ratios within a turn",
            "orthogonium_iterations": ORTHOGONIUM_ITERATIONS,
            "others": installed(),
            **origin,
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.out, content)


if __name__ == "__main__":
    main()
