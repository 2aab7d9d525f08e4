"""Measure jobs in processes of their own, of one thread each: several at a time, heard of as they go.

Nothing is saved on the way: a job is finished or it is missing. Trainings, which stop and continue, are
`processes` of another kind.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from onelip.errors import OnelipError
from onelip.study.starting import release, start_held

Job = TypeVar("Job")
Tell = Callable[[int], None]
Work = Callable[[Job, Tell], Any]  # picklable; tells how far it is


def in_processes(
    jobs: Mapping[str, Job],
    work: Work[Job],
    workers: int,
    update: Callable[[str, int], None],
    *,
    until_error: bool = False,
) -> Generator[tuple[str, Any | OnelipError]]:
    """Each job's name with what its work returned, or the error that ended it, in the order of ending.

    update: hears a job's name and how far it is. until_error: after an error no other begins. Closing the
    generator ends what runs.
    """
    waiting, active = list(jobs), dict[Connection, tuple[str, BaseProcess]]()
    try:
        while waiting or active:
            while waiting and len(active) < workers:
                name = waiting.pop(0)
                messages, process = _start(jobs[name], work)
                active[messages] = name, process
            for messages in wait(list(active)):
                assert isinstance(messages, Connection)
                name, process = active[messages]
                ended, content = _receive(messages, process)
                if not ended:
                    update(name, content)
                    continue
                del active[messages]
                process.join()
                if until_error and isinstance(content, OnelipError):
                    waiting.clear()
                yield name, content
    finally:
        for _, process in active.values():
            process.terminate()
            process.join()


def _start(job: Job, work: Work[Job]) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_body, args=(job, work, theirs), daemon=True)
    start_held(process)
    theirs.close()
    return ours, process


def _receive(messages: Connection, process: BaseProcess) -> tuple[bool, Any]:
    """Whether the job has ended, and what it says."""
    try:
        return messages.recv()
    except EOFError:
        process.join()
        return True, OnelipError(f"its process ended with code {process.exitcode}")


def _body(job: Job, work: Work[Job], messages: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the first process decides
    release()
    import torch

    torch.set_num_threads(1)
    with suppress(BrokenPipeError):  # nobody is there to hear it
        try:
            messages.send((True, work(job, lambda done: messages.send((False, done)))))
        except OnelipError as error:
            messages.send((True, error))
