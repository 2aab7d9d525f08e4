"""A run as a study reads it: curves as arrays, and the few numbers that a table quotes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from onelip.files import files_by_step
from onelip.gan.config import TrainConfig
from onelip.gan.flat import flatten
from onelip.gan.run import RunFolder, RunResult
from onelip.study.presets import RunName

FINAL_SHARE = 0.1  # a run's final number is the mean over the last tenth of its steps


@dataclass(frozen=True)
class Curve:
    """Values at the steps where they were measured.

    deviations: where a value is the mean over a window of steps, their standard deviation within it.
    """

    steps: Float[np.ndarray, " points"]
    values: Float[np.ndarray, " points"]
    deviations: Float[np.ndarray, " points"] | None = None


@dataclass(frozen=True)
class StoredRun:
    """One run: from its folder, with every record, or from a store, with thinned curves."""

    name: str
    config: TrainConfig
    result: RunResult | None
    curves: dict[str, Curve]
    summary: dict[str, Any]
    pictures: tuple[Path, ...]

    @property
    def setting(self) -> str:
        """The name without the seed: runs of one setting differ in the seed alone."""
        return RunName.of(self.name).setting


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
    pictures = tuple(files_by_step(folder.samples_path, "png"))
    return StoredRun(path.name, folder.config(), folder.result(), curves, _summary(folder, curves), pictures)


def _summary(folder: RunFolder, curves: dict[str, Curve]) -> dict[str, Any]:
    """The final numbers of one run, ready for JSON."""
    config, result = folder.config(), folder.result()
    return {
        "method": config.method,
        "seed": config.seed,
        "status": result.status if result else "unfinished",
        "step": result.step if result else folder.last_step(),
        "final": {name: late_mean(curves[name]) for name in FINAL_METRICS if name in curves},
        "layers": {name: late_mean(curves[name]) for name in sorted(curves) if name.startswith("layers/")},
        "last": {
            name: float(curve.values[-1]) for name, curve in curves.items() if name.startswith(MEASURED_LAST)
        },
        "spread": {name: spread(curves[name].values) for name in SPREAD_METRICS if name in curves},
        "norm_product": norm_product(curves),
        "starts": folder.starts(),
        **_costs(curves),
    }


def late_mean(curve: Curve) -> float:
    """Mean over the last tenth of the run."""
    return float(curve.values[curve.steps > (1 - FINAL_SHARE) * curve.steps[-1]].mean())


def spread(values: Float[np.ndarray, " steps"]) -> dict[str, float]:
    """How a positive quantity is distributed over the steps: an explosion is far above the median.

    >>> spread(np.array([1.0, 1.0, 2.0, 1.0, 30.0]))["share_above_10_medians"]
    0.2
    """
    median = float(np.median(values))
    return {
        "median": median,
        "quantile_99": float(np.quantile(values, 0.99)),
        "largest": float(values.max()),
        "share_above_10_medians": float((values > EXPLOSION * median).mean()),
    }


def _costs(curves: dict[str, Curve]) -> dict[str, float]:
    """Seconds of training by the clock and of the processor, and the memory before any evaluation."""
    if "seconds" not in curves:
        return {}
    wall, cpu = (curves[name].values for name in ("seconds", "cpu_seconds"))
    # The process's memory never falls: from the first evaluation on it is no longer the training's. What the
    # layers' measurement at step 1 took is in it, as are the interpreter and its libraries.
    observed = [curve.steps[0] for name, curve in curves.items() if name.startswith(MEASURED_LAST)]
    memory = curves["peak_memory_mib"]
    return {
        "seconds_per_generator_step": float(np.median(wall)),
        "cpu_seconds_per_generator_step": float(np.median(cpu)),
        "seconds": float(curves["elapsed_seconds"].values.sum()),
        "training_seconds": float(wall.sum()),
        "training_cpu_seconds": float(cpu.sum()),
        "peak_memory_mib": float(memory.values[memory.steps <= min(observed, default=np.inf)].max()),
    }


def norm_product(curves: dict[str, Curve]) -> float | None:
    """Product of the layers' proved upper bounds where they were last measured: above ‖f‖_Lip in eval mode.

    Not of the weights in use under sn and sn-operator, whose estimates lag behind them in training.
    The study's critics are linear maps in series with 1-Lipschitz activations between them.
    """
    uppers = [
        curve.values[-1]
        for name, curve in curves.items()
        if name.startswith("layers/") and name.endswith("/operator/upper")
    ]
    return math.prod(uppers) if uppers else None


EXPLOSION = 10
MEASURED_LAST = ("evaluation/", "scores/", "certificate/", "final/")
SPREAD_METRICS = ("generator_gradient_norm", "critic_gradient_norm")
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
