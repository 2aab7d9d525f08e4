"""The whole study: its table of runs, what is measured beside the training, its store, its expected time."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from onelip.data import load
from onelip.errors import ArgumentError, CheckpointError
from onelip.gan.loop import train
from onelip.gan.players import build_players, plain_critic
from onelip.gan.run import RunFolder
from onelip.gan.step import train_step
from onelip.linear.layers import input_shapes, linear_map
from onelip.study import observers
from onelip.study.forecast import expected_seconds, plan
from onelip.study.merging import merge
from onelip.study.presets import PRESETS, expand
from onelip.study.runs import Curve, read_run
from onelip.study.store import is_stored, read_records, write_record
from onelip.transport import wasserstein1
from tests.gan.conftest import SMALL, timeless

PAPER = PRESETS["paper"].groups
RING = dataclasses.replace(SMALL, data="ring", steps=8, evaluate_every=3, certify_every=4)


# --- the table


def test_every_group_names_the_seeds_that_its_verdict_needs():
    seeds = {name: len(group.seeds) for name, group in PAPER.items()}
    assert {name for name, count in seeds.items() if count == 5} == {
        *("main", "losses", "baseline", "settings", "iterations", "ring", "grid", "cost")
    }
    assert min(seeds.values()) == 3


def test_runs_of_one_name_are_one_configuration():
    configs = {}
    for name in PAPER:
        for run, config in expand("paper", groups=name).items():
            assert configs.setdefault(run, config) == config
    assert configs == expand("paper")


def test_settings_a_to_f_are_those_of_the_publication():
    table = {
        "A": (1e-4, 0.5, 0.9, 5),
        "B": (1e-4, 0.5, 0.999, 1),
        "C": (2e-4, 0.5, 0.999, 1),
        "D": (1e-3, 0.5, 0.9, 5),
        "E": (1e-3, 0.5, 0.999, 5),
        "F": (1e-3, 0.9, 0.999, 5),
    }
    configs = expand("paper", groups="settings,settings-operator", seeds="0")
    assert len(configs) == 24
    for name, config in configs.items():
        lr, beta1, beta2, critic_steps = table[name[0]]
        assert (config.critic_lr, config.generator_lr) == (lr, lr)
        assert (config.beta1, config.beta2, config.critic_steps) == (beta1, beta2, critic_steps)
        assert config.optimizer == "adam"


@pytest.mark.parametrize(
    ("group", "field", "values"),
    [
        ("clip", "clip", [0.001, 0.01, 0.1, 1.0]),
        ("penalty", "penalty", [0.1, 1.0, 10.0, 100.0]),
        ("target", "target", [0.25, 0.5, 1.0, 2.0, 4.0]),
        ("iterations", "power_iterations", [1, 1, 2, 3, 3, 5, 10, 10]),
    ],
)
def test_a_sweep_changes_its_field_alone(group, field, values):
    configs = expand("paper", groups=group, seeds="0").values()
    assert sorted(getattr(config, field) for config in configs) == values
    for config in configs:
        plain = expand("paper", groups="main")[f"{config.method}-0"]
        default = {field: getattr(plain, field)} | (
            {"tolerance": plain.tolerance} if group == "iterations" else {}
        )
        assert dataclasses.replace(config, **default) == plain


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"groups": "main,loses"}, "did you mean losses?"),
        ({"seeds": "7"}, "names a run"),
        ({"only": "wgan*"}, "names a run"),
    ],
)
def test_a_choice_of_nothing_is_refused(choice, message):
    with pytest.raises(ArgumentError, match=message):
        expand("paper", **choice)


def test_splitting_by_seed_leaves_nothing_out():
    halves = expand("paper", seeds="0-1") | expand("paper", seeds="2-9")
    assert halves == expand("paper")
    assert not expand("paper", seeds="0-1").keys() & expand("paper", seeds="2-9").keys()


# --- what is measured beside the training


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """A small run in the plane with all observers."""
    path = tmp_path_factory.mktemp("runs") / "clip-0"
    config = dataclasses.replace(RING, method="clip")
    assert train(config, path, make_observer=observers.StudyObserver).status == "finished"
    return config, path


def test_observers_measure_when_they_are_due(observed):
    _, path = observed
    records = RunFolder(path).records()
    assert [r["step"] for r in records if "evaluation" in r] == [3, 6, 8]
    assert [r["step"] for r in records if "certificate" in r] == [4, 8]
    assert [r["step"] for r in records if "final" in r] == [8]
    assert records[-1]["final"]["samples"] == 2_500
    assert 0 < records[-1]["certificate"]["at_boundary"] < 1
    assert records[-1]["scores"].keys() == {"train", "test", "generated"}


@pytest.mark.parametrize("method", ["clip", "sn", "sn-operator", "orthogonal"])
def test_observers_change_nothing_that_is_trained(method, observed, tmp_path):
    config, path = observed
    if method != config.method:
        config, path = dataclasses.replace(RING, method=method), tmp_path / "observed"
        train(config, path, make_observer=observers.StudyObserver)
    train(dataclasses.replace(config, evaluate_every=0, certify_every=0), tmp_path / "bare")
    brought = {"evaluation", "scores", "certificate", "final"}
    with_them, bare = (map(json.loads, timeless(p)) for p in (path, tmp_path / "bare"))
    assert [{k: v for k, v in r.items() if k not in brought} for r in with_them] == list(bare)


@pytest.mark.parametrize("method", ["sn", "sn-operator", "orthogonal"])
def test_certificates_are_of_the_weights_in_use(method):
    config = dataclasses.replace(SMALL, method=method).resolved()
    players = build_players(config, (2,))
    data = load("ring")
    for step in range(1, 6):
        train_step(players, data, config, step)
    plain = plain_critic(config, (2,), players.critic)
    x = torch.randn(16, 2)
    torch.testing.assert_close(plain(x), players.critic(x))
    maps = [linear_map(plain.get_submodule(name), size) for name, size in input_shapes(plain, (2,)).items()]
    product = np.prod([torch.linalg.matrix_norm(map.dense().detach().double(), 2).item() for map in maps])
    observe = observers.StudyObserver(dataclasses.replace(config, certify_every=1), data)
    record = observe(players, 1)["certificate"]
    slopes = torch.autograd.functional.jacobian(lambda z: plain(z).sum(), x).norm(dim=1)
    assert 0 < record["lower"] <= record["upper"] <= product * (1 + 1e-3)
    assert slopes.max() <= record["upper"] * (1 + 1e-6)


def test_the_estimate_over_the_constant_stays_below_the_exact_distance():
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(50, 2, generator=random), 2 * torch.randn(50, 2, generator=random) + 1

    def critic(z):
        return -3 * torch.linalg.vector_norm(z, dim=1)

    result = observers.transport(critic, x, y)
    assert result["exact"] == wasserstein1(x, y).value
    assert result["estimate"] == pytest.approx((critic(x).mean() - critic(y).mean()).item(), rel=1e-6)
    assert 0 < result["estimate"] / 3 <= result["exact"]
    assert observers.transport(critic, y, x)["estimate"] == -result["estimate"]


def test_the_estimate_is_of_the_samples_that_the_exact_distance_is_of(monkeypatch):
    monkeypatch.setattr(observers, "TRANSPORT_SAMPLES", 2)
    x, y = torch.tensor([[0.0], [2.0], [100.0]]), torch.tensor([[-1.0], [0.0], [-100.0]])
    expected = {"estimate": 1.5, "exact": 1.5, "samples": 2}
    assert observers.transport(lambda z: z[:, 0], x, y) == pytest.approx(expected)


def test_the_share_at_the_boundary_counts_both_ends_and_nothing_within():
    c = 0.01
    layer = torch.nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[-c, 0.0], [c, c / 2]])
    assert observers.share_at_boundary(layer, c) == 0.5


def test_scores_are_means_and_deviations():
    x = torch.tensor([[1.0], [3.0]])
    assert observers.scores(lambda z: z[:, 0], {"test": x}) == {
        "test": {"mean": 2.0, "deviation": pytest.approx(2**0.5)}
    }


# --- the store


@pytest.fixture(scope="module")
def stored(observed, tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    run = read_run(observed[1])
    write_record(store, run)
    return store, run


def test_what_is_stored_is_read_back(stored):
    store, run = stored
    (back,) = read_records(store).values()
    assert (back.name, back.setting, back.config, back.result) == ("clip-0", "clip", run.config, run.result)
    assert back.summary == run.summary
    bounds = run.curves["certificate/upper"]
    assert back.curves["certificate/upper"].values.tolist() == bounds.values.tolist()
    loss = back.curves["generator_loss"].values
    assert loss == pytest.approx(run.curves["generator_loss"].values, rel=1e-4)
    total = run.summary["training_seconds"]
    assert back.curves["training_seconds"].values[-1] == pytest.approx(total, rel=1e-4)
    with Image.open(back.pictures[0]) as picture:
        assert picture.size == (256, 256)


def test_last_values_are_of_the_last_step_and_costs_of_the_training_alone(stored, observed):
    summary, record = stored[1].summary, RunFolder(observed[1]).records()[-1]
    assert summary["last"]["final/transport/exact"] == record["final"]["transport"]["exact"]
    assert summary["last"]["certificate/upper"] == record["certificate"]["upper"]
    assert summary["training_seconds"] < summary["seconds"]
    assert summary["spread"].keys() == {"generator_gradient_norm", "critic_gradient_norm"}


def test_a_damaged_record_is_named(stored, tmp_path):
    (tmp_path / "runs").mkdir()
    content = (stored[0] / "runs" / "clip-0.json").read_text()
    (tmp_path / "runs" / "clip-0.json").write_text(content[:-100])
    with pytest.raises(CheckpointError, match=re.escape("clip-0.json is damaged")):
        read_records(tmp_path)


def test_another_run_of_the_same_name_is_refused(stored):
    store, run = stored
    assert is_stored(store, "clip-0", run.config)
    assert not is_stored(store, "clip-1", run.config)
    with pytest.raises(CheckpointError, match=r"width \(there 4, now 5\)"):
        is_stored(store, "clip-0", dataclasses.replace(run.config, width=5))


def test_stores_merge_into_one_and_contradictions_into_none(stored, tmp_path):
    _, run = stored
    a, b, into = (tmp_path / name for name in ("a", "b", "into"))
    write_record(a, run)
    write_record(b, dataclasses.replace(run, name="clip-1", config=dataclasses.replace(run.config, seed=1)))
    assert merge([a, b], into) == 2
    assert list(read_records(into)) == ["clip-0", "clip-1"]
    assert (into / "samples" / "clip.png").read_bytes() == (a / "samples" / "clip.png").read_bytes()
    assert merge([b, a], into) == 0
    write_record(tmp_path / "c", dataclasses.replace(run, config=dataclasses.replace(run.config, width=5)))
    with pytest.raises(CheckpointError, match="another run clip-0"):
        merge([a, tmp_path / "c"], tmp_path / "fresh")
    assert not (tmp_path / "fresh").exists()
    with pytest.raises(CheckpointError, match="no store"):
        merge([tmp_path / "nowhere"], into)


def test_thinned_curves_keep_means_spread_and_every_bound():
    from onelip.study.store import WINDOWS, thinned

    steps = np.arange(1.0, 1201.0)
    values = np.random.default_rng(0).normal(size=1200)
    curves = {name: Curve(steps, values) for name in ("generator_loss", "layers/0/operator/upper", "seconds")}
    thin = thinned(curves)
    loss = thin["generator_loss"]
    assert len(loss.steps) == WINDOWS
    assert loss.values.mean() == pytest.approx(values.mean())
    assert np.mean(loss.deviations**2 + loss.values**2) == pytest.approx(np.mean(values**2))
    bound = thin["layers/0/operator/upper"]
    assert [values[int(s) - 1] for s in bound.steps] == bound.values.tolist()
    assert thin["training_seconds"].values[-1] == pytest.approx(values.sum())


# --- the expected time


def test_the_expected_time_grows_with_what_is_asked_for():
    base = dataclasses.replace(RING, steps=100, evaluate_every=0, certify_every=0, method="none").resolved()
    more = {"steps": {"steps": 1000}, "critic": {"critic_steps": 50}, "observed": {"evaluate_every": 1}}
    changes = {"base": {}} | more
    seconds = expected_seconds({name: dataclasses.replace(base, **c) for name, c in changes.items()})
    assert all(seconds[name] > seconds["base"] > 0 for name in more)


def test_a_dry_run_lists_what_is_missing_by_group_and_setting(monkeypatch):
    def hours(configs):
        return {name: 3600.0 * (1 + config.seed) for name, config in configs.items()}

    monkeypatch.setattr("onelip.study.forecast.expected_seconds", hours)
    configs = expand("paper", groups="losses,clip", seeds="0-1")
    missing = {"sn-hinge-0", "sn-hinge-1", "clip-clip0.1-1"}
    table = plan("paper", "losses,clip", configs, missing)
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert rows == [
        ("losses", "8", "2", "3600 … 7200", "3.00"),
        ("  sn-hinge", "", "seeds 0, 1", "3600 … 7200", "3.00"),
        ("clip", "8", "1", "7200", "2.00"),
        ("  clip-clip0.1", "", "seeds 1", "7200", "2.00"),
        ("all", "16", "3", "", "5.00"),
    ]
