"""All experiments at once: a process each, results kept as they come, figures from the results.

`results/theory.json` holds, for each experiment, its configuration, where and when its numbers come from, and
the numbers. An experiment that is there with the same configuration is not repeated.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from onelip.errors import ArgumentError, NonFiniteError, OnelipError, require_name
from onelip.provenance import provenance
from onelip.study.pool import Tell, in_processes
from onelip.study.progress import Progress
from onelip.study.theory import disjoint, duality, power, product
from onelip.study.theory.figures import write_figure
from onelip.study.theory.results import keep, read_theory

Config = disjoint.DisjointConfig | duality.DualityConfig | product.ProductConfig | power.PowerConfig


class Experiment(NamedTuple):
    """A configuration, and the pure function from it to plain numbers."""

    config: Config
    measure: Callable[..., dict[str, Any]]


# The longest first: with two workers the short ones then fill what is left.
EXPERIMENTS: dict[str, Experiment] = {
    "product": Experiment(product.ProductConfig(), product.measure),
    "duality": Experiment(duality.DualityConfig(), duality.measure),
    "disjoint": Experiment(disjoint.DisjointConfig(), disjoint.measure),
    "power": Experiment(power.PowerConfig(), power.measure),
}


@dataclass(frozen=True)
class ExperimentOutcome:
    """How an experiment ended: measured, kept from before, or failed for the reason `error`."""

    name: str
    how: str
    error: str | None = None


def experiments(only: Iterable[str] | None = None) -> dict[str, Config]:
    """The configurations by name, all of them or some. Raises ArgumentError for an unknown name.

    >>> list(experiments(only=["power"]))
    ['power']
    """
    names = list(EXPERIMENTS) if only is None else list(only)
    for name in names:
        require_name("only", name, EXPERIMENTS)
    return {name: EXPERIMENTS[name].config for name in names}


def run_theory(
    configs: dict[str, Config],
    out: Path,
    progress: Progress,
    workers: int = 2,
    data_dir: str | None = None,
) -> list[ExperimentOutcome]:
    """Measure what is missing in OUT/theory.json, `workers` at a time, and draw OUT/theory/NAME.svg and .png.

    configs: of `experiments`; their `units` are the totals of `progress`. data_dir: folder of MNIST.
    An experiment that fails does not stop the others. KeyboardInterrupt ends the workers and passes on: what
    was finished stays, and the same call measures the rest.
    """
    if workers < 1:
        raise ArgumentError("workers", "positive", workers, "pass --workers 2")
    (out / "theory").mkdir(parents=True, exist_ok=True)
    outcomes = []
    for name in measured(configs, out):
        outcomes.append(ExperimentOutcome(name, "kept"))
        progress.finish(name, "kept: the same configuration was measured before")
    missing = {name: c for name, c in configs.items() if name not in {outcome.name for outcome in outcomes}}
    outcomes += _measure(missing, out, progress, workers, data_dir)
    for outcome in outcomes:
        if outcome.error is None:
            write_figure(outcome.name, read_theory(out)[outcome.name]["result"], out / "theory")
    return outcomes


def measured(configs: dict[str, Config], out: Path) -> dict[str, Any]:
    """What OUT/theory.json holds of these experiments with these configurations."""
    return {
        name: entry
        for name, entry in read_theory(out).items()
        if name in configs and entry["config"] == _plain(configs[name])
    }


def _plain(config: Config) -> Any:
    """As JSON gives it back: lists for tuples."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def _measure(
    configs: dict[str, Config], out: Path, progress: Progress, workers: int, data_dir: str | None
) -> list[ExperimentOutcome]:
    jobs = {name: (name, config) for name, config in configs.items()}
    outcomes = []
    with closing(in_processes(jobs, partial(_work, data_dir=data_dir), workers, progress.update)) as results:
        for name, result in results:
            outcomes.append(_ended(name, result, configs[name], out))
            progress.finish(name, outcomes[-1].error or outcomes[-1].how)
    return outcomes


def _work(job: tuple[str, Config], tell: Tell, data_dir: str | None) -> dict[str, Any]:
    name, config = job
    ticks = itertools.count(1)
    origin, began = provenance(), time.process_time()
    result = EXPERIMENTS[name].measure(config, data_dir, lambda: tell(next(ticks)))
    _require_json(name, result)
    seconds = round(time.process_time() - began, 1)
    return {"provenance": origin, "cpu_seconds": seconds, "result": result}


def _require_json(name: str, result: dict[str, Any]) -> None:
    """Raises NonFiniteError for NaN and infinity, which no file of results holds."""
    try:
        json.dumps(result, allow_nan=False)
    except ValueError as error:
        raise NonFiniteError(f"{name} has numbers that are not finite ({error}): measure it again") from error


def _ended(name: str, result: dict[str, Any] | OnelipError, config: Config, out: Path) -> ExperimentOutcome:
    """Keep a result beside those of the other experiments, at once."""
    if isinstance(result, OnelipError):
        return ExperimentOutcome(name, "failed", f"failed: {result}")
    keep(out, name, {"config": _plain(config), **result})
    return ExperimentOutcome(name, "measured")
