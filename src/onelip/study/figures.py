"""The figures of a comparison: one panel a method, raw curves faint, smoothed on top, seeds as a band."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from onelip.files import write_atomically
from onelip.study.store import Curve, StoredRun

FORMATS = ("svg", "png", "pdf")
MARKED_POINTS = 20  # curves of fewer points show where they were measured
SMOOTHING_SHARE = 0.05  # window of the running mean, as a share of the curve

# Okabe & Ito's palette: distinguishable with every common colour-vision deficiency.
BLUE, ORANGE, GREEN, PURPLE, RED, SKY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"
METHOD_COLORS = {"none": "#666666", "clip": ORANGE, "gp": GREEN, "sn": BLUE, "sn-operator": PURPLE}
METHOD_TITLES = {
    "none": "no constraint",
    "clip": "weight clipping",
    "gp": "gradient penalty",
    "sn": "spectral normalization",
    "sn-operator": "spectral normalization (operator)",
}
LAYER_COLORS = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY)

STYLE: dict[Any, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "onelip",  # the same data give the same file
    "pdf.fonttype": 42,
}

Grouped = dict[str, list[StoredRun]]


def by_method(runs: Iterable[StoredRun]) -> Grouped:
    """Runs that recorded something, grouped by method in the order of METHOD_COLORS."""
    runs = [run for run in runs if run.curves]
    return {m: group for m in METHOD_COLORS if (group := [r for r in runs if r.config.method == m])}


def smooth(
    values: Float[np.ndarray, " points"], share: float = SMOOTHING_SHARE
) -> Float[np.ndarray, " points"]:
    """Centred running mean over `share` of the points; at the ends over those that there are.

    >>> smooth(np.array([0.0, 3.0, 0.0]), share=1.0)
    array([1.5, 1. , 1.5])
    """
    half = max(int(share * len(values)) // 2, 0)
    kernel = np.ones(2 * half + 1)
    return np.convolve(np.pad(values, half), kernel, "valid") / np.convolve(
        np.pad(np.ones_like(values), half), kernel, "valid"
    )


def draw_curves(
    axes: Axes, curves: list[Curve], color: str, label: str | None = None, style: str = "-"
) -> None:
    """One seed: raw faint, smoothed on top. Several: the mean of the smoothed, and their range as a band."""
    smoothed = [smooth(curve.values) for curve in curves]
    length = min(len(values) for values in smoothed)
    steps = curves[0].steps[:length]
    stack = np.stack([values[:length] for values in smoothed])
    for curve in curves:
        axes.plot(curve.steps, curve.values, color=color, alpha=0.18, linewidth=0.6, zorder=1)
    if len(curves) > 1:
        axes.fill_between(steps, stack.min(0), stack.max(0), color=color, alpha=0.25, linewidth=0)
    marker = "o" if length <= MARKED_POINTS else None
    axes.plot(
        steps, stack.mean(0), style, color=color, linewidth=1.6, label=label, marker=marker, ms=3, zorder=2
    )


def curves_of(runs: list[StoredRun], metric: str) -> list[Curve]:
    return [run.curves[metric] for run in runs if metric in run.curves]


def panels(groups: Grouped, rows: int = 1, height: float = 2.6) -> tuple[Figure, np.ndarray]:
    """An empty figure with a column for each method."""
    figure = Figure(figsize=(3.2 * len(groups), height * rows), layout="constrained")
    axes = figure.subplots(rows, len(groups), squeeze=False)
    for column, method in zip(axes.T, groups, strict=True):
        column[0].set_title(METHOD_TITLES[method])
        column[-1].set_xlabel("generator step")
    return figure, axes


def legend_beside(row: np.ndarray, title: str) -> None:
    """The first panel's labels to the right of the last one, where no curve can run through them."""
    handles, labels = row[0].get_legend_handles_labels()
    row[-1].legend(handles, labels, title=title, loc="center left", bbox_to_anchor=(1.02, 0.5))


def loss_figure(groups: Grouped, metric: str, label: str) -> Figure:
    """One loss, a panel a method with an axis of its own: critics of different constants share no scale."""
    figure, axes = panels(groups)
    for ax, (method, runs) in zip(axes[0], groups.items(), strict=True):
        draw_curves(ax, curves_of(runs, metric), METHOD_COLORS[method])
    axes[0, 0].set_ylabel(label)
    return figure


def generator_loss(groups: Grouped) -> Figure:
    return loss_figure(groups, "generator_loss", "generator loss")


def critic_loss(groups: Grouped) -> Figure:
    return loss_figure(groups, "critic_loss", "critic loss (without penalty)")


def gradient_norm(groups: Grouped) -> Figure:
    """Above ‖∇ₓf‖ where the critic was measured; below the norm of each player's parameter gradient."""
    figure, axes = panels(groups, rows=2)
    points = {"real": BLUE, "generated": RED, "interpolated": GREEN}
    players = {"critic": SKY, "generator": ORANGE}
    for (above, below), runs in zip(axes.T, groups.values(), strict=True):
        for where, color in points.items():
            draw_curves(above, curves_of(runs, f"input_gradient/{where}/mean"), color, where)
        for player, color in players.items():
            draw_curves(below, curves_of(runs, f"{player}_gradient_norm"), color, player)
        above.set_yscale("log")
        below.set_yscale("log")
    axes[0, 0].set_ylabel(r"mean $\|\nabla_x f\|_2$")
    axes[1, 0].set_ylabel("parameter gradient norm")
    for row, title in zip(axes, ("at points", "of the"), strict=True):
        legend_beside(row, title)
    return figure


def operator_norm(groups: Grouped) -> Figure:
    """Per layer the operator norm (solid, its proved upper bound) and the reshaped norm (dashed)."""
    figure, axes = panels(groups)
    for ax, runs in zip(axes[0], groups.values(), strict=True):
        for layer, color in zip(layer_names(runs), LAYER_COLORS * 9, strict=False):
            upper = curves_of(runs, f"layers/{layer}/operator/upper")
            draw_curves(ax, upper, color, layer)
            draw_curves(ax, curves_of(runs, f"layers/{layer}/reshaped"), color, style="--")
        ax.set_yscale("log")
    axes[0, 0].set_ylabel("norm of the layer")
    for label, style in (("operator", "-"), ("reshaped", "--")):
        axes[0, 0].plot([], [], style, color="black", label=label)
    legend_beside(axes[0], "layer")
    return figure


def layer_names(runs: list[StoredRun]) -> list[str]:
    """Names of the layers that were measured, in the network's order."""
    names = [name.split("/")[1] for run in runs for name in run.curves if name.startswith("layers/")]
    return list(dict.fromkeys(names))


def samples(groups: Grouped) -> Figure:
    """The last grid of each method's first seed, all from the same kind of fixed noise."""
    figure = Figure(figsize=(3.2 * len(groups), 3.5), layout="constrained")
    for ax, (method, runs) in zip(
        figure.subplots(1, len(groups), squeeze=False)[0], groups.items(), strict=True
    ):
        picture = runs[0].pictures[-1]
        with Image.open(picture) as grid:
            ax.imshow(np.asarray(grid), cmap="gray", interpolation="nearest")
        ax.set_title(f"{METHOD_TITLES[method]}, step {int(picture.stem.partition('-')[2])}")
        ax.set_axis_off()
    return figure


FIGURES: dict[str, Callable[[Grouped], Figure]] = {
    "generator_loss": generator_loss,
    "critic_loss": critic_loss,
    "gradient_norm": gradient_norm,
    "operator_norm": operator_norm,
    "samples": samples,
}


def write_figures(runs: Iterable[StoredRun], folder: Path) -> dict[str, Path]:
    """Draw every figure as SVG, PNG and PDF; the SVG of each by name."""
    groups = by_method(runs)
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    with mpl.rc_context(STYLE):
        for name, draw in FIGURES.items():
            figure = draw(groups)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # the layout just found serves every format
            for kind in FORMATS:
                buffer = io.BytesIO()
                figure.savefig(buffer, format=kind, metadata=_TIMELESS[kind])
                write_atomically(folder / f"{name}.{kind}", buffer.getvalue())
            written[name] = folder / f"{name}.svg"
    return written


# No date inside: the same results give the same bytes.
_TIMELESS: dict[str, dict[str, str | None]] = {
    "svg": {"Date": None},
    "png": {},
    "pdf": {"CreationDate": None},
}
