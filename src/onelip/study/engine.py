"""Run many trainings, a process each with one torch thread, and say how they get on.

The run folders are the only channel: workers write them, the engine reads them. A worker stops, with its
state saved, when it is asked to and when the engine's process is gone.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from onelip.errors import OnelipError
from onelip.gan.config import TrainConfig
from onelip.gan.run import RunFolder, RunResult
from onelip.study.presets import PLANAR
from onelip.study.progress import Progress

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Job:
    """One run: where, and what; and the store that it enters once it has ended."""

    path: Path
    config: TrainConfig
    store: Path | None = None

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with a result, or with the one line that says why there is none."""

    job: Job
    result: RunResult | None
    error: str | None = None


@dataclass(frozen=True)
class _Worker:
    job: Job
    process: BaseProcess
    messages: Connection


def run_jobs(jobs: list[Job], workers: int, progress: Progress) -> list[Outcome]:
    """Run all jobs, `workers` at a time; SIGINT and SIGTERM stop them with their state saved.

    A job that fails or diverges does not stop the others. Jobs that were never started because of a
    signal have no outcome.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pending, active, outcomes = list(jobs), list[_Worker](), list[Outcome]()
    with _signals_set(stop):
        while active or (pending and not stop.is_set()):
            while pending and len(active) < workers and not stop.is_set():
                active.append(_start(context, pending.pop(0), stop))
            time.sleep(POLL_SECONDS)
            for worker in list(active):
                progress.update(worker.job.name, RunFolder(worker.job.path).last_step())
                outcome = _outcome(worker, progress.say)
                if outcome is not None:
                    active.remove(worker)
                    outcomes.append(outcome)
                    progress.finish(worker.job.name, describe(outcome))
    return outcomes


def describe(outcome: Outcome) -> str:
    """An outcome in a few words; the reason of a failure is said once, at the end."""
    if outcome.result is None:
        return "failed"
    result = outcome.result
    return f"{result.status} at step {result.step}" + (f": {result.message}" if result.message else "")


def _start(context: SpawnContext, job: Job, stop: Event) -> _Worker:
    ours, theirs = context.Pipe(duplex=False)
    # Not a daemon: when the engine ends early its workers must still save what they have.
    process = context.Process(target=_work, args=(job, theirs, stop), name=job.name)
    process.start()
    theirs.close()
    return _Worker(job, process, ours)


def _outcome(worker: _Worker, say: Callable[[str], None]) -> Outcome | None:
    """The worker's outcome once it has ended; what it says meanwhile is passed on."""
    alive = worker.process.is_alive()
    last: RunResult | None = None
    error: str | None = None
    try:
        while worker.messages.poll():
            kind, content = worker.messages.recv()
            if kind == "say":
                say(f"{worker.job.name}: {content}")
            elif kind == "error":
                error = content
            else:
                last = content
    except EOFError:
        alive = False
    if last is None and error is None and alive:
        return None
    worker.process.join()
    if last is None and error is None:
        code = worker.process.exitcode
        error = f"its process ended with code {code}; the same command continues from the last checkpoint"
    return Outcome(worker.job, last, error)


def _work(job: Job, messages: Connection, stop: Event) -> None:
    """Body of a worker process."""
    import torch

    from onelip.gan.loop import train
    from onelip.study.observers import bring
    from onelip.study.plane import plane_of, write_plane
    from onelip.study.records import write_record
    from onelip.study.store import read_run

    torch.set_num_threads(1)
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the engine decides
    signal.signal(signal.SIGTERM, ask)
    engine = multiprocessing.parent_process()

    def should_stop() -> bool:
        return asked or engine is None or not engine.is_alive() or stop.is_set()

    try:
        result = train(job.config, job.path, should_stop, lambda text: messages.send(("say", text)), bring)
        if job.store is not None and result.status != "interrupted":
            if job.config.data in PLANAR and job.config.seed == 0 and result.status == "finished":
                write_plane(job.store, job.name.rpartition("-")[0], plane_of(RunFolder(job.path)))
            write_record(job.store, read_run(job.path))
        messages.send(("result", result))
    except OnelipError as error:
        messages.send(("error", str(error)))
    except OSError as error:
        messages.send(("error", f"{error.filename or job.path}: {error.strerror}"))


@contextmanager
def _signals_set(stop: Event) -> Iterator[None]:
    """Inside the block SIGINT and SIGTERM set the event instead of ending the process."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
