"""All experiments at once: a process each, results kept as they come, figures from the results.

`results/theory.json` holds, for each experiment, its configuration, where and when its numbers come from, and
the numbers. An experiment that is there with the same configuration is not repeated.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple, cast

from onelip.errors import ArgumentError, OnelipError
from onelip.gan.config import require_name
from onelip.provenance import provenance
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
class Outcome:
    """How an experiment ended: measured, kept from before, or failed for the reason `error`."""

    name: str
    how: str
    error: str | None = None


class _Worker(NamedTuple):
    name: str
    process: BaseProcess
    messages: Connection


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
) -> list[Outcome]:
    """Measure what is missing in OUT/theory.json, `workers` at a time, and draw OUT/theory/NAME.svg and .png.

    configs: of `experiments`; their `units` are the totals of `progress`. data_dir: folder of MNIST.
    An experiment that fails does not stop the others. KeyboardInterrupt ends the workers and passes on: what
    was finished stays, and the same call measures the rest.
    """
    if workers < 1:
        raise ArgumentError("workers", "positive", workers, "pass --workers 2")
    (out / "theory").mkdir(parents=True, exist_ok=True)
    outcomes = []
    for name in _kept(configs, out):
        outcomes.append(Outcome(name, "kept"))
        progress.finish(name, "kept: the same configuration was measured before")
    missing = {name: c for name, c in configs.items() if name not in {outcome.name for outcome in outcomes}}
    outcomes += _measure(missing, out, progress, workers, data_dir)
    for outcome in outcomes:
        if outcome.error is None:
            write_figure(outcome.name, read_theory(out)[outcome.name]["result"], out / "theory")
    return outcomes


def _kept(configs: dict[str, Config], out: Path) -> list[str]:
    stored = read_theory(out)
    return [name for name, c in configs.items() if name in stored and stored[name]["config"] == _plain(c)]


def _plain(config: Config) -> Any:
    """As JSON gives it back: lists for tuples."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def _measure(
    configs: dict[str, Config], out: Path, progress: Progress, workers: int, data_dir: str | None
) -> list[Outcome]:
    pending, active, outcomes = list(configs.items()), dict[Connection, _Worker](), list[Outcome]()
    done = dict.fromkeys(configs, 0)
    try:
        while pending or active:
            while pending and len(active) < workers:
                worker = _start(*pending.pop(0), data_dir)
                active[worker.messages] = worker
            for messages in wait(list(active)):
                worker = active[cast(Connection, messages)]
                kind, content = _receive(worker)
                if kind == "tick":
                    done[worker.name] += 1
                    progress.update(worker.name, done[worker.name])
                    continue
                del active[worker.messages]
                worker.process.join()
                outcomes.append(_ended(worker.name, kind, content, configs, out))
                progress.finish(worker.name, outcomes[-1].error or outcomes[-1].how)
    finally:
        for worker in active.values():
            worker.process.terminate()
            worker.process.join()
    return outcomes


def _receive(worker: _Worker) -> tuple[str, Any]:
    try:
        return worker.messages.recv()
    except EOFError:
        worker.process.join()
        return "error", f"its process ended with code {worker.process.exitcode}"


def _ended(name: str, kind: str, content: Any, configs: dict[str, Config], out: Path) -> Outcome:
    """Keep a result beside those of the other experiments, at once."""
    if kind == "error":
        return Outcome(name, "failed", f"failed: {content}")
    entry = {"config": _plain(configs[name]), "provenance": provenance(), **content}
    keep(out, name, entry)
    return Outcome(name, "measured")


def _start(name: str, config: Config, data_dir: str | None) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(name, config, data_dir, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Worker(name, process, ours)


def _work(name: str, config: Config, data_dir: str | None, messages: Connection) -> None:
    """Body of a worker process; a parent that is gone breaks the pipe, and with it the worker."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent decides
    began = time.process_time()
    try:
        result = EXPERIMENTS[name].measure(config, data_dir, lambda: messages.send(("tick", None)))
        messages.send(("result", {"cpu_seconds": round(time.process_time() - began, 1), "result": result}))
    except OnelipError as error:
        messages.send(("error", str(error)))
