"""Samples come from the run folder alone, and the same noise gives the same picture."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onelip import cli, options
from onelip.errors import ArgumentError, CheckpointError
from onelip.gan.checkpoint import checkpoints
from onelip.gan.loop import train
from onelip.gan.run import RunFolder
from onelip.gan.sampling import grid, write_samples


def test_a_run_can_be_sampled_without_its_data(small, tmp_path, monkeypatch):
    train(small(), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONELIP_DATA", str(tmp_path / "nowhere"))
    run = RunFolder(tmp_path / "run")
    for name in ("a.npz", "b.npz"):
        assert write_samples(run, 5, seed=3, out=tmp_path / name, kind="npz") == 12
    with np.load(tmp_path / "a.npz") as first, np.load(tmp_path / "b.npz") as second:
        a, b = first["samples"], second["samples"]
    assert a.shape == (5, 1, 28, 28)
    assert np.array_equal(a, b)
    write_samples(run, 7, seed=0, out=tmp_path / "grid.png", kind="png")
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (3 * 28, 3 * 28)


def test_more_samples_than_memory_holds_are_refused(small, tmp_path):
    train(small(data="ring", steps=1), tmp_path / "run")
    with pytest.raises(ArgumentError, match=r"count must be at most .* got 1000000000000: draw"):
        write_samples(RunFolder(tmp_path / "run"), 10**12, 0, tmp_path / "a.npz", "npz")


@pytest.mark.parametrize(
    ("given", "name"),
    [({}, "samples.png"), ({"format": "npz"}, "samples.npz"), ({"out": "a.npz"}, "a.npz"),
     ({"out": "a", "format": "png"}, "a"), ({"out": "a.png", "format": "npz"}, None)],
    ids=str,
)  # fmt: skip
def test_a_file_is_what_its_name_says(small, tmp_path, monkeypatch, given, name):
    train(small(data="ring", steps=1), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    out = {"out": Path(given["out"])} if "out" in given else {}
    sample = options.Sample(Path("run"), count=4, **given | out)
    if name is None:
        with pytest.raises(ArgumentError, match=r"out must be a name that ends in \.npz"):
            cli.sample(sample)
        return
    assert cli.sample(sample) == 0
    (written,) = (path for path in tmp_path.iterdir() if path.is_file())
    assert written.name == name
    assert zipfile.is_zipfile(written) == (name.endswith("npz"))


LOST = {
    "nothing": lambda folder: None,
    "the newest checkpoint": lambda folder: checkpoints(folder)[0].write_bytes(b"damaged"),
    "every checkpoint": shutil.rmtree,
}


@pytest.mark.parametrize("lost", LOST)
def test_the_grid_of_a_run_is_what_its_final_weights_draw(small, tmp_path, lost):
    train(small(), tmp_path / "run")
    LOST[lost](tmp_path / "run" / "checkpoints")
    write_samples(RunFolder(tmp_path / "run"), 64, seed=0, out=tmp_path / "grid.png", kind="png")
    recorded = tmp_path / "run" / "samples" / "step-00000012.png"
    assert (tmp_path / "grid.png").read_bytes() == recorded.read_bytes()


def test_an_older_state_is_said_to_be_one(small, tmp_path, capsys):
    path = tmp_path / "run"
    train(small(data="ring"), path, should_stop=lambda: RunFolder(path).last_step() == 9)
    newest = checkpoints(path / "checkpoints")[0]
    newest.write_bytes(b"damaged")
    assert cli.sample(options.Sample(path, count=4, out=tmp_path / "x.png")) == 0
    warning, end = capsys.readouterr().out.splitlines()
    assert warning.startswith(f"{newest} is damaged")
    assert warning.endswith("sampling step 8")
    assert "4 samples of step 8" in end


@pytest.mark.parametrize(("rate", "reason"), [(1e-3, "train it for 4 steps"), (1e25, "it diverged at step")])
def test_a_run_without_a_checkpoint_is_refused(small, tmp_path, rate, reason):
    train(small(method="none", critic_lr=rate), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    shutil.rmtree(run.checkpoints_path, ignore_errors=True)
    if run.result().status == "finished":
        (run.path / "result.json").unlink()  # as a run that has not come so far
    with pytest.raises(CheckpointError, match=f"holds no checkpoint: {reason}"):
        write_samples(run, 4, 0, tmp_path / "x.png", "png")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is this a run folder"):
        write_samples(RunFolder(tmp_path), 1, 0, tmp_path / "x.png", "png")


@pytest.mark.parametrize(
    ("shape", "size"), [((5, 1, 4, 6), (18, 8)), ((4, 3, 8, 8), (16, 16)), ((9, 2), (256, 256))]
)
def test_grids_are_nearly_square(shape, size):
    assert grid(torch.rand(shape)).size == size


@pytest.mark.parametrize(("scale", "extent"), [(0.5, 1), (1.0, 2), (3e5, 300_001), (3e37, 3e37)], ids=str)
def test_points_of_any_size_are_a_picture_of_their_density(scale, extent):
    """[-r, r]² in 256 × 256 cells, whatever else there is: points in the middle of two quarters of it."""
    points = scale * torch.tensor([[1.0, 1.0], [-1.0, 0.0]]).repeat(200, 1)
    places = ((points.double() + extent) / (2 * extent) * 256).long().clamp_max(255)
    broken = torch.tensor([[torch.nan, 0.0], [0.0, torch.inf], [-torch.inf, torch.nan]])
    picture = np.asarray(grid(torch.cat([points, broken])))
    assert {(int(255 - row), int(column)) for row, column in np.argwhere(picture < 255)} == {
        (int(y), int(x)) for x, y in places
    }


def test_no_finite_point_is_an_empty_picture():
    assert np.asarray(grid(torch.full((3, 2), torch.nan))).min() == 255


def test_a_configuration_that_does_not_fit_the_checkpoint_is_named(small, tmp_path):
    train(small(), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    config = json.loads((run.path / "config.json").read_text())
    changed = config | {"width": 2 * config["width"]}
    (run.path / "config.json").write_text(json.dumps(changed))
    with pytest.raises(CheckpointError, match="does not fit its checkpoints"):
        write_samples(run, 4, 0, tmp_path / "samples.png", "png")
