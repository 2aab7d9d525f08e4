"""Workers on this machine: a process each. The run folders are the only channel for what they train.

A worker stops, with its state saved, when it is asked to and when the engine's process is gone.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event

from onelip.study.jobs import Job, Outcome, Worker
from onelip.study.starting import release, start_held


class ProcessWorker(Worker):
    """A process that trains `job` and goes on, until its state is saved, when this one ends early."""

    def __init__(self, job: Job):
        context = multiprocessing.get_context("spawn")
        self.job = job
        self.stopping = context.Event()
        self.messages, theirs = context.Pipe(duplex=False)
        # Not a daemon: when the engine ends early its workers must still save what they have.
        self.process = context.Process(target=_work, args=(job, theirs, self.stopping), name=job.name)
        start_held(self.process)
        theirs.close()

    def stop(self) -> None:
        self.stopping.set()

    def poll(self, say: Callable[[str], None]) -> Outcome | None:
        alive = self.process.is_alive()
        outcome: Outcome | None = None
        try:
            while self.messages.poll():
                message = self.messages.recv()
                if isinstance(message, Outcome):
                    outcome = message
                else:
                    say(f"{self.job.name}: {message}")
        except EOFError:
            alive = False
        if outcome is None and alive:
            return None
        self.process.join()
        return outcome or Outcome(self.job, None, self._death())

    def _death(self) -> str:
        code = self.process.exitcode
        return f"its process ended with code {code}; the same command continues from the last checkpoint"


def _work(job: Job, messages: Connection, stopping: Event) -> None:
    """Body of the process."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the engine decides
    signal.signal(signal.SIGTERM, ask)
    release()
    engine = multiprocessing.parent_process()

    def should_stop() -> bool:
        return asked or engine is None or not engine.is_alive() or stopping.is_set()

    from onelip.study.work import perform

    with suppress(BrokenPipeError):  # nobody is there to hear it
        messages.send(perform(job, should_stop, messages.send))
