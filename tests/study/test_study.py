"""A study end to end, as a user runs it: the command, its files, its interruption, its continuation."""

import dataclasses
import errno
import io
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from PIL import Image, UnidentifiedImageError
from rich.console import Console

from onelip import cli, options
from onelip.errors import ArgumentError, CheckpointError
from onelip.gan.checkpoint import load_newest
from onelip.gan.config import TrainConfig
from onelip.gan.run import RunFolder, RunResult
from onelip.study.engine import run_jobs
from onelip.study.jobs import Job, Outcome
from onelip.study.presets import expand, parse_seeds
from onelip.study.processes import ProcessWorker
from onelip.study.progress import BarProgress, LineProgress, progress_for
from onelip.study.runs import read_run
from onelip.study.store import write_record
from onelip.study.study import missing_runs, run_study
from onelip.study.work import perform
from tests.gan.conftest import assert_same_run
from tests.study import made

ONELIP = [str(Path(sys.executable).with_name("onelip"))]
QUICK = ["study", "quick", "--steps", "12", "--width", "4"]
MNIST = Path("data/mnist").resolve()


@contextmanager
def onelip(folder, *arguments):
    """The command, started in `folder` with the repository's data; closed at the end."""
    process = subprocess.Popen(
        [*ONELIP, *arguments, "--data-dir", str(MNIST)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        yield process


def wait_for(folder: RunFolder, step: int, process: subprocess.Popen) -> None:
    while folder.last_step() < step and process.poll() is None:
        time.sleep(0.01)


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """An uninterrupted small study."""
    out = tmp_path_factory.mktemp("study")
    process = subprocess.run([*ONELIP, *QUICK, "--out", str(out)], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return out, process.stdout


def test_a_study_leaves_what_it_promises(studied):
    out, said = studied
    assert re.search(r"3 runs and their figures in \d+ s: open .*report.html", said)
    for run in ("clip-0", "gp-0", "sn-0"):
        assert f"{run}: finished at step 12" in said
        assert (out / "runs" / run / "config.json").exists()
    for name in ("generator_loss", "critic_loss", "gradient_norm", "operator_norm", "samples"):
        with Image.open(out / "figures" / f"{name}.png") as picture:
            assert picture.width > 600
        assert b"<svg" in (out / "figures" / f"{name}.svg").read_bytes()[:2000]
        assert (out / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["runs"].keys() == {"clip-0", "gp-0", "sn-0"}
    for run in summary["runs"].values():
        assert run["status"] == "finished"
        assert run["seconds_per_generator_step"] > 0
        assert None not in run["final"].values()


def test_the_report_is_one_file_that_needs_no_network(studied):
    page = (studied[0] / "report.html").read_text()
    markup = page.partition("<script>")[0]
    assert not re.search(r'(src|href)="(?!#)', markup)
    for run in ("clip-0", "gp-0", "sn-0"):
        assert f'<th scope="row">{run}</th><td>finished at 12</td>' in markup


def test_the_same_runs_again_train_nothing(studied):
    out, _ = studied
    before = {p: p.read_bytes() for p in out.rglob("metrics.jsonl")}
    configs = expand("quick", overrides={"steps": 12, "width": 4})
    assert missing_runs(configs, out / "store") == {}
    process = subprocess.run([*ONELIP, *QUICK, "--out", str(out)], capture_output=True, text=True)
    assert (process.returncode, "finished at" in process.stdout) == (0, False), process.stderr
    assert {p: p.read_bytes() for p in out.rglob("metrics.jsonl")} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_names_the_command_that_continues(tmp_path, number):
    run = RunFolder(tmp_path / "mine")
    arguments = ["train", "--method", "gp", "--width", "4", "--steps", "2000", "--out", "mine"]
    with onelip(tmp_path, *arguments) as process:
        wait_for(run, 3, process)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert re.search(r"mine: interrupted at step \d+: saved .*step-\d+\.pt", said)
    assert "To continue: onelip train --method gp --width 4 --steps 2000 --out mine" in said
    assert load_newest(run.checkpoints_path, torch.device("cpu"))[0] == run.last_step()


def test_a_study_stopped_and_continued_equals_one_never_stopped(studied, tmp_path):
    first = RunFolder(tmp_path / "again" / "runs" / "clip-0")
    with onelip(tmp_path, *QUICK, "--out", "again") as process:
        wait_for(first, 3, process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    configs = expand("quick", overrides={"steps": 12, "width": 4, "data_dir": str(MNIST)})
    run_study(configs, tmp_path / "again", 2, lines(dict.fromkeys(configs, 12)))
    for run in configs:
        assert_same_run(studied[0] / "runs" / run, tmp_path / "again" / "runs" / run)


def test_workers_save_and_end_when_the_command_is_killed(tmp_path):
    run = RunFolder(tmp_path / "mine")
    with onelip(tmp_path, "train", "--width", "4", "--steps", "2000", "--out", "mine") as process:
        wait_for(run, 3, process)
        process.kill()
    for _ in range(600):
        with suppress(CheckpointError), run.lock():
            break  # the worker that held it has ended
        time.sleep(0.1)
    assert load_newest(run.checkpoints_path, torch.device("cpu"))[0] == run.last_step() >= 3


@pytest.mark.parametrize(("lost", "code"), [(0, 0), (1, 2)], ids=["all finish", "one fails"])
def test_the_command_counts_what_ended_whoever_stored_it(tmp_path, monkeypatch, capsys, lost, code):
    """Another process stores the first run between the look at the store and the training."""
    configs = expand("quick", overrides={"steps": made.STEPS})

    @contextmanager
    def meanwhile(*_):
        made.write_run(tmp_path / "elsewhere" / "clip-0", configs["clip-0"])
        write_record(tmp_path / "store", read_run(tmp_path / "elsewhere" / "clip-0"))
        yield ProcessWorker

    def trained(jobs, *_):
        outcomes = [Outcome(job, RunResult("finished", made.STEPS)) for job in jobs]
        return [*outcomes[lost:], *(Outcome(job, None, "the disk is full") for job in jobs[:lost])]

    monkeypatch.setattr("onelip.study.engine.engine", meanwhile)
    monkeypatch.setattr("onelip.study.study.run_jobs", trained)
    monkeypatch.setattr("onelip.study.study.write_results", lambda *_: tmp_path / "report.html")
    assert cli.study(options.Study(out=tmp_path, steps=made.STEPS)) == code
    assert f"{3 - lost} runs and their figures in" in capsys.readouterr().out


def small_jobs(tmp_path, **changes):
    config = TrainConfig(width=4, latent=8, batch=8, steps=6, critic_steps=1, data="ring")
    table = {"good": {}, "bad": changes}
    return {name: dataclasses.replace(config, **change).resolved() for name, change in table.items()}


def lines(totals):
    return progress_for(totals, Console(file=io.StringIO()))


@pytest.mark.parametrize(
    ("changes", "ending"),
    [
        ({"critic_lr": 1e25, "method": "none"}, "diverged"),
        ({"data": "mnist", "data_dir": "/nowhere"}, "failed"),
    ],
)
def test_one_run_that_fails_does_not_stop_the_others(tmp_path, changes, ending):
    configs = small_jobs(tmp_path, **changes)
    outcomes = run_study(configs, tmp_path, workers=2, progress=lines({"good": 6, "bad": 6}))
    by_name = {outcome.job.name: outcome for outcome in outcomes}
    assert by_name["good"].result.status == "finished"
    bad = by_name["bad"].result
    assert (bad.status if bad else "failed") == ending
    assert read_run(tmp_path / "runs" / "bad").summary["status"] == ("diverged" if bad else "unfinished")


@pytest.mark.parametrize("place", ["store", "store/runs", "report.html"])
def test_where_nothing_can_be_written_nothing_is_trained(tmp_path, monkeypatch, place):
    monkeypatch.setattr("onelip.study.study.run_jobs", lambda *_: pytest.fail("trained"))
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).mkdir() if place == "report.html" else (tmp_path / place).write_text("")
    with pytest.raises(OSError, match=place):
        run_study(small_jobs(tmp_path), tmp_path, 2, lines({"good": 6, "bad": 6}))


def test_a_store_on_a_disk_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path / "store" / "runs")
    with pytest.raises(PermissionError, match="store/runs"):
        run_study(small_jobs(tmp_path), tmp_path, 2, lines({"good": 6, "bad": 6}))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            UnidentifiedImageError("cannot identify image file 'a.png'"),
            "run: cannot identify image file 'a.png'",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "b.png"), "b.png: Permission denied"),
        (RuntimeError("can't allocate memory:\n you tried to"), "(can't allocate memory: you tried to)"),
        (RuntimeError("Storage size calculation overflowed with sizes=[9]"), "overflowed with sizes=[9])"),
        (
            TypeError("empty(): Overflow when unpacking long long"),
            "too large for this machine (empty(): Overflow",
        ),
        (MemoryError(), "too large for this machine"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
    ],
    ids=str,
)
def test_what_the_system_refuses_is_one_line_and_what_is_wrong_here_is_none(
    tmp_path, monkeypatch, error, said
):
    def refuse(*_):
        raise error

    monkeypatch.setattr("onelip.study.work.train", refuse)
    job = Job(tmp_path / "run", TrainConfig(data="ring").resolved())
    if said is None:
        with pytest.raises(RuntimeError, match="mat1"):
            perform(job, lambda: False, print)
        return
    line = perform(job, lambda: False, print).error
    assert said in line
    assert "None" not in line
    assert "\n" not in line


@pytest.mark.parametrize("sizes", [{"batch": 10**11}, {"width": 10**21}, {"latent": 10**18}], ids=str)
def test_sizes_beyond_memory_are_one_line(tmp_path, sizes):
    config = TrainConfig(data="ring", steps=1, **{"width": 1, **sizes}).resolved()
    outcome = perform(Job(tmp_path / "run", config), lambda: False, print)
    assert outcome.result is None
    assert "too large for this machine" in outcome.error


@pytest.mark.parametrize("seeds", ["0-99999999999", "5,0-1000000", f"{10**30}-{10**31}"])
def test_more_seeds_than_anyone_means_are_refused_before_they_are_listed(seeds):
    with pytest.raises(ArgumentError, match="seeds must be at most 1,000,000 numbers"):
        parse_seeds(seeds)
    assert len(parse_seeds("0-999999")) == 10**6


@pytest.mark.parametrize("seeds", ["3-1", "0,3-1"])
def test_a_range_that_runs_backwards_is_refused(seeds):
    with pytest.raises(ArgumentError, match=f"seeds must be ranges .* got {seeds}: write 1-3"):
        parse_seeds(seeds)


def test_names_in_brackets_are_no_markup():
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    with BarProgress({"b[/x]": 3, "my[run]": 3}, console) as progress:
        progress.update("my[run]", 1)
        progress.finish("b[/x]", "failed [/y]")
    shown = console.file.getvalue()
    assert all(name in shown for name in ("b[/x]", "my[run]", "failed [/y]"))


def test_workers_save_and_end_when_the_engine_breaks(tmp_path):
    job = Job(tmp_path / "run", TrainConfig(data="ring", width=4, steps=10**6).resolved())
    RunFolder(job.path).claim(job.config)

    class Broken(LineProgress):
        def update(self, name, step):
            assert step < 3, "broken"

    with pytest.raises(AssertionError, match="broken"):
        run_jobs([job], 1, Broken({"run": 10**6}, Console(quiet=True)))
    (worker,) = multiprocessing.active_children()
    worker.join(60)
    assert worker.exitcode == 0
    assert RunFolder(job.path).last_step() >= 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_is_still_starting_saves_and_ends(tmp_path, number):
    """As in a terminal: the signal reaches the worker before its handlers are set, and the engine too."""
    job = Job(tmp_path / "run", TrainConfig(data="ring", width=4, steps=10**6).resolved())
    RunFolder(job.path).claim(job.config)
    worker = ProcessWorker(job)
    os.kill(worker.process.pid, number)
    worker.stop()
    worker.process.join(60)
    outcome = worker.poll(print)
    assert outcome.result, outcome.error
    assert outcome.result.status == "interrupted"


def test_a_worker_that_dies_is_reported_as_such(tmp_path, monkeypatch):
    config = TrainConfig(data="ring", width=4, steps=10**6)
    job = Job(tmp_path / "run", config.resolved())
    RunFolder(job.path).claim(job.config)

    class Killer(LineProgress):
        def update(self, name, step):
            if step > 2:
                for child in multiprocessing.active_children():
                    child.kill()

    (outcome,) = run_jobs([job], 1, Killer({"run": 10**6}, Console(quiet=True)))
    assert outcome.result is None
    assert "code -9" in outcome.error
