"""`onelip evaluate`: every data set gets the metrics that fit it; what cannot be measured, one clear line."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onelip.cli import main
from onelip.data import load, to_pixels
from onelip.errors import ArgumentError, CheckpointError
from onelip.files import write_json
from onelip.gan.config import TrainConfig
from onelip.gan.loop import train
from onelip.gan.run import RunFolder, RunResult
from onelip.gan.weights import finished_generator
from onelip.metrics import Extractor, digit_extractor
from onelip.study.digits import TRAINED_ON
from onelip.study.evaluate import evaluate_run, table
from onelip.study.yardstick import yardstick

ONELIP = str(Path(sys.executable).with_name("onelip"))
SMALL = TrainConfig(width=4, latent=8, batch=4, steps=1, critic_steps=1, device="cpu")
IMAGE_METRICS = {"frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage"}


def trained(path, **changes):
    train(dataclasses.replace(SMALL, **changes), path)
    return RunFolder(path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A run on a folder of 40 grey pictures of 8 × 8."""
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return trained(folder / "run", data="images", data_dir=str(folder))


@pytest.fixture
def extractors(tmp_path, monkeypatch):
    """A module of extractors, good and bad, found from the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "extractors", raising=False)
    (tmp_path / "extractors.py").write_text(
        "import torch\n"
        "def quarters(images): return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)\n"
        "def grey(images): return quarters(images.mean(1, keepdim=True))\n"
        "module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(64))\n"
        "def maps(images): return images\n"
        "def total(images): return images.sum()\n"
        "def pair(images): return images, images\n"
        "def nan(images): return images.flatten(1) / 0 * 0\n"
        "def broken(images): return torch.nn.Linear(3, 2)(images)\n"
        "def huge(images): return 1e21 * images.flatten(1).double()\n"
        "number = 3\n"
    )


def test_mnist_gets_every_image_metric_and_its_bias(tmp_path):
    result = evaluate_run(trained(tmp_path / "run"), samples=200)
    labels = {"classifier_score", "histogram_distance"}
    errors = {f"{name}_standard_error" for name in ("kernel_distance", "classifier_score")}
    assert result["generated"].keys() == result["real"].keys() == IMAGE_METRICS | labels | errors
    real, generated = result["real"], result["generated"]
    assert real["frechet_distance"] < generated["frechet_distance"] / 10
    assert abs(real["kernel_distance"]) < 4 * real["kernel_distance_standard_error"]
    assert real["precision"] > 0.8 > 0.2 > generated["coverage"]
    assert real["classifier_score"] > 9
    # Of 200 samples of the same law 1 − Π (n − i)/(n + m − i) of the 10,000 real balls hold one.
    expected = 1 - math.prod((10_000 - i) / (10_200 - i) for i in range(1, 6))
    assert real["coverage"] == pytest.approx(expected, rel=0.1)
    assert (result["samples"], result["reference_samples"], result["step"]) == (200, 10_000, 1)
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(("data", "modes"), [("ring", 8), ("grid", 25)])
def test_points_in_the_plane_get_mode_coverage(data, modes, tmp_path):
    result = evaluate_run(trained(tmp_path / "run", data=data))
    assert result["generated"]["protocol"] == "VEEGAN, PacGAN (2,500 samples)"
    assert result["generated"]["modes"] < modes
    assert result["real"]["modes"] == modes
    assert result["real"]["share"] == pytest.approx(1 - math.exp(-4.5), abs=0.01)


def test_stacked_digits_get_modes_and_divergence(tmp_path):
    result = evaluate_run(trained(tmp_path / "run", data="stacked-mnist"), samples=500)
    assert result["generated"]["protocol"].endswith("(26,000 samples; here 500)")
    assert result["generated"]["modes"] < 100 < result["real"]["modes"]
    assert result["real"]["kl"] < result["generated"]["kl"]


@pytest.mark.usefixtures("extractors")
@pytest.mark.parametrize(("name", "dimensions"), [("quarters", 4), ("module", 64)])
def test_pictures_of_ones_own_are_seen_by_ones_own_extractor(name, dimensions, pictures):
    result = evaluate_run(pictures, features=f"extractors:{name}")
    assert result["generated"].keys() == {*IMAGE_METRICS, "kernel_distance_standard_error"}
    assert (result["samples"], result["dimensions"]) == (20, dimensions)
    assert ("mostly bias" in table(result).caption) == (dimensions > 20)


@pytest.mark.usefixtures("extractors")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "features must be given for images"),
        ({"features": "extractors:maps"}, r"\[B, d\], got \[20, 1, 8, 8\] for images"),
        ({"features": "extractors:total"}, r"got \[\] for images"),
        ({"features": "extractors:pair"}, "got tuple"),
        ({"features": "extractors:nan"}, "finite and .* got 20 of 20 samples"),
        ({"features": "extractors:huge"}, "at most 1e[+]20 in size, got 20 of 20"),
        ({"features": "extractors:broken"}, "RuntimeError"),
        ({"features": "extractors:number"}, "callable, got int"),
        ({"features": "extractors:nothing"}, "AttributeError"),
        ({"features": "nowhere:nothing"}, "ModuleNotFoundError"),
        ({"features": "extractors"}, "package.module:name"),
        ({"features": "extractors:quarters", "samples": 21}, "at most 20"),
        ({"features": "extractors:quarters", "samples": 5}, "more than k = 5"),
        ({"features": "extractors:quarters", "samples": 1}, "two samples at least"),
        ({"samples": 0}, "samples must be positive"),
        ({"features": "extractors:quarters", "samples": 10**12}, "what memory holds"),
        ({"device": "tpu"}, "device must be"),
    ],
    ids=str,
)
def test_what_cannot_be_measured_is_refused_in_one_line(arguments, message, pictures):
    with pytest.raises(ArgumentError, match=message) as error:
        evaluate_run(pictures, **arguments)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("extractors")
@pytest.mark.parametrize(("size", "received"), [((6, 8), "1, 6, 8"), ((8, 8, 3), "3, 8, 8")])
def test_pictures_unlike_those_of_the_run_are_refused(size, received, pictures, tmp_path):
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (12, *size), dtype=np.uint8)):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    message = rf"data_dir must be the folder of pictures \[1, 8, 8\] .* got one of pictures \[{received}\]"
    with pytest.raises(ArgumentError, match=message):
        evaluate_run(pictures, features="extractors:grey", data_dir=str(tmp_path))


@pytest.mark.parametrize("count", [1, 2, 8, 11, 12])
def test_a_folder_of_few_pictures_is_said_to_be_one(count, tmp_path):
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (count, 8, 8), dtype=np.uint8)):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    extractor = Extractor("rows", lambda images: images.mean((1, 3)))
    if count == 12:
        assert yardstick("images", str(tmp_path), extractor).bias(6).keys() >= IMAGE_METRICS
        return
    with pytest.raises(ArgumentError, match=f"number of pictures must be 12 or more, .* got {count}: add"):
        yardstick("images", str(tmp_path), extractor)


@pytest.fixture(scope="module")
def mnist_rows():
    """The yardstick of MNIST through an extractor of one's own."""
    return yardstick("mnist", extractor=Extractor("rows", lambda images: images.mean((1, 3))))


def test_an_extractor_of_ones_own_takes_the_place_of_the_digit_classifier(mnist_rows):
    facts = mnist_rows.facts
    assert (facts["features"], facts["dimensions"], mnist_rows.most) == ("rows", 28, 10_000)
    assert mnist_rows.bias(50).keys() == {*IMAGE_METRICS, "kernel_distance_standard_error"}


def test_the_bias_is_measured_on_digits_that_the_classifier_has_not_seen(mnist_rows):
    seen = load("mnist").pixels[:TRAINED_ON]
    real = to_pixels(mnist_rows.real(10_000))
    assert len(real) == 10_000
    assert not {digit.numpy().tobytes() for digit in seen} & {digit.numpy().tobytes() for digit in real}


def test_an_extractor_where_modes_are_counted_is_refused():
    with pytest.raises(ArgumentError, match="left out for ring"):
        yardstick("ring", extractor=digit_extractor())


def test_a_run_that_is_not_finished_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is this a run folder"):
        evaluate_run(RunFolder(tmp_path))
    config = dataclasses.replace(SMALL, data="ring", steps=9)
    steps = iter(range(9))
    train(config, tmp_path / "stopped", should_stop=lambda: next(steps) == 3)
    with pytest.raises(CheckpointError, match=r"is not finished \(step 4 of 9\)"):
        evaluate_run(RunFolder(tmp_path / "stopped"))
    write_json(tmp_path / "stopped" / "result.json", dataclasses.asdict(RunResult("diverged", 5, "NaN")))
    with pytest.raises(CheckpointError, match="diverged at step 5"):
        evaluate_run(RunFolder(tmp_path / "stopped"))


@pytest.mark.parametrize("content", [None, b"", b"nonsense" * 9], ids=["missing", "empty", "damaged"])
def test_weights_that_cannot_be_read_are_named(content, tmp_path):
    run = trained(tmp_path / "run", data="ring")
    run.weights_path("generator").unlink()
    if content is not None:
        run.weights_path("generator").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"generator\.safetensors is missing or damaged"):
        evaluate_run(run)


def test_the_generator_is_the_run_s(pictures):
    state = torch.load(next(pictures.checkpoints_path.glob("*.pt")), weights_only=True)["generator"]
    found = finished_generator(pictures).state_dict()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_the_command_prints_a_table_and_writes_the_numbers(tmp_path):
    trained(tmp_path / "run", data="ring")
    process = subprocess.run([ONELIP, "evaluate", "run"], cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert "8 of 8" in process.stdout
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["real"]["modes"] == 8


def test_the_command_refuses_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["onelip", "evaluate", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "nowhere/config.json is missing" in message
