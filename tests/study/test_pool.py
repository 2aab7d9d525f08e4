"""Processes of their own: results and errors by name, progress, and nothing left behind."""

import multiprocessing
import os
import signal

import pytest
import torch

from onelip.errors import ArgumentError, OnelipError
from onelip.study.pool import _receive as receive
from onelip.study.pool import _start as start
from onelip.study.pool import in_processes

ERROR = ArgumentError("n", "positive", -1, "pass 1")


def work(job, tell):
    if job == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "refused":
        raise ERROR
    tell(1)
    tell(2)
    return job, torch.get_num_threads()


def test_results_and_errors_come_by_name():
    heard = []
    jobs = {name: name for name in ("good", "killed", "refused", "better")}
    results = dict(in_processes(jobs, work, 2, lambda name, done: heard.append((name, done))))
    assert results["good"] == ("good", 1)
    assert results["better"] == ("better", 1)
    assert str(results["refused"]) == str(ERROR)
    assert str(results["killed"]) == "its process ended with code -9"
    assert isinstance(results["killed"], OnelipError)
    assert sorted(heard) == [(name, done) for name in ("better", "good") for done in (1, 2)]


@pytest.mark.parametrize(("until_error", "names"), [(True, ["refused"]), (False, ["refused", "good"])])
def test_after_an_error_the_others_begin_or_not(until_error, names):
    jobs = {name: name for name in ("refused", "good")}
    results = in_processes(jobs, work, 1, lambda name, done: None, until_error=until_error)
    assert [name for name, _ in results] == names


def test_closing_ends_what_runs():
    results = in_processes({"a": "a", "b": "b"}, work, 2, lambda name, done: None)
    next(results)
    results.close()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("number", "heard"),
    [(signal.SIGINT, (False, 1)), (signal.SIGTERM, (True, "its process ended with code -15"))],
)
def test_what_a_terminal_sends_to_all_reaches_a_process_that_can_ignore_it(number, heard):
    """The signal arrives while the interpreter starts."""
    messages, process = start("good", work)
    os.kill(process.pid, number)
    ended, content = receive(messages, process)
    assert (ended, str(content) if ended else content) == heard
    process.terminate()
    process.join()
