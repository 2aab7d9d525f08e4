"""Read finished runs back: curves as arrays, and the few numbers that a table quotes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from onelip.gan.config import TrainConfig
from onelip.gan.records import flatten
from onelip.gan.run import RunFolder, RunResult

FINAL_SHARE = 0.1  # a run's final number is the mean over the last tenth of its steps


@dataclass(frozen=True)
class Curve:
    """Values at the steps where they were measured."""

    steps: Float[np.ndarray, " points"]
    values: Float[np.ndarray, " points"]


@dataclass(frozen=True)
class StoredRun:
    """One run as it lies on disk."""

    name: str
    folder: RunFolder
    config: TrainConfig
    result: RunResult | None
    curves: dict[str, Curve]

    def final(self, metric: str) -> float | None:
        """Mean over the last tenth of the run; None where the metric was never measured there."""
        curve = self.curves.get(metric)
        if curve is None:
            return None
        late = curve.values[curve.steps > (1 - FINAL_SHARE) * curve.steps[-1]]
        return float(late.mean())

    def samples(self) -> list[Path]:
        """The sample grids, in order of steps."""
        return sorted(self.folder.samples_path.glob("step-*.png"))


def read_run(path: Path) -> StoredRun:
    """The run in the folder `path`."""
    folder = RunFolder(path)
    points: dict[str, tuple[list[float], list[float]]] = {}
    for record in folder.records():
        flat = flatten(record)
        step = flat.pop("step")
        for name, value in flat.items():
            steps, values = points.setdefault(name, ([], []))
            steps.append(step)
            values.append(value)
    curves = {name: Curve(np.array(s, float), np.array(v, float)) for name, (s, v) in points.items()}
    return StoredRun(path.name, folder, folder.config(), folder.result(), curves)


def summarize(run: StoredRun) -> dict[str, Any]:
    """The final numbers of one run, ready for JSON."""
    seconds = run.curves.get("seconds")
    elapsed = run.curves.get("elapsed_seconds")
    return {
        "method": run.config.method,
        "seed": run.config.seed,
        "status": run.result.status if run.result else "unfinished",
        "step": run.result.step if run.result else run.folder.last_step(),
        "final": {name: run.final(name) for name in FINAL_METRICS if name in run.curves},
        "layers": {name: run.final(name) for name in sorted(run.curves) if name.startswith("layers/")},
        "norm_product": norm_product(run),
        "seconds_per_generator_step": None if seconds is None else float(np.median(seconds.values)),
        "seconds": None if elapsed is None else float(elapsed.values.sum()),
        "peak_memory_mib": None if seconds is None else float(run.curves["peak_memory_mib"].values.max()),
        "starts": run.folder.starts(),
    }


def norm_product(run: StoredRun) -> float | None:
    """Product of the layers' proved upper bounds where they were last measured: above ‖f‖_Lip here.

    The study's critics are linear maps in series with 1-Lipschitz activations between them.
    """
    uppers = [
        curve.values[-1]
        for name, curve in run.curves.items()
        if name.startswith("layers/") and name.endswith("/operator/upper")
    ]
    return math.prod(uppers) if uppers else None


FINAL_METRICS = (
    "generator_loss",
    "critic_loss",
    "critic_loss_with_penalty",
    "w1_estimate",
    "generator_gradient_norm",
    "critic_gradient_norm",
    "input_gradient/real/mean",
    "input_gradient/generated/mean",
    "input_gradient/interpolated/mean",
    "input_gradient/interpolated/max",
)
