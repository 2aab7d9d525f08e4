"""Curves of several seeds, and samples: what is averaged, and what is drawn, belongs to one step."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from onelip.gan.run import RunResult
from onelip.study.figures import METHOD_TITLES, draw_curves, logarithmic, panels, samples
from onelip.study.runs import Curve, read_run
from onelip.study.store import read_record, write_record
from tests.study import made

EVERY_STEP, WINDOWS = np.arange(1.0, 1501.0), np.arange(50.0, 1501.0, 50.0)
DIVERGED = np.arange(10.0, 301.0, 10.0)


@pytest.mark.parametrize(
    ("steps", "last"),
    [((EVERY_STEP, WINDOWS), 1500), ((WINDOWS, EVERY_STEP), 1500), ((WINDOWS, DIVERGED, WINDOWS), 300)],
    ids=["recorded and thinned", "thinned and recorded", "one diverged"],
)
def test_seeds_that_were_measured_at_other_steps_are_averaged_at_the_same(steps, last):
    axes = Figure().subplots()
    draw_curves(axes, [Curve(each, each / 1500) for each in steps], "black", "mean")
    (mean,) = (line for line in axes.lines if line.get_label() == "mean")
    x, y = np.asarray(mean.get_xdata()), np.asarray(mean.get_ydata())
    assert x[-1] == last
    assert np.abs(y - x / 1500).max() < 0.03  # half of a window, where the first value of one stands alone


@pytest.mark.parametrize(
    ("last", "result", "drawn"),
    [(made.STEPS, made.FINISHED, made.STEPS), (19, RunResult("diverged", 20), 18), (20, None, 18)],
    ids=["finished", "diverged", "unfinished"],
)
def test_samples_bear_the_step_at_which_they_were_drawn(tmp_path, last, result, drawn):
    made.write_run(tmp_path / "sn-0", made.config(), last, result)
    runs = [read_run(tmp_path / "sn-0")]
    if result is not None:
        write_record(tmp_path / "store", runs[0])
        runs.append(read_record(tmp_path / "store", "sn-0"))
    for run in runs:
        (axes,) = samples({"sn": [run]}).axes
        assert axes.get_title() == f"spectral normalization, step {drawn}"


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 7])
def test_every_method_has_its_column_of_panels_and_no_panel_is_left_over(count, rows):
    methods = list(METHOD_TITLES)[:count]
    figure, axes = panels({method: [] for method in methods}, rows)
    assert axes.shape == (rows, count)
    assert [ax.get_title() for ax in axes[0]] == [METHOD_TITLES[method] for method in methods]
    assert set(figure.axes) == set(axes.flat)
    assert figure.get_figwidth() <= 4 * 3.2


@pytest.mark.parametrize(
    ("low", "high", "scale", "labels"),
    [(0.9, 1.0, "linear", None), (1.0, 9.0, "log", {"2", "5"}), (1e-3, 1e3, "log", None)],
)
def test_an_axis_is_logarithmic_where_it_spans_much_and_plain_where_little(low, high, scale, labels):
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], [low, high])
    logarithmic(axes)
    figure.draw_without_rendering()
    assert axes.get_yscale() == scale
    shown = {label.get_text() for label in axes.get_yticklabels()}
    assert labels is None or labels <= shown
