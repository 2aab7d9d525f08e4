"""Runs an hour with one and two workers, as processes of this machine and through Ray on this machine.

The engines take turns, each with the same runs from the start. A run costs what its steps take, and besides
that what a worker takes to start and to end; both are given, for the second does not grow with the run.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Literal

from rich.console import Console

from benchmarks.paired import quartiles
from onelip.gan.config import TrainConfig
from onelip.gan.run import RunFolder
from onelip.study.engine import POLL_SECONDS, engine
from onelip.study.jobs import Job
from onelip.study.mirror import everything, put
from onelip.study.progress import progress_for
from onelip.study.station import SECONDS_BETWEEN_NEWS, News, Station
from onelip.study.study import run_study

SEEDS = (1, 2)
BASE = TrainConfig(data="ring", steps=1000, checkpoint_every=100, device="cpu")
CONFIGS = {f"sn-{seed}": replace(BASE, seed=seed).resolved() for seed in SEEDS}
Engine = Literal["local", "ray"]
TURNS: tuple[tuple[Engine, int], ...] = (("local", 1), ("local", 2), ("ray", 1), ("ray", 2))
ROUNDS = 2
LOOKS = 200


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Every engine in turns, and what a cluster's worker costs its engine."""
    cells: dict[tuple[Engine, int], list[dict[str, float]]] = {turn: [] for turn in TURNS}
    for number in range(ROUNDS):
        for name, workers in TURNS[number:] + TURNS[:number]:
            cells[name, workers].append(studied(name, workers))
    rows = [_row(name, workers, cells) for name, workers in TURNS]
    for row in rows:
        say(
            f"{row['engine']:5s} {row['workers']} workers: {row['runs_an_hour']:6.0f} runs an hour, "
            f"{row['ratio'][1]:.2f} × one process's; {row['seconds_besides_steps']:.1f} s a run besides "
            f"its steps, {row['connect_seconds']:.1f} s to connect"
        )
    courier = courier_costs()
    say(f"a cluster's worker costs its engine {courier['milliseconds_a_second']:.2f} ms of each second")
    return {
        "method": f"wall time of the whole study, median of {ROUNDS} rounds in turns; ratios within a round",
        "runs": {name: asdict(config) for name, config in CONFIGS.items()},
        "threads_a_worker": 1,
        "rows": rows,
        "courier": courier,
    }


def studied(name: Engine, workers: int) -> dict[str, float]:
    """One study from nothing: seconds to connect, of its runs, and of their steps."""
    totals = {run: config.steps for run, config in CONFIGS.items()}
    began = time.monotonic()
    with (
        TemporaryDirectory() as out,
        progress_for(totals, Console(file=io.StringIO())) as progress,
        engine(name, "local", workers) as start,
    ):
        connected = time.monotonic()
        outcomes = run_study(CONFIGS, Path(out), workers, progress, start=start)
        seconds = time.monotonic() - connected
        for outcome in outcomes:
            assert outcome.result is not None, outcome.error
            assert outcome.result.status == "finished", "every run is to take all of its steps"
        steps = sum(r["elapsed_seconds"] for o in outcomes for r in RunFolder(o.job.path).records())
    return {"connect": connected - began, "seconds": seconds, "steps": steps}


def _row(
    name: Engine, workers: int, cells: dict[tuple[Engine, int], list[dict[str, float]]]
) -> dict[str, Any]:
    own, reference = cells[name, workers], cells[TURNS[0]]
    seconds = median(cell["seconds"] for cell in own)
    return {
        "engine": name,
        "workers": workers,
        "seconds": [cell["seconds"] for cell in own],
        "runs_an_hour": 3600 * len(CONFIGS) / seconds,
        "ratio": quartiles([a["seconds"] / b["seconds"] for a, b in zip(reference, own, strict=True)]),
        "seconds_besides_steps": median((workers * c["seconds"] - c["steps"]) / len(CONFIGS) for c in own),
        "connect_seconds": median(cell["connect"] for cell in own),
    }


def courier_costs() -> dict[str, float]:
    """What one run sends through Ray, and the engine's processor time for one worker in one second."""
    config = next(iter(CONFIGS.values()))
    with TemporaryDirectory() as out:
        job = Job(Path(out) / "sn-1", config, Path(out) / "store")
        RunFolder(job.path).claim(config)
        station, news = Station(job, everything(job.path)), list[News]()
        while not news or news[-1].outcome is None:
            news += station.take()
        sent = [piece for each in news for piece in (*each.run, *each.store) if piece.content is not None]
        began = time.process_time()
        for each in news:
            put(job.path, each.run)
        putting = (time.process_time() - began) / len(news)
        began = time.process_time()
        for _ in range(LOOKS):
            RunFolder(job.path).last_step()
        looking = (time.process_time() - began) / LOOKS
    by_kind = {
        "checkpoint": sum(len(p.content or b"") for p in sent if p.name.startswith("checkpoints/")),
        "records": sum(len(p.content or b"") for p in sent if p.name == "metrics.jsonl"),
    }
    rest = sum(len(p.content or b"") for p in sent) - sum(by_kind.values())
    return {
        "checkpoint_bytes": by_kind["checkpoint"],
        "record_bytes": by_kind["records"],
        "other_bytes": rest,
        "messages": len(news),
        "milliseconds_a_second": 1000 * (putting / SECONDS_BETWEEN_NEWS + looking / POLL_SECONDS),
    }
