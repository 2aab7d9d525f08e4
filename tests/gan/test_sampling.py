"""Samples come from the run folder alone, and the same noise gives the same picture."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from onelip.errors import CheckpointError
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


def test_the_grid_of_a_run_is_what_its_final_weights_draw(small, tmp_path):
    train(small(), tmp_path / "run")
    write_samples(RunFolder(tmp_path / "run"), 64, seed=0, out=tmp_path / "grid.png", kind="png")
    recorded = tmp_path / "run" / "samples" / "step-00000012.png"
    assert (tmp_path / "grid.png").read_bytes() == recorded.read_bytes()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is this a run folder"):
        write_samples(RunFolder(tmp_path), 1, 0, tmp_path / "x.png", "png")


@pytest.mark.parametrize(
    ("shape", "size"), [((5, 1, 4, 6), (18, 8)), ((4, 3, 8, 8), (16, 16)), ((9, 2), (256, 256))]
)
def test_grids_are_nearly_square(shape, size):
    assert grid(torch.rand(shape)).size == size


def test_a_configuration_that_does_not_fit_the_checkpoint_is_named(small, tmp_path):
    train(small(), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    config = json.loads((run.path / "config.json").read_text())
    changed = config | {"width": 2 * config["width"]}
    (run.path / "config.json").write_text(json.dumps(changed))
    with pytest.raises(CheckpointError, match="does not fit its checkpoints"):
        write_samples(run, 4, 0, tmp_path / "samples.png", "png")
