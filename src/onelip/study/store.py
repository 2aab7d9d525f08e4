"""The store of a study: one small JSON file a run, committed, merged, and read back as `StoredRun`s.

STORE/runs/<setting>-<seed>.json
    name, config    the resolved configuration, every field
    result          {status: finished | diverged, step, message}
    summary         numbers over all steps, before any thinning:
        method, seed, status, step
        final       {metric: mean over the last tenth of the run}: losses, gradient norms, input gradients
        layers      the same of layers/<layer>/{reshaped, operator/lower, operator/upper}
        last        {metric: value after the last step}, of a finished run:
                    evaluation/*           the yardstick on 2,000 samples: frechet_distance, recall, modes, …
                    final/*                the same on the published number of samples
                    final/transport/*      estimate (Ŵ₁ of the critic), exact (W₁), on `samples` held-out ones
                    scores/<set>/*         mean, deviation of f on train, test and generated samples
                    certificate/*          lower ≤ ‖f‖_Lip ≤ upper; at_boundary: share of weights on ±c (clip)
        spread      {generator_gradient_norm, critic_gradient_norm: {median, quantile_99, largest,
                    share_above_10_medians}}
        norm_product   of the layers' proved upper bounds
        seconds_per_generator_step, cpu_seconds_per_generator_step   medians, of the training alone
        training_seconds, training_cpu_seconds                       sums of the same
        seconds, peak_memory_mib                                     all included; before the first evaluation
        starts      commit, versions and machine of each start
    curves          {metric: {steps, values, deviations?}}: what is measured every step as WINDOWS means with
                    the standard deviation within each window, at the window's last step; what is measured
                    rarely as it is. Beside the metrics above training_seconds, training_cpu_seconds: sums.
STORE/samples/<setting>.png   seed 0's samples over time, a row each time, from fixed noise
STORE/plane/<setting>.json    of seed 0 in the plane: points, and the critic's values around them (plane.py)
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onelip.data.names import PLANAR
from onelip.errors import CheckpointError
from onelip.files import locked, write_atomically
from onelip.gan.config import TrainConfig, config_of, differing_fields, in_words
from onelip.gan.run import RunFolder, result_of
from onelip.gan.sampling import png
from onelip.rounding import rounded
from onelip.study.mirror import Piece, put
from onelip.study.plane import Plane, write_plane
from onelip.study.presets import RunName
from onelip.study.runs import Curve, StoredRun, read_run

WINDOWS = 30
DIGITS = 5  # significant, of what is an estimate; bounds keep all of theirs
BOUND_PREFIXES = ("certificate/", "layers/")
STRIP_ROWS, GRID_ROWS = 6, 8
_SUMS = {"seconds": "training_seconds", "cpu_seconds": "training_cpu_seconds"}
# What every summary has; a run that recorded nothing has no costs.
_SUMMARY = {"method", "seed", "status", "step", "final", "layers", "last", "spread", "norm_product", "starts"}
# Patterns of the curves that the file does without: their last values and means are in the summary.
_NOT_KEPT = (
    *("elapsed_seconds", "peak_memory_mib", "final/*", "critic_loss_with_penalty", "scores/*/deviation"),
    *("input_gradient/real/max", "input_gradient/generated/max", "*_standard_error", "evaluation/samples"),
    *("evaluation/of", "evaluation/kernel_distance", "evaluation/density", "evaluation/coverage"),
)


def write_record(store: Path, run: StoredRun, plane: Plane | None = None) -> None:
    """Put a run that has ended into the store, if it lacks it, and of seed 0 its samples over time.

    Raises CheckpointError where another run of its name is, whoever stored that meanwhile.
    """
    assert run.result is not None, "only what has ended is stored"
    record = {
        "name": run.name,
        "config": dataclasses.asdict(run.config),
        "result": dataclasses.asdict(run.result),
        "summary": run.summary,
        "curves": {name: _plain(name, curve) for name, curve in thinned(run.curves).items()},
    }
    # Escaped: the name of a folder of data need not be text, and would be no UTF-8.
    content = json.dumps(record, allow_nan=False, separators=(",", ":"))
    with entry(store, run.name, run.config) as missing:
        if not missing:
            return
        (store / "samples").mkdir(exist_ok=True)
        if run.config.seed == 0 and run.pictures:
            write_atomically(strip_path(store, run.setting), png(strip(run)))
        if plane is not None:
            write_plane(store, run.setting, plane)
        write_atomically(record_path(store, run.name), content.encode() + b"\n")


def put_record(store: Path, name: str, config: TrainConfig, pieces: Sequence[Piece]) -> None:
    """The same of what was written elsewhere, the files of one run."""
    if pieces:
        with entry(store, name, config) as missing:
            put(store, pieces if missing else ())


@contextmanager
def entry(store: Path, name: str, config: TrainConfig) -> Iterator[bool]:
    """Alone with the records of a store: whether it lacks this run. Raises as `is_stored` does."""
    path = record_path(store, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        yield not is_stored(store, name, config)


def read_records(store: Path) -> dict[str, StoredRun]:
    """Every run of the store by name, in order of names."""
    return {path.stem: read_record(store, path.stem) for path in sorted((store / "runs").glob("*.json"))}


def read_record(store: Path, name: str) -> StoredRun:
    """One run of the store; CheckpointError where its file is not what was written."""
    path = record_path(store, name)
    try:
        record = json.loads(path.read_text())
        if record["name"] != name:
            raise ValueError(f"it is the record of {record['name']}")
        curves = {metric: _curve(plain) for metric, plain in record["curves"].items()}
        config, result = config_of(record["config"]), result_of(record["result"])
        summary = record["summary"]
        if lacking := _SUMMARY - summary.keys():
            raise KeyError(*sorted(lacking))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): delete it to train the run again") from None
    picture = strip_path(store, RunName.of(name).setting)
    return StoredRun(name, config, result, curves, summary, (picture,) if picture.exists() else ())


def is_stored(store: Path, name: str, config: TrainConfig) -> bool:
    """Whether the store holds this run; CheckpointError where it holds another under the same name."""
    if not record_path(store, name).exists():
        return False
    there = dataclasses.asdict(read_record(store, name).config)
    differing = differing_fields(there, dataclasses.asdict(config))
    if differing:
        said = in_words(differing)
        raise CheckpointError(f"{store} holds another run {name}: {said}: choose another --store")
    return True


def with_all_steps(record: StoredRun, folder: Path) -> StoredRun:
    """The run of a record with every step where `folder` is of the same run, ended alike; else the record."""
    if not (folder / "config.json").exists():
        return record
    there = RunFolder(folder)
    same = not differing_fields(dataclasses.asdict(there.config()), dataclasses.asdict(record.config))
    return read_run(folder) if same and there.result() == record.result else record


def thinned(curves: dict[str, Curve], windows: int = WINDOWS) -> dict[str, Curve]:
    """Curves of at most `windows` points, and the seconds of training up to a step.

    >>> steps = np.arange(1.0, 61.0)
    >>> curve = thinned({"generator_loss": Curve(steps, steps % 2)})["generator_loss"]
    >>> curve.steps[:2].tolist(), curve.values[:2].tolist(), curve.deviations[:2].tolist()
    ([2.0, 4.0], [0.5, 0.5], [0.5, 0.5])
    """
    sums = {
        total: _every(Curve(curves[name].steps, curves[name].values.cumsum()), windows)
        for name, total in _SUMS.items()
        if name in curves
    }
    left_out = (*_SUMS, *_NOT_KEPT)
    kept = {name: c for name, c in curves.items() if not any(fnmatch(name, out) for out in left_out)}
    # A mean of bounds is no bound: of those, some are picked.
    return sums | {
        name: _every(curve, windows) if name.startswith(BOUND_PREFIXES) else _windowed(curve, windows)
        for name, curve in kept.items()
    }


def strip(run: StoredRun) -> Image.Image:
    """The first row of the run's sample grids over time; of points in the plane the last picture."""
    if run.config.data in PLANAR:
        return Image.open(run.pictures[-1])
    grids = [np.asarray(Image.open(run.pictures[i])) for i in _strip_rows(len(run.pictures))]
    return Image.fromarray(np.concatenate([grid[: len(grid) // GRID_ROWS] for grid in grids]))


def strip_rows(run: StoredRun) -> list[tuple[int, bytes]]:
    """What `strip` put together, apart again: each row as PNG, with the step after which it was drawn."""
    (path,) = run.pictures
    steps = drawn_steps(run)
    if run.config.data in PLANAR:
        return [(steps[-1], path.read_bytes())]
    rows = [steps[i] for i in _strip_rows(len(steps))]
    with Image.open(path) as picture:
        width, height = picture.width, picture.height // len(rows)
        boxes = [(0, i * height, width, (i + 1) * height) for i in range(len(rows))]
        return [(step, png(picture.crop(box))) for step, box in zip(rows, boxes, strict=True)]


def drawn_steps(run: StoredRun) -> list[int]:
    """After which steps samples were drawn: as the pictures are named, or those that a strip is of were."""
    if all(path.stem.startswith("step-") for path in run.pictures):
        return [int(path.stem.removeprefix("step-")) for path in run.pictures]
    assert run.result is not None, "only what has ended is stored"
    finished = run.result.status == "finished"  # else the step at which it ended was not drawn
    return [*range(0, run.result.step, run.config.samples_every), *([run.result.step] if finished else [])]


def _strip_rows(pictures: int) -> list[int]:
    """Which of a run's pictures give a row."""
    return np.unique(np.linspace(0, pictures - 1, STRIP_ROWS).round().astype(int)).tolist()


def _windowed(curve: Curve, windows: int) -> Curve:
    if len(curve.steps) <= windows:
        return curve
    parts = np.array_split(np.arange(len(curve.steps)), windows)
    return Curve(
        np.array([curve.steps[part[-1]] for part in parts]),
        np.array([curve.values[part].mean() for part in parts]),
        np.array([curve.values[part].std() for part in parts]),
    )


def _every(curve: Curve, windows: int) -> Curve:
    if len(curve.steps) <= windows:
        return curve
    ends = [part[-1] for part in np.array_split(np.arange(len(curve.steps)), windows)]
    return Curve(curve.steps[ends], curve.values[ends])


def _plain(name: str, curve: Curve) -> dict[str, Any]:
    digits = None if name.startswith(BOUND_PREFIXES) else DIGITS
    plain: dict[str, Any] = {"steps": [int(step) for step in curve.steps]}
    plain["values"] = [_rounded(value, digits) for value in curve.values]
    if curve.deviations is not None:
        plain["deviations"] = [_rounded(value, DIGITS - 2) for value in curve.deviations]
    return plain


def _rounded(value: float, digits: int | None) -> float:
    return float(value) if digits is None else rounded(value, digits)


def _curve(plain: dict[str, Any]) -> Curve:
    deviations = plain.get("deviations")
    return Curve(
        np.array(plain["steps"], float),
        np.array(plain["values"], float),
        None if deviations is None else np.array(deviations, float),
    )


def record_path(store: Path, name: str) -> Path:
    return store / "runs" / f"{name}.json"


def strip_path(store: Path, setting: str) -> Path:
    return store / "samples" / f"{setting}.png"
