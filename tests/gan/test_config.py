"""A configuration is checked before anything is computed; each refusal is one line with a way out."""

import dataclasses
import json
from pathlib import Path

import pytest

from onelip.data import DATASETS
from onelip.errors import ArgumentError
from onelip.gan.config import METHODS, OPTIMIZERS, TrainConfig, config_of, differing_fields
from onelip.study.presets import PRESETS, expand

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize("method", METHODS)
def test_defaults_of_a_method_fill_what_was_left_open(method):
    config = TrainConfig(method=method).resolved()
    left_open = {k for k, v in dataclasses.asdict(config).items() if v is None}
    assert left_open == {"data_dir", "power_iterations" if method == "sn-operator" else "tolerance"}
    assert {name: getattr(config, name) for name in METHODS[method]} == METHODS[method]


@pytest.mark.parametrize("method", METHODS)
def test_every_default_of_a_method_can_be_set(method):
    for optimizer in ({"optimizer": "adam", "beta1": 0.1}, {"optimizer": "rmsprop"}):
        given = {"critic_lr": 0.5, "generator_lr": 0.25, "beta2": 0.2} | optimizer
        config = TrainConfig(method=method, **given).resolved()
        assert {name: getattr(config, name) for name in given} == given


# What some fields are read with; without them a value of one's own changes nothing.
READ = {
    "clip": ({"clip": 3.0}, {"method": "clip"}),
    "penalty": ({"penalty": 5.0}, {"method": "gp"}),
    "gamma": ({"gamma": 7.0}, {"method": "r1r2"}),
    "target": ({"target": 9.0}, {"method": "orthogonal"}),
    "power_iterations": ({"power_iterations": 50}, {"method": "sn"}),
    "tolerance": ({"tolerance": 0.5}, {"method": "sn-operator"}),
    "beta1": ({"beta1": 0.9}, {"method": "clip", "optimizer": "adam"}),
    "data_dir": ({"data_dir": "/nowhere"}, {"data": "mnist"}),
}


@pytest.mark.parametrize(("given", "readers"), READ.values(), ids=READ)
def test_an_option_that_nothing_reads_is_refused_and_one_that_is_read_is_kept(given, readers):
    ((name, value),) = given.items()
    assert getattr(TrainConfig(**readers | given).resolved(), name) == value
    unread = {"method": "none", "optimizer": "rmsprop", "data": "ring"}
    with pytest.raises(ArgumentError, match=f"{name} must be left out for .*: only .* reads it") as error:
        TrainConfig(**unread | given).resolved()
    assert str(value) in str(error.value)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resolved_configuration_is_resolved(method, optimizer):
    config = TrainConfig(method=method, optimizer=optimizer, data="grid").resolved()
    assert config.resolved() == config


def test_presets_and_committed_runs_have_no_option_that_is_not_read():
    configs = [config for preset in PRESETS for config in expand(preset).values()]
    records = sorted(RESULTS.glob("*/runs/*.json"))
    configs += [TrainConfig(**json.loads(path.read_text())["config"]) for path in records]
    assert records
    for config in configs:
        assert config.resolved() == config


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("method", "spn", "did you mean sn?"),
        ("loss", "wassertein", "did you mean wasserstein?"),
        ("data", "fashion", "did you mean fashion-mnist?"),
        ("optimizer", "adamw", "did you mean adam?"),
        ("data", "images", "pass --data-dir FOLDER"),
        ("device", "gpu", "leave it at auto"),
        ("width", 0, "pass --width 16"),
        ("steps", -5, "pass --steps 900"),
        ("batch", 0, "pass --batch 64"),
        ("critic_lr", -1.0, "pass --critic-lr 0.001"),
        ("critic_lr", float("nan"), "positive and finite"),
        ("clip", float("inf"), "positive and finite"),
        ("seed", -1, "pass --seed 0"),
        ("beta1", 1.0, r"in \[0, 1\)"),
        ("penalty", -1.0, "pass --penalty 10"),
        ("penalty", float("nan"), "pass --penalty 10"),
        ("gamma", 0.0, "pass --gamma 1"),
        ("tolerance", 1.5, "pass --tolerance 0.01"),
    ],
)
def test_bad_values_are_refused_with_the_way_out(field, value, message):
    with pytest.raises(ArgumentError, match=message) as error:
        TrainConfig(**{field: value}).resolved()
    assert "\n" not in str(error.value)
    assert str(value) in str(error.value) or value == "images"


@pytest.mark.parametrize("data", DATASETS)
@pytest.mark.parametrize("method", METHODS)
def test_channels_that_are_sorted_in_pairs_are_even(method, data):
    folder = {"data_dir": "mine"} if data == "images" else {}
    config = TrainConfig(method=method, data=data, width=5, **folder)
    if method != "orthogonal" or data in ("ring", "grid"):
        assert config.resolved().width == 5
        return
    with pytest.raises(ArgumentError, match=r"width must be even .* got 5: pass --width 6"):
        config.resolved()


@pytest.mark.parametrize("method", ["sn", "sn-operator"])
@pytest.mark.parametrize("given", [{"power_iterations": 3}, {"tolerance": 0.1}])
def test_iterations_and_tolerance_take_each_other_s_place(method, given):
    config = TrainConfig(method=method, **given).resolved()
    assert {"power_iterations": config.power_iterations, "tolerance": config.tolerance} == {
        "power_iterations": None,
        "tolerance": None,
    } | given
    with pytest.raises(ArgumentError, match="one of the two"):
        TrainConfig(method=method, power_iterations=3, tolerance=0.1).resolved()


@pytest.mark.parametrize(
    "changed",
    [{"width": "1"}, {"latent": None}, {"method": 5}, {"beta1": None}, {"steps": 1.5}, {"seed": True},
     {"clip": "0.1"}, {"device": None}, {"tolerance": "0.1"}],
    ids=str,
)  # fmt: skip
def test_values_of_another_kind_are_no_configuration(changed):
    fields = dataclasses.asdict(TrainConfig().resolved())
    assert config_of(fields) == TrainConfig().resolved()
    with pytest.raises(TypeError, match=f"{next(iter(changed))} cannot be"):
        config_of(fields | changed)


def test_where_a_run_is_computed_is_no_difference():
    a = dataclasses.asdict(TrainConfig(device="cpu", data_dir="here", width=8))
    b = dataclasses.asdict(TrainConfig(device="cuda", data_dir="there", width=16))
    assert differing_fields(a, b) == {"width": (8, 16)}


def test_a_folder_of_images_is_the_data_set(monkeypatch, tmp_path):
    """Under its full name, so that the same folder is the same from everywhere."""
    monkeypatch.chdir(tmp_path)
    folders = [TrainConfig(data="images", data_dir=name).resolved() for name in ("cats", "dogs")]
    cats, dogs = map(dataclasses.asdict, folders)
    assert differing_fields(cats, dogs) == {"data_dir": (str(tmp_path / "cats"), str(tmp_path / "dogs"))}
    assert differing_fields(cats, cats | {"device": "cuda"}) == {}
