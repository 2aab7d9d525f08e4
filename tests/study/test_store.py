"""The store against the folders of runs: which of the two is shown, and what goes where a run goes."""

import dataclasses
import json
import os
import threading
from pathlib import Path
from unittest import mock

import pytest
from PIL import Image

from onelip.errors import CheckpointError
from onelip.files import locked
from onelip.gan.run import RunFolder, RunResult
from onelip.study.jobs import Job
from onelip.study.merging import merge
from onelip.study.mirror import Piece
from onelip.study.report.read import read_study
from onelip.study.runs import StoredRun, read_run
from onelip.study.store import WINDOWS, is_stored, put_record, read_records, write_record
from onelip.study.study import write_results
from onelip.study.work import perform
from tests.study import made

SETTINGS = (("clip", 0), ("clip", 1), ("sn", 0))
CONFIGS = {f"{method}-{seed}": made.config(method, seed) for method, seed in SETTINGS}


def of_another_run(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"steps": 10}))


def interrupted(folder: Path) -> None:
    (folder / "result.json").unlink()


def as_it_was(folder: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "points"),
    [(as_it_was, made.STEPS), (of_another_run, WINDOWS), (interrupted, WINDOWS)],
)
def test_a_folder_stands_for_a_stored_run_only_if_it_is_the_same_run(tmp_path, monkeypatch, change, points):
    made.write_study(tmp_path)
    change(tmp_path / "runs" / "sn-0")
    runs = {run.name: run for run in read_study(tmp_path)}
    assert len(runs["sn-0"].curves["generator_loss"].steps) == points
    assert runs["sn-0"].result == made.FINISHED
    monkeypatch.setattr("onelip.study.study.write_figures", lambda *_: None)  # no gradients were made
    write_results("a study", CONFIGS, tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())["runs"]["sn-0"]
    assert (summary["status"], summary["step"]) == ("finished", made.STEPS)


def test_a_run_that_is_not_stored_is_shown_as_far_as_it_came(tmp_path):
    made.write_study(tmp_path)
    (tmp_path / "store" / "runs" / "sn-0.json").unlink()
    (tmp_path / "runs" / "sn-0" / "result.json").unlink()
    runs = {run.name: run for run in read_study(tmp_path)}
    assert runs["sn-0"].result is None
    assert RunFolder(tmp_path / "runs" / "sn-0").last_step() == runs["sn-0"].summary["step"]


def test_pictures_go_with_the_run_that_they_are_of(tmp_path):
    """A torn copy is replaced, a whole one of a run that is there already is not."""
    source = made.write_study(tmp_path / "source") / "store"
    into = tmp_path / "into"
    (into / "samples").mkdir(parents=True)
    (into / "samples" / "sn.png").write_bytes(b"torn")
    assert merge([source], into) == 3
    for name in ("sn", "clip"):
        with Image.open(into / "samples" / f"{name}.png") as picture:
            picture.load()
    (into / "samples" / "sn.png").write_bytes(b"its own")
    assert merge([source], into) == 0
    assert (into / "samples" / "sn.png").read_bytes() == b"its own"


@pytest.mark.parametrize("where", ["two sources", "the store"])
def test_a_run_that_finished_and_diverged_is_refused_by_a_merge(tmp_path, where):
    finished, diverged, into = (tmp_path / name for name in ("finished", "diverged", "into"))
    for store, result in ((finished, made.FINISHED), (diverged, RunResult("diverged", 19))):
        made.write_run(tmp_path / store.name / "sn-0", made.config(), 18, result)
        write_record(store, read_run(tmp_path / store.name / "sn-0"))
    sources = [finished, diverged]
    if where == "the store":
        assert merge(sources[:1], into) == 1
        sources = sources[1:]
    before = {path: path.read_bytes() for path in into.rglob("*.*")}
    said = rf"sn-0 finished in {into if before else finished} and diverged in {diverged}: delete the record"
    with pytest.raises(CheckpointError, match=said):
        merge(sources, into)
    assert {path: path.read_bytes() for path in into.rglob("*.*")} == before


def test_a_run_of_two_machines_is_merged_once(tmp_path):
    """The numbers differ, the configuration and how it ended do not."""
    for name, last in (("one", made.STEPS), ("other", made.STEPS - 1)):
        made.write_run(tmp_path / name / "sn-0", made.config(), last)
        write_record(tmp_path / name, read_run(tmp_path / name / "sn-0"))
    assert merge([tmp_path / "one", tmp_path / "other"], tmp_path / "into") == 1
    assert merge([tmp_path / "other"], tmp_path / "into") == 0


@pytest.mark.parametrize(
    "damage",
    [
        {"name": "sn-1"},
        {"curves": []},
        {"summary": {}},
        {"summary": []},
        {"config": {"width": "1"}},
        {"curves": {"loss": 1}},
    ],
    ids=str,
)
def test_a_record_that_was_edited_by_hand_is_named(tmp_path, damage):
    path = made.write_study(tmp_path) / "store" / "runs" / "sn-0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(CheckpointError, match=r"(?s)sn-0.json is damaged .*: delete it to train the run"):
        read_records(tmp_path / "store")


def test_a_copy_that_a_sync_left_is_no_picture(tmp_path):
    made.write_run(tmp_path / "sn-0", made.config())
    pictures = read_run(tmp_path / "sn-0").pictures
    pictures[-1].with_name("step-00000099 (copy).png").write_bytes(b"whatever")
    assert read_run(tmp_path / "sn-0").pictures == pictures


def test_a_folder_of_data_whose_name_is_no_text_is_stored(tmp_path):
    config = dataclasses.replace(made.config(), data_dir=os.fsdecode(b"/caf\xe9"))
    made.write_run(tmp_path / "sn-0", config)
    write_record(tmp_path / "store", read_run(tmp_path / "sn-0"))
    assert read_records(tmp_path / "store")["sn-0"].config == config


@pytest.mark.parametrize("tail", ['{"step": 2, oops}\n', '{"step": 41', "[]\n", ""])
def test_the_last_step_is_that_of_the_last_whole_record(tmp_path, tail):
    made.write_run(tmp_path / "sn-0", made.config())
    run = RunFolder(tmp_path / "sn-0")
    with run.metrics_path.open("a") as file:
        file.write(tail)
    assert run.last_step() == made.STEPS


def perform_it(store: Path, run: StoredRun) -> None:
    outcome = perform(Job(Path(run.pictures[0]).parents[1], run.config, store), lambda: False, print)
    if outcome.error is not None:
        raise CheckpointError(outcome.error)


def put_it(store: Path, run: StoredRun) -> None:
    """As it comes from another machine."""
    pieces = [Piece(f"samples/{run.setting}.png", 0, b"its own"), Piece(f"runs/{run.name}.json", 0, b"{}")]
    put_record(store, run.name, run.config, pieces)


def merge_it(store: Path, run: StoredRun) -> None:
    """Where the other is stored after all was compared."""
    source = store.with_name("source")
    write_record(source, run)
    looks = iter((False, False, True))
    with mock.patch("onelip.study.store.is_stored", lambda *there: next(looks) and is_stored(*there)):
        merge([source], store)


@pytest.mark.parametrize("add", [write_record, perform_it, put_it, merge_it])
def test_a_run_that_is_stored_stays_and_another_of_its_name_is_refused(tmp_path, add):
    made.write_study(tmp_path)
    store = tmp_path / "store"
    before = {path: path.read_bytes() for path in store.rglob("*.*")}
    add(store, read_run(tmp_path / "runs" / "sn-0"))
    assert {path: path.read_bytes() for path in store.rglob("*.*")} == before
    made.write_run(tmp_path / "others" / "sn-0", dataclasses.replace(made.config(), width=5))
    with pytest.raises(CheckpointError, match=r"another run sn-0: width \(there 16, now 5\)"):
        add(store, read_run(tmp_path / "others" / "sn-0"))
    assert {path: path.read_bytes() for path in store.rglob("*.*")} == before


def test_processes_that_add_to_a_store_wait_for_each_other(tmp_path):
    made.write_run(tmp_path / "sn-0", made.config())
    store, run = tmp_path / "store", read_run(tmp_path / "sn-0")
    (store / "runs").mkdir(parents=True)
    thread = threading.Thread(target=write_record, args=(store, run))
    with locked(store / "runs" / "sn-0.json"):
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        assert read_records(store) == {}
    thread.join()
    assert list(read_records(store)) == ["sn-0"]
