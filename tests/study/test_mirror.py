"""A copy that follows a folder, and a worker that trains elsewhere and hands out what changes."""

import dataclasses
import os
import time
from pathlib import Path

import pytest

from onelip.files import write_atomically
from onelip.gan.loop import train
from onelip.gan.run import RunFolder
from onelip.study.jobs import Job
from onelip.study.mirror import Mirror, Piece, everything, put
from onelip.study.station import Station
from tests.gan.conftest import SMALL, assert_same_run


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def append(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text)


EDITS = {
    "a record": lambda folder: append(folder / "metrics.jsonl", b'{"step": 4}\n'),
    "cut back, then longer than before": lambda folder: (
        os.truncate(folder / "metrics.jsonl", 12),
        append(folder / "metrics.jsonl", b'{"step": 2, "value": 0.25}\n' * 9),
    ),
    "a new file": lambda folder: write_atomically(folder / "result.json", b"{}"),
    "replaced by as many bytes": lambda folder: write_atomically(folder / "starts.json", b"[2]"),
    "a checkpoint for another": lambda folder: (
        write_atomically(folder / "checkpoints" / "step-2.pt", b"two"),
        (folder / "checkpoints" / "step-1.pt").unlink(),
    ),
    "nothing": lambda folder: None,
}


@pytest.fixture
def folder(tmp_path):
    """A run folder after three steps."""
    here = tmp_path / "here"
    (here / "checkpoints").mkdir(parents=True)
    (here / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"step": 2}\n{"step": 3}\n')
    (here / "starts.json").write_bytes(b"[1]")
    (here / "checkpoints" / "step-1.pt").write_bytes(b"one")
    return here


@pytest.mark.parametrize("edit", EDITS)
def test_a_copy_follows_every_edit(folder, tmp_path, edit):
    copy = tmp_path / "copy"
    put(copy, everything(folder))
    assert content(copy) == content(folder)
    mirror = Mirror(folder)
    for name in (edit, "a record", "a record"):
        EDITS[name](folder)
        put(copy, mirror.changes())
        assert content(copy) == content(folder)
    assert mirror.changes() == []


def test_of_what_grows_only_the_new_travels(folder):
    mirror = Mirror(folder)
    mirror.changes()
    append(folder / "metrics.jsonl", b'{"step": 4}\n')
    (piece,) = mirror.changes()
    assert (piece.offset, piece.content) == (36, b'{"step": 4}\n')


def test_after_every_piece_the_copy_is_one_to_continue_from(folder, tmp_path):
    mirror = Mirror(folder)
    for edit in ("a checkpoint for another", "a record", "a new file"):
        EDITS[edit](folder)
    names = [piece.name for piece in mirror.changes()]
    assert names == ["metrics.jsonl", "checkpoints/step-2.pt", "result.json", "checkpoints/step-1.pt"]


def test_metrics_reach_the_disk_before_the_checkpoint_that_follows(folder, tmp_path, monkeypatch):
    """Whether they come with it or came before, as where a run is stopped."""
    copy, flushed = tmp_path / "copy", []
    put(copy, everything(folder))
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (flushed.append(os.fstat(handle).st_ino), sync(handle)))
    records, checkpoint = (
        Piece("metrics.jsonl", 36, b'{"step": 4}\n'),
        Piece("checkpoints/step-4.pt", 0, b"4"),
    )
    for pieces in ([records, checkpoint], [checkpoint]):
        flushed.clear()
        put(copy, pieces)
        written = [(copy / piece.name).stat().st_ino for piece in (records, checkpoint)]
        assert [number for number in flushed if number in written] == written


def test_a_store_has_its_record_only_after_the_pictures_that_go_with_it(tmp_path):
    for name in ("runs/sn-0.json", "samples/sn-0.png", "plane/sn-0.npz"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert everything(tmp_path)[-1].name == "runs/sn-0.json"


def arrive(station: Station, job: Job, until=lambda: False):
    """Put what a station hands out into the job's folder; its outcome, or None where `until` came first."""
    ended = time.monotonic() + 300
    while not until() and time.monotonic() < ended:
        for run, store, _, outcome in station.take():
            put(job.path, run)
            put(job.store, store)
            if outcome is not None:
                return outcome
    return None


def test_a_station_hands_out_the_run_that_training_here_makes(tmp_path):
    job = Job(tmp_path / "sn-0", SMALL.resolved(), tmp_path / "store")
    outcome = arrive(Station(job, everything(job.path)), job)
    assert outcome.error is None
    assert outcome.job == job
    assert outcome.result.status == "finished"
    train(SMALL, tmp_path / "whole")
    assert_same_run(tmp_path / "whole", job.path)
    assert {path.name for path in tmp_path.glob("store/*/*")} == {"sn-0.json", "sn.png"}


def test_a_stopped_station_saves_and_another_goes_on_from_there(tmp_path):
    config = dataclasses.replace(SMALL, data="ring", steps=400).resolved()
    job = Job(tmp_path / "ring-1", config, tmp_path / "store")
    station = Station(job, everything(job.path))
    assert arrive(station, job, lambda: RunFolder(job.path).last_step() > 0) is None
    station.stop()
    result = arrive(station, job).result
    assert result.status == "interrupted"
    assert str(job.path / "checkpoints") in result.message
    assert arrive(Station(job, everything(job.path)), job).result.status == "finished"
    assert [start["step"] for start in RunFolder(job.path).starts()] == [1, result.step + 1]
    train(config, tmp_path / "whole")
    assert_same_run(tmp_path / "whole", job.path)


def test_what_a_station_refuses_names_the_folders_of_the_engine(tmp_path):
    job = Job(tmp_path / "sn-0", SMALL.resolved(), tmp_path / "store")
    RunFolder(job.path).claim(SMALL.resolved())
    (job.path / "checkpoints").mkdir()
    (job.path / "checkpoints" / "step-00000004.pt").write_bytes(b"damaged" * 9)
    outcome = arrive(Station(job, everything(job.path)), job)
    assert outcome.result is None
    assert outcome.error.endswith(f"delete {job.path} to start this run over")
    assert "onelip-" not in outcome.error
