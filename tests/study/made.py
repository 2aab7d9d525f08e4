"""A small study made without training, as `onelip study` would leave it: two seeds of clip, one of sn."""

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from onelip.gan.config import TrainConfig
from onelip.gan.run import RunFolder, RunResult
from onelip.gan.sampling import png
from onelip.provenance import provenance
from onelip.study.runs import read_run
from onelip.study.store import write_record

STEPS, EVERY, SIDE = 40, 3, 8
FINISHED = RunResult("finished", STEPS)


def config(method: str = "sn", seed: int = 0) -> TrainConfig:
    return TrainConfig(method=method, seed=seed, steps=STEPS, samples_every=EVERY).resolved()


def record(config: TrainConfig, step: int) -> dict:
    """One step's record: a tenth of a second of the processor each, a fifth by the clock."""
    scale = 100 if config.method == "sn" else 1
    numbers = {
        "step": step,
        "generator_loss": scale * math.sin(step + config.seed) / 3,
        "critic_loss": -1 / step,
    }
    numbers |= {"seconds": 0.2, "cpu_seconds": 0.1, "elapsed_seconds": 0.3, "peak_memory_mib": 400.0}
    if step % 10 == 0:
        operator = {"lower": 1.900001 + step / 1000, "upper": 2.000001 + step / 1000}
        layer = {"reshaped": scale / 100 + config.seed, "operator": operator}
        numbers["layers"] = {"0": layer, "2": layer}
        numbers["certificate"] = {"lower": 1.0, "upper": 4.5}
        numbers["evaluation"] = {"frechet_distance": scale / step}
    return numbers


def picture(step: int) -> Image.Image:
    """A grid of 8 × 8 samples, another one after every step."""
    values = np.random.default_rng(step).integers(0, 256, (8 * SIDE, 8 * SIDE))
    return Image.fromarray(values.astype(np.uint8))


def write_run(
    path: Path, config: TrainConfig, last: int = STEPS, result: RunResult | None = FINISHED
) -> None:
    """The folder of a run with records up to the step `last`."""
    run = RunFolder(path)
    run.claim(config)
    run.begin(1, (1, SIDE, SIDE), provenance())
    run.metrics_path.write_text("".join(json.dumps(record(config, s)) + "\n" for s in range(1, last + 1)))
    drawn = [*range(0, last + 1, EVERY), *([STEPS] if last == STEPS else [])]
    for step in drawn:
        (run.samples_path / f"step-{step:08d}.png").write_bytes(png(picture(step)))
    if result is not None:
        run.finish(result)


def write_study(out: Path) -> Path:
    """OUT/runs and OUT/store with clip-0, clip-1 and sn-0."""
    for method, seed in (("clip", 0), ("clip", 1), ("sn", 0)):
        path = out / "runs" / f"{method}-{seed}"
        write_run(path, config(method, seed))
        write_record(out / "store", read_run(path))
    return out


CLAIMS = {
    "C1": {
        "claim": "Clipping is simple & cheap.",
        "criterion": "Fewer seconds </script> than sn.",
        "sources": "3 runs",
        "verdict": "supported",
        "reason": "",
        "effect": {"value": 0.5, "low": 0.4, "high": 0.6, "seeds": 5},
        "effect_name": "seconds over those of sn",
        "numbers": {"largest": 0.75},
        "missing": [],
        "known": "",
    },
    "C2": {
        "claim": "It underfits.",
        "criterion": "A larger distance.",
        "sources": "5 runs",
        "verdict": "undecided",
        "reason": "2 of 5 runs are missing",
        "effect": None,
        "effect_name": "",
        "numbers": {},
        "missing": ["sn-1", "sn-2"],
        "known": "two seeds are worse",
    },
}

_ESTIMATES = {"cos": 0.987, "l2": 0.0149, "w1": 1.5, "w1_true": 1.6, "deviation": -0.0625}
BENCHMARK = [
    _ESTIMATES
    | {"dim": 16, "funnels": 4, "critic": "best", "steps": 9, "seconds": 15.0}
    | {"certified": 1.0, "witnessed": 0.9, "config": {"seed": 7}}
    | {"standard_errors": dict.fromkeys(_ESTIMATES, 0.001), "samples": {"gradients": 4096, "w1": 1000}}
]
