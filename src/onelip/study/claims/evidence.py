"""What verdicts stand on: the records of the preset's runs and the theory's results, and nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from onelip.errors import CheckpointError
from onelip.gan.config import TrainConfig, differing_fields, in_words
from onelip.study.claims.statistics import PerSeed
from onelip.study.presets import PRESETS, RunName, expand
from onelip.study.runs import StoredRun
from onelip.study.store import read_records
from onelip.study.theory.run import experiments, measured

PRESET = "paper"
Measure = Callable[[StoredRun], float]


@dataclass(frozen=True)
class Needs:
    """Groups of the preset, with the settings wanted of each (all where none is named), and experiments."""

    groups: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    experiments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """runs: the preset's, by name. theory: by experiment. results: the folder that both come from.

    ignored: runs that lie there too, whose seed or setting the preset does not have.
    """

    runs: dict[str, StoredRun]
    theory: dict[str, Any]
    results: Path
    ignored: tuple[str, ...] = ()

    def missing(self, needs: Needs) -> tuple[str, ...]:
        runs = [name for name in required_runs(needs) if name not in self.runs]
        return (*runs, *(f"theory: {name}" for name in needs.experiments if name not in self.theory))

    def how_to_fill(self, needs: Needs) -> str:
        """How many runs are missing, which, and the commands that train them."""
        required = required_runs(needs)
        runs = [name for name in required if name not in self.runs]
        said = []
        if runs:
            groups = [g for g in needs.groups if any(n in runs for n in required_runs(needs, g))]
            command = f"onelip study {PRESET} --groups {','.join(groups)} --store {self.results / 'study'}"
            said.append(f"{len(runs)} of {len(required)} runs are missing, {compact(runs)}: {command}")
        experiments = [name for name in needs.experiments if name not in self.theory]
        if experiments:
            command = f"onelip theory --only {' '.join(experiments)} --out {self.results}"
            said.append(f"{self.results / 'theory.json'} lacks {', '.join(experiments)}: {command}")
        return "; ".join(said)

    def of(self, setting: str, measure: Measure, finished: bool = True) -> PerSeed:
        """A number of each run of a setting by seed; of finished runs only, or of all."""
        runs = [run for run in self.all_of(setting) if is_finished(run) or not finished]
        return {run.config.seed: measure(run) for run in runs}

    def seeds(self, *settings: str) -> int:
        """How many seeds all of these settings were run with, whether they finished or not."""
        return len(set.intersection(*({run.config.seed for run in self.all_of(s)} for s in settings)))

    def all_of(self, setting: str) -> list[StoredRun]:
        return sorted((r for r in self.runs.values() if r.setting == setting), key=lambda r: r.config.seed)


def is_finished(run: StoredRun) -> bool:
    return run.summary["status"] == "finished"


def required_runs(needs: Needs, group: str | None = None) -> dict[str, TrainConfig]:
    """The runs that a claim needs, by name, or those of one of its groups."""
    found = {}
    for name in needs.groups if group is None else (group,):
        settings = needs.groups[name] or PRESETS[PRESET].groups[name].settings
        found |= {
            run: config for run, config in group_runs(name).items() if RunName.of(run).setting in settings
        }
    return found


@cache
def group_runs(name: str) -> dict[str, TrainConfig]:
    """All runs of a group of the preset, by name."""
    return expand(PRESET, groups=name)


def compact(runs: list[str], shown: int = 8) -> str:
    """Names of runs with the seeds of a setting together.

    >>> compact(["gp-0", "sn-0", "gp-1"])
    'gp-{0,1} sn-0'
    """
    seeds: dict[str, list[str]] = {}
    for setting, seed in map(RunName.of, runs):
        seeds.setdefault(setting, []).append(seed)
    words = [f"{k}-{{{','.join(v)}}}" if len(v) > 1 else f"{k}-{v[0]}" for k, v in seeds.items()]
    rest = len(words) - shown
    return " ".join(words[:shown]) + (f" and of {rest} more settings" if rest > 0 else "")


def read_evidence(results: Path) -> Evidence:
    """RESULTS/study and RESULTS/theory.json as far as they are there, experiments as they are by default.

    Raises CheckpointError for a damaged record and for one that is not the preset's run of its name,
    DataError for a damaged theory.json.
    """
    found, configs = read_records(results / "study"), expand(PRESET)
    runs = {name: run for name, run in found.items() if name in configs}
    for name, run in runs.items():
        _require_same(results / "study", name, run.config, configs[name])
    return Evidence(runs, measured(experiments(), results), results, tuple(found.keys() - runs.keys()))


def _require_same(store: Path, name: str, there: TrainConfig, now: TrainConfig) -> None:
    differing = differing_fields(dataclasses.asdict(there), dataclasses.asdict(now))
    if differing:
        said = in_words(differing, "preset")
        raise CheckpointError(f"{store} holds another run {name}: {said}: delete it and train the preset's")


def digest(results: Path) -> dict[str, Any]:
    """SHA-256 over the names and contents of all input files, and how many there are."""
    configs = expand(PRESET)
    paths = [path for path in sorted((results / "study" / "runs").glob("*.json")) if path.stem in configs]
    paths += [path for path in (results / "theory.json",) if path.exists()]
    total = hashlib.sha256()
    for path in paths:
        total.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return {"sha256": total.hexdigest(), "files": len(paths)}
