"""Curves of several seeds: what is averaged belongs to one step."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from onelip.study.figures import draw_curves
from onelip.study.store import Curve

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
