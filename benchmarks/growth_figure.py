"""Growth drawn: a panel a subject, every law relative to its smallest size, with its fitted power."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.powers import PowerFit
from onelip.study.figures import BLUE, GREEN, ORANGE, PURPLE, RED, STYLE, save_figure

Laws = dict[str, dict[str, Any]]
COLORS, MARKERS = (BLUE, ORANGE, GREEN, PURPLE), "os^D"
COLUMNS = 4
NOTE = (
    "points: measured\nlines: fitted powers\n\nin each legend: fitted exponent\n± standard error (≤ theory)"
)
ALARM = "\n\nred: its 95 % interval lies\nabove what theory allows"
VALUES = {"time": "milliseconds", "memory": "mib"}
LABELS = {"time": "processor time, relative", "memory": "peak memory, relative"}


def growth(laws: Laws, quantity: str) -> Figure:
    """quantity: time or memory. Points are measured, lines fitted; exponents with their standard error."""
    laws = {name: law for name, law in laws.items() if law[quantity]["fit"] is not None}
    subjects = list(dict.fromkeys(law["subject"] for law in laws.values()))
    rows = -(-len(subjects) // COLUMNS)
    figure = Figure(figsize=(3.1 * COLUMNS, 3.0 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    for ax, subject in zip(axes, subjects, strict=False):
        _panel(ax, [law for law in laws.values() if law["subject"] == subject], quantity)
        ax.set_title(subject)
    for ax in axes[len(subjects) :]:
        ax.set_axis_off()
    if len(subjects) < len(axes):
        alarm = ALARM if any(law[quantity]["worse"] for law in laws.values()) else ""
        axes[-1].text(0.02, 0.97, NOTE + alarm, va="top", transform=axes[-1].transAxes)
    for ax in axes[: len(subjects) : COLUMNS]:
        ax.set_ylabel(LABELS[quantity])
    figure.supxlabel("size, relative to the smallest", fontsize=STYLE["font.size"])
    return figure


def _panel(ax: Axes, laws: list[dict[str, Any]], quantity: str) -> None:
    for law, color, marker in zip(laws, COLORS, MARKERS, strict=False):
        fit = PowerFit(**law[quantity]["fit"])
        # The fit left out what was too small to tell; so does the picture.
        x = np.array(law["sizes"][-fit.points :], float)
        y = np.array(law[quantity][VALUES[quantity]][-fit.points :])
        theory = f"{law[quantity]['theory']:.3g}"
        label = f"{law['variable']}: {fit.exponent:.2f} ± {fit.standard_error:.2f} (≤ {theory})"
        ax.plot(x / x[0], y / fit.at(x[0]), marker, color=color, ms=4.5, label=label)
        ax.plot(x / x[0], (x / x[0]) ** fit.exponent, color=color, linewidth=1.2)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.xaxis.set_major_locator(FixedLocator([1, 2, 4, 8, 16]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** (0.13 * len(laws)))  # room for the legend above the curves
    legend = ax.legend(
        loc="upper left", fontsize=7.5, handletextpad=0.2, borderaxespad=0.1, labelspacing=0.25
    )
    for text, law in zip(legend.get_texts(), laws, strict=True):
        text.set_color(RED if law[quantity]["worse"] else "black")


def write_figures(laws: Laws, folder: Path) -> None:
    """FOLDER/growth-time and growth-memory, each as SVG, PNG and PDF; the same laws give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for quantity in VALUES:
            save_figure(growth(laws, quantity), folder, f"growth-{quantity}", ("svg", "png", "pdf"))
