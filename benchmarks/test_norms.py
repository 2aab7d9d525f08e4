"""Norms of linear layers side by side: time, what each method returns, and the truth.

    pytest benchmarks/test_norms.py -m slow -s
    python benchmarks/test_norms.py --out results/norms.json

Methods are run in turns, so that a busy machine slows all of them alike, and medians are compared.
'flat SVD' is torch's matrix norm of the reshaped kernel; 'FFT+SVD' is Sedghi, Gupta, Long (ICLR 2019) on the
torus of the image, in the weight's precision and in float64: it is exact for circular padding, and neither a
lower nor an upper bound is proved by it. orthogonium and deel-torchlip take part where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from onelip.linear.layers import linear_map
from onelip.linear.norm import operator_norm
from onelip.linear.power import lanczos, power_iteration, start_vector
from onelip.provenance import provenance

REPEATS = 7

CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "64→64 k3 at 14×14": (lambda: nn.Conv2d(64, 64, 3, padding=1, bias=False), (64, 14, 14)),
    "64→64 k3 at 28×28": (lambda: nn.Conv2d(64, 64, 3, padding=1, bias=False), (64, 28, 28)),
    "128→128 k3 at 14×14": (lambda: nn.Conv2d(128, 128, 3, padding=1, bias=False), (128, 14, 14)),
    "64→128 k4 s2 at 28×28": (lambda: nn.Conv2d(64, 128, 4, stride=2, padding=1, bias=False), (64, 28, 28)),
    "dense 2048²": (lambda: nn.Linear(2048, 2048, bias=False), (2048,)),
}


@dataclass(frozen=True)
class Row:
    """Seconds (median), and what the method says: None where it says nothing from that side."""

    method: str
    seconds: float
    lower: float | None
    upper: float | None


Method = Callable[[nn.Module, tuple[int, ...]], tuple[float | None, float | None]]


def flat_svd(layer: nn.Module, shape: tuple[int, ...]) -> tuple[float | None, float | None]:
    sigma = float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2))
    return (sigma, sigma) if isinstance(layer, nn.Linear) else (None, None)


def fft_svd(layer: nn.Module, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> tuple[None, float]:
    """Norm of the circular convolution on the torus of the image; stride s by its s² aliases."""
    W = layer.weight.detach().to(dtype or layer.weight.dtype)
    if W.ndim == 2:
        return None, float(torch.linalg.svdvals(W)[0])
    (n, m), (s, _) = shape[1:], layer.stride
    symbols = torch.fft.fft2(W, s=(n, m)).permute(2, 3, 0, 1)
    aliases = symbols.unflatten(1, (s, m // s)).unflatten(0, (s, n // s))
    A = aliases.permute(1, 3, 4, 0, 2, 5).flatten(3) / s
    return None, float(torch.linalg.svdvals(A).max())


def plain_power_iteration(layer: nn.Module, shape: tuple[int, ...]) -> tuple[float, None]:
    map = linear_map(layer, shape, layer.weight.detach())
    return float(power_iteration(map, start_vector(map), steps=200).sigma), None


def ours(method: str) -> Method:
    def interval(layer: nn.Module, shape: tuple[int, ...]) -> tuple[float, float]:
        found = operator_norm(layer, shape, method=method)
        return found.lower, found.upper

    return interval


def orthogonium(layer: nn.Module, shape: tuple[int, ...]) -> tuple[float | None, float | None]:
    from orthogonium.layers.conv.singular_values import get_conv_sv  # pyright: ignore[reportMissingImports]

    return None, float(get_conv_sv(layer, n_iter=8, imsize=shape[-1])[1])


def deel_torchlip(layer: nn.Module, shape: tuple[int, ...]) -> tuple[float | None, float | None]:
    """Its bound on a convolution: norm of the reshaped kernel times a factor of the geometry."""
    from deel.torchlip.modules.conv import compute_lconv_coef  # pyright: ignore[reportMissingImports]

    sigma = float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2))
    return None, sigma / float(compute_lconv_coef(layer.kernel_size, (1, *shape), layer.stride))


METHODS: dict[str, Method] = {
    "torch flat SVD": flat_svd,
    "FFT+SVD": fft_svd,
    "FFT+SVD float64": lambda layer, shape: fft_svd(layer, shape, torch.float64),
    "power iteration ×200": plain_power_iteration,
    "onelip": ours("auto"),
}
CONVOLUTIONS_ONLY: dict[str, Method] = {
    name: method
    for name, package, method in (
        ("orthogonium", "orthogonium", orthogonium),
        ("deel-torchlip", "deel", deel_torchlip),
    )
    if importlib.util.find_spec(package) is not None
}


def contenders(layer: nn.Module) -> dict[str, Method]:
    return METHODS if isinstance(layer, nn.Linear) else METHODS | CONVOLUTIONS_ONLY


def compare(case: str, repeats: int = REPEATS) -> list[Row]:
    make, shape = CASES[case]
    torch.manual_seed(0)
    layer, seconds, said = make(), {}, {}
    for _ in range(repeats):
        for name, method in contenders(layer).items():
            start = time.perf_counter()
            said[name] = method(layer, shape)
            seconds.setdefault(name, []).append(time.perf_counter() - start)
    return [Row(name, statistics.median(times), *said[name]) for name, times in seconds.items()]


def converged(case: str) -> float:
    """The norm itself, to single precision: Lanczos in float64 until it stands still."""
    make, shape = CASES[case]
    torch.manual_seed(0)
    layer = make()
    map = linear_map(layer, shape, layer.weight.detach().double())
    v, sigma, before = start_vector(map), 1.0, 0.0
    while sigma > before * (1 + 1e-8):
        before, (found, _, v) = sigma, lanczos(map, v, 40)
        sigma = float(found)
    return sigma


def table(case: str, rows: list[Row], truth: float) -> str:
    def number(value: float | None) -> str:
        return "      –" if value is None else f"{value:7.4f}"

    lines = [f"{case}: truth {truth:.5f}", f"  {'method':22s} {'ms':>8s}   lower   upper"]
    lines += [f"  {r.method:22s} {1e3 * r.seconds:8.1f} {number(r.lower)} {number(r.upper)}" for r in rows]
    missing = {"orthogonium", "deel-torchlip"} - CONVOLUTIONS_ONLY.keys()
    return "\n".join(lines + [f"  not installed: {', '.join(sorted(missing))}"] * bool(missing))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_proved_in_half_the_time_of_fft_and_svd(case):
    rows, truth = compare(case), converged(case)
    print("\n" + table(case, rows, truth))
    by_method = {row.method: row for row in rows}
    proved = by_method["onelip"]
    assert proved.lower <= truth * (1 + 1e-6)
    assert truth * (1 - 1e-6) <= proved.upper
    assert proved.seconds <= 0.5 * by_method["FFT+SVD float64"].seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--tight", action="store_true", help="method='tight' too: up to minutes a case")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for case, (make, shape) in CASES.items():
        rows, truth = compare(case), converged(case)
        if options.tight and len(shape) > 1:
            torch.manual_seed(0)
            layer, start = make(), time.perf_counter()
            bounds = ours("tight")(layer, shape)
            rows.append(Row("onelip tight", time.perf_counter() - start, *bounds))
        print(table(case, rows, truth), flush=True)
        results[case] = {"truth": truth, "methods": [asdict(row) for row in rows]}
    if options.out:
        content = {"cases": results, "repeats": REPEATS, "threads": 1, **provenance()}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
