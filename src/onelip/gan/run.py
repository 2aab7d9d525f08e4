"""A run on disk: configuration, metrics, checkpoints and result in one folder, for one process at a time.

config.json       the resolved configuration
starts.json       threads, commit, versions and machine of each start; the shape of a sample
metrics.jsonl     one record a generator step
checkpoints/      the last two states
samples/          grids from fixed noise
generator.safetensors, critic.safetensors   final weights
result.json       how it ended: finished, or diverged at which step; written last
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from onelip.errors import CheckpointError
from onelip.files import write_json
from onelip.gan.config import TrainConfig, config_of, differing_fields, in_words
from onelip.gan.flat import flatten

TAIL_BYTES = 65_536
BEGUN = ("starts.json", "metrics.jsonl", "checkpoints", "result.json")  # what only a run leaves
ENDS = ("finished", "diverged")
T = TypeVar("T")


@dataclass(frozen=True)
class RunResult:
    """How a run ended. `diverged`: something of `step` was NaN or infinite; what was recorded is kept."""

    status: Literal["finished", "diverged", "interrupted"]
    step: int
    message: str = ""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints_path(self) -> Path:
        return self.path / "checkpoints"

    @property
    def samples_path(self) -> Path:
        return self.path / "samples"

    def weights_path(self, player: str) -> Path:
        return self.path / f"{player}.safetensors"

    def config(self) -> TrainConfig:
        """The stored configuration; CheckpointError where the folder holds none."""
        return self._read("config.json", "is this a run folder?", config_of)

    def result(self) -> RunResult | None:
        """How the run ended, None where it has not."""
        if not (self.path / "result.json").exists():
            return None
        remedy = "delete it to continue from the last checkpoint"
        return self._read("result.json", remedy, result_of)

    def finish(self, result: RunResult) -> RunResult:
        write_json(self.path / "result.json", dataclasses.asdict(result))
        return result

    def claim(self, config: TrainConfig) -> None:
        """Refuse early what `claimed` refuses, before anything is spent on the run."""
        with self.claimed(config):
            pass

    @contextmanager
    def claimed(self, config: TrainConfig) -> Iterator[None]:
        """Hold the folder, made where there is none, for this process and this configuration.

        One in which no run began, for want of its data say, is anybody's. Raises CheckpointError for another
        configuration's run, and where another process holds the folder.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self.lock():
            self._take(dataclasses.asdict(config))
            yield

    def _take(self, ours: dict[str, Any]) -> None:
        """A configuration is read before it is replaced: what is damaged, or is no run's, stays."""
        path = self.path / "config.json"
        found = dataclasses.asdict(self.config()) if path.exists() else None
        if found is None or not any((self.path / name).exists() for name in BEGUN):
            write_json(path, ours)
            return
        differing = differing_fields(found, ours)
        if differing:
            said = in_words(differing)
            raise CheckpointError(
                f"{self.path} holds a run of another configuration: {said}: choose another --out"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; the system lets go of it however the process ends."""
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = f"{self.path} is being trained by another process: wait for it, or stop it"
                raise CheckpointError(message) from None
            yield

    def begin(self, step: int, sample_shape: tuple[int, ...], provenance: dict[str, Any]) -> None:
        """Make ready to continue at `step`: cut metrics back to it, and note the circumstances."""
        self.samples_path.mkdir(exist_ok=True)
        self._forget_from(step)
        starts = [*self.starts(), {"step": step} | provenance]
        write_json(self.path / "starts.json", {"sample_shape": sample_shape, "starts": starts})

    def starts(self) -> list[dict[str, Any]]:
        """When and where the run was started or continued: step, threads, commit, versions, machine."""
        if not (self.path / "starts.json").exists():
            return []
        return self._read("starts.json", "delete it", _starts_of)

    def threads(self) -> int | None:
        """Those that the run began with: the last time, if more than once. None where it has not begun."""
        began = [start.get("threads", 1) for start in self.starts() if start["step"] == 1]
        return began[-1] if began else None

    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample, so that the generator can be rebuilt without the data."""
        return self._read("starts.json", "train the run first", _sample_shape_of)

    def records(self) -> list[dict[str, Any]]:
        """Every whole record; a torn last line, left by a kill, is not one."""
        if not self.metrics_path.exists():
            return []
        lines = self.metrics_path.read_bytes().splitlines(keepends=True)
        try:
            return [_record_of(line) for line in lines if line.endswith(b"\n")]
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{self.metrics_path} is damaged ({error}): train the run anew") from None

    def last_step(self) -> int:
        """The step of the newest record, read from the end of the file: cheap enough to poll."""
        try:
            with self.metrics_path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
                lines = file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return 0
        return next((step for line in reversed(lines) if (step := _step_of(line)) is not None), 0)

    def _forget_from(self, step: int) -> None:
        """Keep the records of the steps before `step`; CheckpointError where some of them are not there."""
        keep = last = 0
        lines = self.metrics_path.read_bytes().splitlines(keepends=True) if self.metrics_path.exists() else []
        for line in lines:
            found = _step_of(line)
            if found is None or found >= step:
                break
            keep, last = keep + len(line), found
        if last != step - 1:
            raise CheckpointError(
                f"{self.metrics_path} ends at step {last}, and the checkpoint is of step {step - 1}: "
                f"delete {self.path} to train the run anew"
            )
        if lines:
            os.truncate(self.metrics_path, keep)

    def _read(self, name: str, remedy: str, as_needed: Callable[[Any], T]) -> T:
        path = self.path / name
        try:
            return as_needed(json.loads(path.read_text()))
        except FileNotFoundError:
            raise CheckpointError(f"{path} is missing: {remedy}") from None
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{path} is damaged ({error}): {remedy}") from None


def _step_of(line: bytes) -> int | None:
    """The step of a record; None for what a kill or a power cut left of one."""
    try:
        return _counted("step", json.loads(line)["step"]) if line.endswith(b"\n") else None
    except (ValueError, TypeError, KeyError):
        return None


# What files hold, as it was written. Each raises TypeError or KeyError for what an edit by hand left.


def result_of(found: Any) -> RunResult:
    """A result as JSON holds it."""
    if found["status"] not in ENDS:
        raise TypeError(f"status cannot be {found['status']!r}")
    _counted("step", found["step"])
    if not isinstance(found.get("message", ""), str):
        raise TypeError(f"message cannot be {found['message']!r}")
    return RunResult(**found)


def _starts_of(found: Any) -> list[dict[str, Any]]:
    for start in found["starts"]:
        _counted("step", start["step"])
        _counted("threads", start.get("threads", 1))
    return found["starts"]


def _sample_shape_of(found: Any) -> tuple[int, ...]:
    shape = found["sample_shape"]
    if not shape:
        raise TypeError(f"sample_shape cannot be {shape!r}")
    return tuple(_counted("a side of sample_shape", side) for side in shape)


def _record_of(line: bytes) -> dict[str, Any]:
    record = json.loads(line)
    _counted("step", record["step"])
    for name, value in flatten(record).items():
        if not isinstance(value, int | float):
            raise TypeError(f"{name} cannot be {value!r}")
    return record


def _counted(name: str, value: Any) -> int:
    """A positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise TypeError(f"{name} cannot be {value!r}")
    return value
