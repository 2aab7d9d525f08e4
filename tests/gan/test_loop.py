"""A run: what it records, how it resumes, how it stops."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from onelip.errors import CheckpointError, DataError
from onelip.gan.checkpoint import checkpoints
from onelip.gan.config import METHODS
from onelip.gan.loop import train
from onelip.gan.run import RunFolder
from onelip.gan.step import train_step
from onelip.study.observers import StudyObserver
from tests.gan.conftest import CLOCK, SMALL, assert_same_run, timeless

MEASURED_EVERY_STEP = {
    "step",
    "generator_loss",
    "critic_loss",
    "critic_loss_with_penalty",
    "w1_estimate",
    "generator_gradient_norm",
    "critic_gradient_norm",
    "seconds",
    "cpu_seconds",
    "elapsed_seconds",
    "peak_memory_mib",
}


@pytest.fixture(scope="module", params=METHODS)
def finished(request, tmp_path_factory):
    """An uninterrupted small run of each method."""
    config = dataclasses.replace(SMALL, method=request.param)
    path = tmp_path_factory.mktemp("runs") / request.param
    assert train(config, path).status == "finished"
    return config, path


def test_records_hold_what_is_promised_when_it_is_due(finished):
    config, path = finished
    records = RunFolder(path).records()
    assert [record["step"] for record in records] == list(range(1, config.steps + 1))
    for record in records:
        assert record.keys() >= MEASURED_EVERY_STEP
        step = record["step"]
        ends = step in (1, config.steps)
        assert ("input_gradient" in record) == (ends or step % config.gradients_every == 0)
        assert ("layers" in record) == (ends or step % config.layers_every == 0)
    assert records[2]["input_gradient"].keys() == {"real", "generated", "interpolated"}
    assert records[4]["layers"].keys() == {"0", "2", "4", "7"}


def test_the_penalty_is_part_of_one_loss_and_not_of_the_other(finished):
    config, path = finished
    for record in RunFolder(path).records():
        difference = record["critic_loss_with_penalty"] - record["critic_loss"]
        assert difference > 0 if config.method in ("gp", "r1r2") else difference == 0
        assert record["w1_estimate"] == pytest.approx(-record["critic_loss"], rel=1e-5, abs=1e-7)


def test_the_folder_holds_configuration_versions_samples_and_weights(finished):
    config, path = finished
    folder = RunFolder(path)
    assert folder.config() == config.resolved()
    assert folder.starts()[0].keys() == {"step", "threads", "commit", "python", "versions", "machine"}
    assert [p.name for p in sorted(folder.samples_path.iterdir())] == [
        f"step-{step:08d}.png" for step in (0, 6, 12)
    ]
    assert [p.name for p in checkpoints(folder.checkpoints_path)] == ["step-00000012.pt", "step-00000008.pt"]
    events = EventAccumulator(str(path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("generator_loss")] == list(range(1, 13))


@pytest.mark.parametrize("stops", [(1, 2), (3, 8, 11)], ids=str)
def test_a_run_stopped_and_continued_equals_one_never_stopped(finished, stops, tmp_path):
    config, path = finished
    again = tmp_path / "again"
    for stop in stops:
        result = train(config, again, should_stop=lambda: len(RunFolder(again).records()) >= stop)  # noqa: B023
        assert (result.status, result.step) == ("interrupted", stop)
    assert train(config, again).status == "finished"
    assert_same_run(path, again)
    assert [start["step"] for start in RunFolder(again).starts()] == [1, *(stop + 1 for stop in stops)]


def test_a_run_continues_from_the_older_checkpoint_when_the_newest_is_damaged(finished, tmp_path):
    config, path = finished
    again = tmp_path / "again"
    train(config, again, should_stop=lambda: len(RunFolder(again).records()) >= 10)
    newest = checkpoints(RunFolder(again).checkpoints_path)[0]
    newest.write_bytes(newest.read_bytes()[:-100])
    said = []
    assert train(config, again, say=said.append).status == "finished"
    assert [newest.name in message and "from step 8" in message for message in said] == [True]
    assert_same_run(path, again)


@pytest.mark.parametrize("method", ["gp", "sn", "sn-operator", "orthogonal"])
def test_measuring_more_often_changes_nothing_else(small, method, tmp_path):
    sparse = small(method=method, steps=6, gradients_every=6, layers_every=6, samples_every=6)
    dense = small(method=method, steps=6, gradients_every=1, layers_every=2, samples_every=1)
    plain = []
    for name, config in (("sparse", sparse), ("dense", dense)):
        train(config, tmp_path / name)
        records = map(json.loads, timeless(tmp_path / name))
        plain.append([{k: v for k, v in r.items() if k in MEASURED_EVERY_STEP} for r in records])
    assert plain[0] == plain[1]


def test_a_finished_run_is_not_run_again(finished):
    config, path = finished
    before = {p: p.stat().st_mtime_ns for p in sorted(Path(path).rglob("*")) if p.name != ".lock"}
    assert train(config, path).status == "finished"
    assert {p: p.stat().st_mtime_ns for p in sorted(Path(path).rglob("*")) if p.name != ".lock"} == before


def test_another_configuration_in_the_same_folder_is_refused_with_its_fields(finished):
    config, path = finished
    other = dataclasses.replace(config, width=6, seed=3)
    with pytest.raises(CheckpointError, match=r"seed \(there 0, now 3\), width \(there 4, now 6\)"):
        train(other, path)


EDITED = [
    ("starts.json", '{"starts": 5}', RunFolder.starts),
    ("starts.json", '{"starts": [{}]}', RunFolder.threads),
    ("starts.json", '{"starts": [{"step": 1, "threads": "x"}]}', RunFolder.threads),
    ("starts.json", '{"starts": [{"step": "1"}]}', RunFolder.threads),
    ("starts.json", '{"sample_shape": "ab"}', RunFolder.sample_shape),
    ("starts.json", '{"sample_shape": [-1]}', RunFolder.sample_shape),
    ("starts.json", '{"sample_shape": []}', RunFolder.sample_shape),
    ("starts.json", "[]", RunFolder.sample_shape),
    ("metrics.jsonl", '{"step": "a"}\n', RunFolder.records),
    ("metrics.jsonl", '{"step": 1, "layers": {"0": "b"}}\n', RunFolder.records),
    ("metrics.jsonl", "[]\n", RunFolder.records),
    ("metrics.jsonl", "{}\n", RunFolder.records),
    ("result.json", '{"status": "done", "step": 3}', RunFolder.result),
    ("result.json", '{"status": ["finished"], "step": 3}', RunFolder.result),
    ("result.json", '{"status": "finished", "step": "x"}', RunFolder.result),
    ("result.json", '{"status": "finished", "step": true}', RunFolder.result),
    ("result.json", '{"status": "finished", "step": 3, "message": 4}', RunFolder.result),
    ("result.json", '{"status": "finished"}', RunFolder.result),
]


@pytest.mark.parametrize(("name", "content", "read"), EDITED)
def test_what_was_edited_by_hand_is_named_as_damaged(tmp_path, name, content, read):
    (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=rf"{name} is damaged \(.+\): ") as error:
        read(RunFolder(tmp_path))
    assert "\n" not in str(error.value)


def test_a_step_that_is_no_number_is_no_step(small, tmp_path):
    run = RunFolder(tmp_path)
    train(small(data="ring", method="none"), tmp_path, should_stop=lambda: run.last_step() == 4)
    with run.metrics_path.open("a") as metrics:
        metrics.write('{"step": "a"}\n')
    assert run.last_step() == 4
    assert train(small(data="ring", method="none"), tmp_path).status == "finished"


def test_pictures_of_another_size_than_at_the_start_are_named(small, tmp_path):
    pictures, run = tmp_path / "pictures", RunFolder(tmp_path / "run")
    pictures.mkdir()
    config = small(method="none", data="images", data_dir=str(pictures))
    Image.new("L", (9, 9)).save(pictures / "one.png")
    train(config, run.path, should_stop=lambda: run.last_step() == 3)
    Image.new("L", (12, 12)).save(pictures / "one.png")
    with pytest.raises(CheckpointError, match=r"samples of \(1, 9, 9\), .* of \(1, 12, 12\) now: put"):
        train(config, run.path)


def test_a_checkpoint_of_another_configuration_is_named(small, tmp_path):
    config, run = small(data="ring", method="none"), RunFolder(tmp_path)
    train(config, tmp_path, should_stop=lambda: run.last_step() == 3)
    other = dataclasses.replace(config, width=2).resolved()
    (tmp_path / "config.json").write_text(json.dumps(dataclasses.asdict(other)))
    with pytest.raises(CheckpointError, match="does not fit its checkpoints"):
        train(other, tmp_path)


def test_a_folder_in_use_is_refused(small, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.claim(small().resolved())
    with folder.lock(), pytest.raises(CheckpointError, match="another process"):
        train(small(), folder.path)


def test_a_folder_is_claimed_by_who_holds_it(small, tmp_path):
    folder = RunFolder(tmp_path)
    for begin in (folder.claim, lambda config: train(config, folder.path)):
        with folder.lock(), pytest.raises(CheckpointError, match="another process"):
            begin(small().resolved())
    assert not (tmp_path / "config.json").exists()


def test_a_folder_in_which_nothing_began_is_anybody_s(small, tmp_path):
    without_data = small(data="images", data_dir=str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere"):
        train(without_data, tmp_path / "run")
    assert train(small(data="ring", steps=1), tmp_path / "run").status == "finished"
    with pytest.raises(CheckpointError, match="another configuration"):
        train(without_data, tmp_path / "run")


def test_a_loss_that_is_no_number_stops_the_run_as_diverged(small, tmp_path):
    config = small(method="none", critic_lr=1e25)
    result = train(config, tmp_path / "run")
    assert result.status == "diverged"
    assert "not finite" in result.message
    assert len(RunFolder(tmp_path / "run").records()) == result.step - 1
    assert train(config, tmp_path / "run") == result


@pytest.mark.parametrize(
    ("data", "name", "value", "status"),
    [
        ("mnist", "project.weight", math.nan, "diverged"),
        ("mnist", "layers.0.running_var", math.inf, "diverged"),
        ("mnist", "layers.3.running_mean", math.nan, "diverged"),
        ("ring", "0.bias", -1e30, "finished"),
    ],
)
def test_a_generator_has_diverged_where_a_number_of_its_state_is_not_finite(
    small, tmp_path, monkeypatch, data, name, value, status
):
    """A unit that a large bias holds at zero harms nobody, though its square is no float32."""

    def step_and_break(players, *arguments):
        values = train_step(players, *arguments)
        players.generator.state_dict()[name].view(-1)[0] = value
        return values

    monkeypatch.setattr("onelip.gan.loop.train_step", step_and_break)
    result = train(small(data=data, method="none", steps=1), tmp_path / "run")
    assert (result.status, result.message) == (status, "weights not finite" if status == "diverged" else "")


@pytest.mark.parametrize(
    ("changes", "bias", "message"),
    [
        ({}, 1e30, ""),
        ({}, math.inf, "samples not finite"),
        ({"evaluate_every": 1}, math.inf, "evaluation not finite"),
        ({"evaluate_every": 1}, 1e30, "evaluation not finite"),
        ({"evaluate_every": 1, "certify_every": 1}, 1e15, ""),
    ],
    ids=str,
)
def test_a_generator_whose_samples_no_metric_takes_has_diverged(
    small, tmp_path, monkeypatch, changes, bias, message
):
    """Its weights may be finite: their product is what overflows."""

    class Far(nn.Module):
        def forward(self, x):
            return x + bias

    def step_and_break(players, *arguments):
        values = train_step(players, *arguments)
        if arguments[-1] == 2:
            players.generator.append(Far())
        return values

    monkeypatch.setattr("onelip.gan.loop.train_step", step_and_break)
    config = small(data="ring", method="none", steps=2, samples_every=1, **changes)
    result = train(config, tmp_path / "run", make_observer=StudyObserver)
    assert (result.status, result.message) == ("diverged" if message else "finished", message)
    assert len(list(RunFolder(tmp_path / "run").samples_path.iterdir())) == (2 if message else 3)


@pytest.mark.parametrize("data", ["ring", "grid", "stacked-mnist"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_on_every_kind_of_data(small, tmp_path, data, method):
    assert train(small(data=data, method=method, steps=2), tmp_path / "run").status == "finished"


@pytest.mark.gpu
def test_the_gpu_starts_like_the_cpu(small, tmp_path):
    first = {}
    for device in ("cpu", "cuda"):
        train(small(device=device, steps=1), tmp_path / device)
        first[device] = RunFolder(tmp_path / device).records()[0]
    for name in MEASURED_EVERY_STEP - CLOCK:
        assert first["cuda"][name] == pytest.approx(first["cpu"][name], rel=1e-3, abs=1e-5)
    assert torch.cuda.is_available()


def test_records_that_a_checkpoint_outlived_are_missed(small, tmp_path):
    """As after a power cut that took some of what was written: the gap is not passed over in silence."""
    config = small(method="none", data="ring")
    train(config, tmp_path, should_stop=lambda: len(RunFolder(tmp_path).records()) >= 8)
    run = RunFolder(tmp_path)
    lines = run.metrics_path.read_bytes().splitlines(keepends=True)
    for left in (lines[:3], [*lines[:3], b"\0" * 40 + b"\n"], []):
        run.metrics_path.write_bytes(b"".join(left))
        with pytest.raises(CheckpointError, match=f"ends at step {min(3, len(left))}, and the checkpoint"):
            train(config, tmp_path)
