"""A run takes the threads that it is given, those that it began with, or the fastest measured."""

import dataclasses
import os

import pytest
import torch

from onelip.gan import threads
from onelip.gan.config import TrainConfig
from onelip.gan.run import RunFolder
from onelip.study.jobs import Job
from onelip.study.work import perform

RING = TrainConfig(data="ring", width=1, batch=4, critic_steps=1, steps=2, device="cpu", samples_every=2)


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)


@pytest.mark.parametrize(("steps", "device", "measured"), [(1000, "cpu", True), (10, "cpu", False)])
def test_calibration_measures_every_count_and_leaves_the_threads_alone(steps, device, measured, two_cores):
    said = []
    before = torch.get_num_threads()
    config = dataclasses.replace(RING, steps=steps, device=device).resolved()
    chosen = threads.fastest_threads(config, said.append)
    assert torch.get_num_threads() == before
    assert chosen in (1, 2)
    if measured:
        assert said[0].startswith(f"{chosen} of 2 threads (")
        assert "with 1" in said[0]
        assert "with 2" in said[0]
    else:
        assert (chosen, said) == (1, [])


def test_one_core_needs_no_calibration(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    said = []
    assert threads.fastest_threads(dataclasses.replace(RING, steps=1000).resolved(), said.append) == 1
    assert not said


def test_a_continued_run_keeps_the_threads_that_it_began_with(tmp_path, monkeypatch):
    monkeypatch.setattr("onelip.study.work.fastest_threads", lambda config, say: 2)
    job = Job(tmp_path / "run", RING.resolved(), threads=None)
    before = torch.get_num_threads()
    try:
        perform(job, lambda: True, lambda text: None)
        monkeypatch.setattr(
            "onelip.study.work.fastest_threads", lambda config, say: pytest.fail("measured again")
        )
        perform(job, lambda: False, lambda text: None)
    finally:
        torch.set_num_threads(before)
    assert [start["threads"] for start in RunFolder(job.path).starts()] == [2, 2]


def test_other_threads_are_said_and_are_not_those_that_a_run_began_with(tmp_path):
    config, run = dataclasses.replace(RING, steps=4).resolved(), RunFolder(tmp_path / "run")
    run.claim(config)
    run.begin(1, (2,), {"threads": 3})  # and was killed before it saved anything
    said, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, None, 1, 2):  # the last time it has finished
            perform(Job(run.path, config, threads=threads), lambda: True, said.append)
    finally:
        torch.set_num_threads(before)
    assert [start["threads"] for start in run.starts()] == [3, 1, 2, 1, 1]
    assert said == ["threads: 1 when the run began, 2 now: it may not end with the same bits"]
