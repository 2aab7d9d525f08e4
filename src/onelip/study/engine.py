"""Run many trainings, some at a time, and say how they get on.

The engine looks at the run folders, which workers fill: in place where they are processes of this machine,
through Ray where they are on the nodes of a cluster.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from onelip.errors import ArgumentError
from onelip.gan.run import RunFolder
from onelip.study.jobs import Job, Outcome, Start, Worker
from onelip.study.processes import ProcessWorker
from onelip.study.progress import Progress

POLL_SECONDS = 0.2


@contextmanager
def engine(name: Literal["local", "ray"], address: str, workers: int) -> Iterator[Start]:
    """Workers of the engine `name`; `address` is that of the Ray cluster.

    Raises ArgumentError where Ray is not installed, or no cluster is at the address.
    """
    if name == "local":
        yield ProcessWorker
        return
    # Ray reads these when it is imported: nobody is told of the use, and a busy machine starts slowly.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")
    try:
        from onelip.study.cluster import connected
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        remedy = "pip install 'onelip[ray]'"
        raise ArgumentError("engine", "local where Ray is not installed", name, remedy) from None
    with connected(address, workers) as start:
        yield start


def run_jobs(
    jobs: list[Job], workers: int, progress: Progress, start: Start = ProcessWorker
) -> list[Outcome]:
    """Run all jobs, `workers` at a time; SIGINT and SIGTERM stop them with their state saved.

    A job that fails or diverges does not stop the others. Jobs that were never started because of a
    signal have no outcome.
    """
    pending, active, outcomes = list(jobs), list[Worker](), list[Outcome]()
    with _signals_noted() as stopping:
        try:
            while active or (pending and not stopping.is_set()):
                while pending and len(active) < workers and not stopping.is_set():
                    active.append(start(pending.pop(0)))
                time.sleep(POLL_SECONDS)
                for worker in list(active):
                    if stopping.is_set():
                        worker.stop()
                    progress.update(worker.job.name, RunFolder(worker.job.path).last_step())
                    outcome = worker.poll(progress.say)
                    if outcome is not None:
                        active.remove(worker)
                        outcomes.append(outcome)
                        progress.finish(worker.job.name, describe(outcome))
        finally:
            for worker in active:  # whatever ended this early: Python waits for them when it exits
                worker.stop()
    return outcomes


def describe(outcome: Outcome) -> str:
    """An outcome in a few words; the reason of a failure is said once, at the end."""
    if outcome.result is None:
        return "failed"
    result = outcome.result
    return f"{result.status} at step {result.step}" + (f": {result.message}" if result.message else "")


@contextmanager
def _signals_noted() -> Iterator[threading.Event]:
    """Inside the block SIGINT and SIGTERM set the event instead of ending the process."""
    stopping = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stopping.set()) for number in signals}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
