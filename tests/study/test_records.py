"""The store against the folders of runs: which of the two is shown, and what goes where a run goes."""

import json
from pathlib import Path

import pytest
from PIL import Image

from onelip.gan.run import RunFolder
from onelip.study.records import WINDOWS, merge
from onelip.study.report.read import read_study
from onelip.study.study import write_results
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
