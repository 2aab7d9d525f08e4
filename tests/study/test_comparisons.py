"""Figures that compare settings, on runs made up for them, and the planes that a study keeps."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from onelip.errors import CheckpointError
from onelip.gan.checkpoint import checkpoints, load_newest
from onelip.gan.config import TrainConfig
from onelip.gan.loop import train
from onelip.gan.players import build_players
from onelip.gan.run import RunFolder, RunResult
from onelip.gan.sampling import generate
from onelip.study.comparisons import by_setting, cost, knobs, plane, sensitivity
from onelip.study.gallery import draw_all
from onelip.study.plane import POINTS, SIDE, Plane, centres, plane_of, read_plane, write_plane
from onelip.study.presets import expand
from onelip.study.runs import StoredRun


def runs_of(groups, frechet=lambda config: 10.0, seconds=lambda config: 1.0, **choice):
    """Ended runs of the preset's groups; an infinite distance stands for one that diverged."""
    found = []
    for name, config in expand("paper", groups=groups, **choice).items():
        distance = frechet(config)
        diverged = math.isinf(distance)
        summary = {
            "last": {} if diverged else {"final/frechet_distance": distance},
            "cpu_seconds_per_generator_step": seconds(config),
        }
        result = RunResult("diverged" if diverged else "finished", config.steps)
        found.append(StoredRun(name, config, result, {}, summary, ()))
    return found


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_the_heat_map_names_medians_what_diverged_and_what_is_missing():
    worst = {0: 1.0, 1: 30.0, 2: math.inf}
    runs = runs_of(
        "settings",
        lambda c: worst[c.seed] if c.method == "gp" else math.inf if c.method == "clip" else 7.0,
        seeds="0-2",
    )
    figure = sensitivity([run for run in runs if run.setting != "F-sn"])
    assert figure is not None
    assert texts(figure.axes[0]) == ["diverged"] * 6 + ["30"] * 6 + ["7"] * 5 + ["not run"]


def test_knobs_show_every_seed_at_its_value_and_crosses_where_one_diverged():
    runs = runs_of("clip", lambda c: math.inf if c.clip == 1.0 and c.seed == 2 else 100 * c.clip)
    figure = knobs(runs)
    assert figure is not None
    (ax,) = figure.axes
    median, *_ = ax.lines
    assert median.get_xdata().tolist() == [0.001, 0.01, 0.1, 1.0]
    assert median.get_ydata() == pytest.approx([0.1, 1, 10, 100])
    assert [line.get_marker() for line in ax.lines].count("x") == 1


def test_one_panel_leaves_room_for_its_legend():
    figure = knobs(runs_of("iterations", lambda c: 10.0))
    assert figure is not None
    figure.draw_without_rendering()  # where axes collapse, Matplotlib warns, and warnings are errors here
    assert figure.axes[0].get_position().width > 0.3


def test_an_axis_of_less_than_a_decade_has_numbers():
    figure = knobs(runs_of("clip", lambda c: 20.0 + c.clip))
    assert figure is not None
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_ylim()
    axis = figure.axes[0].yaxis
    shown = [*axis.get_majorticklabels(), *axis.get_minorticklabels()]
    assert any(label.get_text() and low <= label.get_position()[1] <= high for label in shown)


def test_cost_is_relative_to_no_constraint_at_the_same_size():
    factor = {"none": 1.0, "gp": 2.0}
    figure = cost(runs_of("cost", seconds=lambda c: c.width * factor.get(c.method, 1.5)))
    assert figure is not None
    for ax, widths in zip(figure.axes, ([4, 8, 16, 32], [4, 16, 32]), strict=True):
        lines = {line.get_label(): line for line in ax.lines}
        assert lines["gradient penalty"].get_xdata().tolist() == widths
        assert lines["gradient penalty"].get_ydata() == pytest.approx([2.0] * len(widths))


def test_a_run_that_diverged_at_its_first_step_has_no_cost():
    runs = runs_of("cost", seeds="0-1")
    for run in runs:
        if run.config.method == "gp" and (run.config.seed == 0 or run.config.width == 4):
            del run.summary["cpu_seconds_per_generator_step"]
    figure = cost(runs)
    assert figure is not None
    (drawn,) = (line for line in figure.axes[0].lines if line.get_label() == "gradient penalty")
    assert drawn.get_xdata().tolist() == [8, 16, 32]


def test_no_cost_is_drawn_that_has_nothing_to_be_relative_to():
    assert cost([run for run in runs_of("cost") if run.config.method != "none"]) is None


@pytest.mark.parametrize("groups", ["clip", "clip,iterations"])
def test_no_knobs_are_drawn_where_every_run_diverged(groups):
    assert knobs(runs_of(groups, lambda c: math.inf)) is None


def test_one_knob_without_a_finite_distance_is_all_crosses():
    figure = knobs(runs_of("clip,iterations", lambda c: math.inf if c.method == "clip" else 5.0))
    assert figure is not None
    figure.draw_without_rendering()
    crosses = [line.get_marker() for line in figure.axes[0].lines].count("x")
    assert crosses == len(runs_of("clip"))


@pytest.mark.parametrize("draw", [sensitivity, knobs, cost])
def test_no_figure_without_its_runs(draw, tmp_path):
    assert draw(runs_of("losses")) is None
    assert plane(runs_of("losses"), tmp_path) is None
    unfinished = [replace(run, result=None) for run in runs_of("settings,clip,cost")]
    assert draw(unfinished) is None
    assert by_setting(unfinished) == {}


@pytest.fixture
def finished(tmp_path):
    """finished(method): the folder of a run on the ring that has finished."""

    def folder(method):
        config = TrainConfig(data="ring", method=method, width=2, batch=16, steps=3, device="cpu")
        train(config, tmp_path / "run")
        return RunFolder(tmp_path / "run")

    return folder


def final_players(run):
    """As the last checkpoint has them."""
    config = run.config()
    players = build_players(config, (2,))
    step, state, _ = load_newest(run.checkpoints_path, torch.device("cpu"))
    assert step == config.steps
    players.load_state_dict(state)
    return players


@pytest.mark.parametrize("method", ["none", "sn-operator"])
def test_a_plane_is_that_of_the_finished_run(method, finished, tmp_path):
    run = finished(method)
    found, players, config = plane_of(run), final_players(run), run.config()
    points = generate(players.generator, config.latent, POINTS, config.seed)
    assert np.array_equal(found.points, points.numpy())
    corner = torch.tensor([[found.axis[-1], found.axis[3]]])  # row 3, last column
    assert found.values[3, -1] == pytest.approx(players.critic(corner).item(), rel=1e-5)
    assert found.values.shape == (SIDE, SIDE)
    assert np.ptp(found.values) > 0
    write_plane(tmp_path, "ring-none", found)
    kept = read_plane(tmp_path, "ring-none")
    for name in ("points", "axis", "values"):
        assert getattr(kept, name) == pytest.approx(getattr(found, name), rel=1e-3, abs=1e-6)
    assert read_plane(tmp_path, "ring-gp") is None


DAMAGED = [
    "{",
    "[]",
    "3",
    "null",
    "{}",
    '{"points": {"a": 1}}',
    '{"points": [0], "axis": [0], "values": [[0]]}',
    '{"points": [[0, 0]], "axis": 0, "values": 0}',
    '{"points": [[0, 0]], "axis": [0, 1], "values": [[0, 0]]}',
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_plane_is_named(content, tmp_path):
    (tmp_path / "plane").mkdir()
    (tmp_path / "plane" / "ring-none.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"ring-none.json is damaged \(.*\): delete it") as error:
        read_plane(tmp_path, "ring-none")
    assert "\n" not in str(error.value)


def test_a_plane_needs_the_final_weights_alone(finished):
    run = finished("sn")
    whole = plane_of(run)
    checkpoints(run.checkpoints_path)[0].write_bytes(b"damaged")
    assert np.array_equal(plane_of(run).values, whole.values)
    shutil.rmtree(run.checkpoints_path)
    assert np.array_equal(plane_of(run).points, whole.points)
    run.weights_path("critic").unlink()
    with pytest.raises(CheckpointError, match=r"critic\.safetensors is missing or damaged"):
        plane_of(run)
    (run.path / "result.json").unlink()
    with pytest.raises(CheckpointError, match=r"is not finished \(step 3 of 3\)"):
        plane_of(run)


def test_rows_of_a_plane_follow_the_second_coordinate(tmp_path):
    axis = np.linspace(-1.5, 1.5, 5)
    for data in ("ring", "grid"):
        points = centres(data).numpy()
        write_plane(tmp_path, f"{data}-sn", Plane(points, axis, np.add.outer(axis, 0 * axis)))
    runs = runs_of("ring,grid", seeds="0", only="*-sn-0")
    drawn = draw_all(runs, tmp_path)
    assert list(drawn) == ["plane"]
    assert len(drawn["plane"].axes) == 2


def test_the_grid_of_a_plane_has_f_of_x_and_y_in_row_y(finished, monkeypatch):
    monkeypatch.setattr("onelip.study.plane.plain_critic", lambda *_: lambda x: x[:, 1])
    found = plane_of(finished("none"))
    assert found.values[:, 0] == pytest.approx(found.axis)
