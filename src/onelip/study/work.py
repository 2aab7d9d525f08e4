"""What every worker does, wherever it is: train, then put what ended into the store."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch

from onelip.data.names import PLANAR
from onelip.errors import OnelipError, one_line, refusal
from onelip.gan.loop import train
from onelip.gan.run import RunFolder, RunResult
from onelip.gan.threads import fastest_threads
from onelip.study.jobs import Job, Outcome
from onelip.study.observers import StudyObserver
from onelip.study.plane import plane_of
from onelip.study.runs import read_run
from onelip.study.store import write_record

# What torch says of sizes beyond memory, or beyond its integers.
TOO_LARGE = re.compile("allocate memory|out of memory|overflow", re.IGNORECASE)


def perform(job: Job, should_stop: Callable[[], bool], say: Callable[[str], None]) -> Outcome:
    """Train with the job's torch threads, set for the thread that calls; continue where the folder is.

    `should_stop` is asked after every step. What onelip or the system refuses, and what is too large for this
    machine, is the outcome's error.
    """
    try:
        torch.set_num_threads(job.threads or _threads(job, say))
        result = train(job.config, job.path, should_stop, say, StudyObserver)
        _record(job, result)
    except OnelipError as error:
        return Outcome(job, None, str(error))
    except OSError as error:
        return Outcome(job, None, refusal(error, job.path))
    except (MemoryError, RuntimeError, TypeError) as error:
        if not isinstance(error, MemoryError) and not TOO_LARGE.search(str(error)):
            raise
        return Outcome(job, None, f"too large for this machine ({one_line(error)}): choose smaller sizes")
    return Outcome(job, result)


def _threads(job: Job, say: Callable[[str], None]) -> int:
    """Those that the run began with, so that it ends with the same bits; else what a calibration finds."""
    return RunFolder(job.path).threads() or fastest_threads(job.config, say)


def _record(job: Job, result: RunResult) -> None:
    if job.store is None or result.status == "interrupted":
        return
    # A run that is never evaluated is for its cost alone.
    drawn = job.config.data in PLANAR and job.config.seed == 0 and job.config.evaluate_every
    plane = plane_of(RunFolder(job.path)) if drawn and result.status == "finished" else None
    write_record(job.store, read_run(job.path), plane)
