"""Fuzz of certify: random networks, none of whose input pairs may be stretched beyond the upper bound.

Each network is asked in three ways that know nothing of the certificate's rules: random pairs near and
far, the spectral norm of autograd's Jacobian at random points, and the witness's ascent. The networks
run as modules, in float64.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from rich.progress import track
from torch import Tensor, nn

from benchmarks.random_networks import Case, cases
from onelip.certificate.certify import Certificate, certify

COUNT, SEED = 2_000, 0
ROUNDING = 1e-10  # of the float64 oracles, relative


def largest_stretch(case: Case, certificate: Certificate, points: int = 2) -> float:
    """The most that any oracle saw, rounded down."""
    generator = torch.Generator().manual_seed(case.number)
    seen = [certificate.lower]
    for scale in (0.01, 1.0, 30.0):
        x = scale * torch.randn(16, *case.shape, dtype=torch.float64, generator=generator)
        steps = torch.logspace(-4, 1, 16, dtype=torch.float64).reshape(-1, *[1] * len(case.shape))
        y = x + scale * steps * torch.randn(x.shape, dtype=torch.float64, generator=generator)
        with torch.no_grad():
            fx, fy = case.network(x.clone()).flatten(1), case.network(y.clone()).flatten(1)
        images, distances = (fx - fy).norm(dim=1), (x - y).flatten(1).norm(dim=1)
        lost = 1e-12 * (fx.norm(dim=1) + fy.norm(dim=1))
        seen.append(((images - lost) / distances).max().item() * (1 - ROUNDING))
    at = [certificate.witness.x] if certificate.witness else []
    at += [torch.randn(case.shape, dtype=torch.float64, generator=generator) for _ in range(points)]
    seen += [jacobian_norm(case.network, x) * (1 - ROUNDING) for x in at]
    return max(value for value in seen if math.isfinite(value))


def jacobian_norm(network: nn.Module, x: Tensor) -> float:
    """‖J(x)‖₂, or NaN where an in-place edit keeps torch from differentiating: then pairs are the judge."""
    try:
        J = torch.autograd.functional.jacobian(lambda z: network(torch.stack([z, z]))[0].flatten(), x)
    except RuntimeError as error:
        if "modified by an inplace operation" not in str(error):
            raise
        return math.nan
    return torch.linalg.matrix_norm(J.reshape(J.shape[0], -1), 2).item()  # type: ignore[union-attr]


@dataclass
class Tally:
    violations: list[dict[str, object]] = field(default_factory=list)
    operators: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    ratios: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    unbounded: int = 0

    def add(self, case: Case, starts: int, steps: int) -> None:
        certificate = certify(case.given, case.shape, starts=starts, steps=steps, seed=case.number)
        stretch = largest_stretch(case, certificate)
        self.operators.update({layer.operator for layer in certificate.layers})
        self.methods[certificate.method] += 1
        if certificate.upper == math.inf:
            self.unbounded += 1
        elif stretch > certificate.upper:
            self.violations.append(
                {
                    "number": case.number,
                    "stretch": stretch,
                    "upper": certificate.upper,
                    "network": str(case.network),
                }
            )
        elif certificate.upper > 0:
            self.ratios.append(stretch / certificate.upper)

    def summary(self) -> dict[str, object]:
        quantiles = torch.tensor(sorted(self.ratios) or [math.nan], dtype=torch.float64)
        return {
            "violations": len(self.violations),
            "violating": self.violations,
            "failures": self.failures,
            "unbounded": self.unbounded,
            "stretch_over_upper": {
                name: round(torch.quantile(quantiles, q).item(), 4)
                for name, q in (("p10", 0.1), ("median", 0.5), ("p90", 0.9), ("max", 1.0))
            },
            "methods": dict(self.methods.most_common()),
            "operators": dict(self.operators.most_common()),
        }


def fuzz(count: int, seed: int, starts: int = 4, steps: int = 25) -> dict[str, object]:
    """Run `count` networks, each with `starts` ascents of `steps` steps, and say what was found."""
    tally, started = Tally(), time.perf_counter()
    for case in track(cases(seed, count), total=count, description="networks"):
        try:
            tally.add(case, starts, steps)
        except Exception as error:  # one network must not end a run of hours; it is reported and fails it
            tally.failures.append(f"{case.number}: {type(error).__name__}: {str(error)[:200]}")
    return {
        "count": count,
        "seed": seed,
        "oracle": "random pairs, Jacobians by autograd, and optimised witnesses, in float64",
        "rounding": ROUNDING,
        **tally.summary(),
        "seconds": round(time.perf_counter() - started, 1),
    }


def measure(say: Callable[[str], None], count: int = COUNT, seed: int = SEED) -> dict[str, object]:
    """What was found in so many random networks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = fuzz(count, seed)
    lines = (
        f"{name}: {found[name]}" for name in ("violations", "failures", "unbounded", "stretch_over_upper")
    )
    say("\n".join(lines))
    return found
