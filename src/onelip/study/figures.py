"""The figures of a comparison: one panel a method, raw curves faint, smoothed on top, seeds as a band."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from PIL import Image

from onelip.files import write_atomically
from onelip.study.runs import Curve, StoredRun
from onelip.study.store import drawn_steps

MARKED_POINTS = 20  # curves of fewer points show where they were measured
NARROW = 30.0  # a logarithmic axis with less between its ends has no two powers of ten to label
MOST_ABREAST = 4  # panels in a row: more are illegible on a page
SMOOTHING_SHARE = 0.05  # window of the running mean, as a share of the curve

# Okabe & Ito's palette: distinguishable with every common colour-vision deficiency.
BLUE, ORANGE, GREEN, PURPLE, RED, SKY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"
METHOD_COLORS = {
    "none": "#666666",
    "clip": ORANGE,
    "gp": GREEN,
    "sn": BLUE,
    "sn-operator": PURPLE,
    "orthogonal": SKY,
    "r1r2": RED,
}
METHOD_TITLES = {
    "none": "no constraint",
    "clip": "weight clipping",
    "gp": "gradient penalty",
    "sn": "spectral normalization",
    "sn-operator": "spectral normalization (operator)",
    "orthogonal": "orthogonal, MaxMin",
    "r1r2": "relativistic, R1 + R2",
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
    """Runs that recorded something, grouped by method in the order of METHOD_COLORS.

    Of a method's runs those of the setting that bears its name: other settings are other groups' subject.
    """
    runs = [run for run in runs if run.curves]
    return {method: group for method in METHOD_COLORS if (group := [r for r in runs if r.setting == method])}


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
    """One seed: raw faint, smoothed on top. Several: the mean of the smoothed, and their range as a band.

    Up to the end of the shortest run, at its steps: others may have been measured at other ones.
    """
    steps = min(curves, key=lambda curve: curve.steps[-1]).steps
    stack = np.stack([np.interp(steps, curve.steps, smooth(curve.values)) for curve in curves])
    for curve in curves:
        axes.plot(curve.steps, curve.values, color=color, alpha=0.18, linewidth=0.6, zorder=1)
    if len(curves) > 1:
        axes.fill_between(steps, stack.min(0), stack.max(0), color=color, alpha=0.25, linewidth=0)
    marker = "o" if len(steps) <= MARKED_POINTS else None
    axes.plot(
        steps, stack.mean(0), style, color=color, linewidth=1.6, label=label, marker=marker, ms=3, zorder=2
    )


def curves_of(runs: list[StoredRun], metric: str) -> list[Curve]:
    return [run.curves[metric] for run in runs if metric in run.curves]


def panels(groups: Grouped, rows: int = 1, height: float = 2.6) -> tuple[Figure, np.ndarray]:
    """An empty figure with a column of panels for each method, at most MOST_ABREAST side by side."""
    bands = -(-len(groups) // MOST_ABREAST)
    abreast = -(-len(groups) // bands)
    figure = Figure(figsize=(3.2 * abreast, height * rows * bands), layout="constrained")
    grid = figure.subplots(rows * bands, abreast, squeeze=False)
    columns = np.concatenate(np.split(grid, bands), axis=1).T
    for column, method in zip(columns, groups, strict=False):
        column[0].set_title(METHOD_TITLES[method])
        column[-1].set_xlabel("generator step")
    for axes in columns[len(groups) :].flat:
        axes.remove()
    return figure, columns[: len(groups)].T


def legend_beside(row: np.ndarray, title: str) -> None:
    """The first panel's labels to the right of the last one, where no curve can run through them."""
    last, (handles, labels) = row[-1], row[0].get_legend_handles_labels()
    legend = last.legend(handles, labels, title=title, loc="center left", bbox_to_anchor=(1.02, 0.5))
    legend.set_in_layout(last.get_subplotspec().is_last_col())  # else an empty panel's place is there


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
    return loss_figure(groups, "critic_loss", "critic loss,\nwithout penalty")


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
        logarithmic(above)
        logarithmic(below)
    axes[0, 0].set_ylabel(r"mean $\|\nabla_x f\|_2$")
    axes[1, 0].set_ylabel("parameter gradient norm")
    for row, title in zip(axes, ("at points", "of the"), strict=True):
        legend_beside(row, title)
    return figure


def operator_norm(groups: Grouped) -> Figure:
    """Per layer at rest, σ converged: operator norm (solid, its proved bound), reshaped norm (dashed)."""
    figure, axes = panels(groups)
    for ax, runs in zip(axes[0], groups.values(), strict=True):
        for layer, color in zip(layer_names(runs), LAYER_COLORS * 9, strict=False):
            upper = curves_of(runs, f"layers/{layer}/operator/upper")
            draw_curves(ax, upper, color, layer)
            draw_curves(ax, curves_of(runs, f"layers/{layer}/reshaped"), color, style="--")
        logarithmic(ax)
    axes[0, 0].set_ylabel("norm of the layer at rest")
    for label, style in (("operator", "-"), ("reshaped", "--")):
        axes[0, 0].plot([], [], style, color="black", label=label)
    legend_beside(axes[0], "layer")
    return figure


def layer_names(runs: list[StoredRun]) -> list[str]:
    """Names of the layers that were measured, in the network's order."""
    names = [name.split("/")[1] for run in runs for name in run.curves if name.startswith("layers/")]
    return list(dict.fromkeys(names))


def certified_interval(groups: Grouped) -> Figure:
    """What ‖f‖_Lip is proved to be at most, and witnessed to be at least, while the critic trains."""
    figure, axes = panels(groups)
    for ax, (method, runs) in zip(axes[0], groups.items(), strict=True):
        for bound, style in (("upper", "-"), ("lower", "--")):
            draw_curves(ax, curves_of(runs, f"certificate/{bound}"), METHOD_COLORS[method], style=style)
        logarithmic(ax)
    axes[0, 0].set_ylabel(r"constant $\|f\|_{\mathrm{Lip}}$")
    for label, style in (("proved", "-"), ("witnessed", "--")):
        axes[0, 0].plot([], [], style, color="black", label=label)
    legend_beside(axes[0], "bound")
    return figure


def frechet_distance(groups: Grouped) -> Figure:
    """All methods in one panel: against generator steps, and against the processor's seconds of training."""
    lines = {METHOD_TITLES[method]: (METHOD_COLORS[method], runs) for method, runs in groups.items()}
    return distance_curves(lines, "critic held by")


def distance_curves(lines: dict[str, tuple[str, list[StoredRun]]], title: str) -> Figure:
    """Fréchet distance against steps and against seconds, a curve a run; lines: colour and runs by label."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    by_steps, by_seconds = axes = figure.subplots(1, 2, sharey=True)
    for label, (color, runs) in lines.items():
        for run in runs:
            curve = run.curves["evaluation/frechet_distance"]
            said = label if run is runs[0] else None
            for ax, x in ((by_steps, curve.steps), (by_seconds, seconds_at(run, curve.steps))):
                ax.plot(x, curve.values, color=color, label=said, marker="o", ms=2, lw=1)
    by_steps.set(xlabel="generator step", ylabel="Fréchet distance", yscale="log")
    plain_ticks(by_steps.yaxis)
    by_seconds.set(xlabel="seconds of one core, training alone")
    legend_beside(axes, title)
    return figure


def logarithmic(ax: Axes) -> None:
    """A logarithmic vertical axis, with plain numbers where it spans little; linear below a factor of two."""
    low, high = ax.dataLim.intervaly
    if high < 2 * low:
        return
    ax.set_yscale("log")
    if high < NARROW * low:
        plain_ticks(ax.yaxis)


def plain_ticks(axis: Axis) -> None:
    """On a logarithmic axis 2, 5 and 10, not 2 × 10⁰."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def seconds_at(run: StoredRun, steps: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """Seconds of the processor that training took up to each of the steps."""
    each, total = run.curves.get("cpu_seconds"), run.curves.get("training_cpu_seconds")
    if total is None:
        assert each is not None, "every step records its seconds"
        total = Curve(each.steps, each.values.cumsum())
    return np.interp(steps, np.append(0, total.steps), np.append(0, total.values))


def samples(groups: Grouped) -> Figure:
    """The newest picture of each method, all from the same kind of fixed noise: a grid, or rows over time."""
    groups = {method: [run for run in runs if run.pictures] for method, runs in groups.items()}
    figure = Figure(figsize=(3.2 * len(groups), 3.5), layout="constrained")
    for ax, (method, runs) in zip(
        figure.subplots(1, len(groups), squeeze=False)[0], groups.items(), strict=True
    ):
        ax.set_title(f"{METHOD_TITLES[method]}, step {drawn_steps(runs[0])[-1]}" if runs else "")
        ax.set_axis_off()
        if runs:
            with Image.open(runs[0].pictures[-1]) as picture:
                ax.imshow(np.asarray(picture), cmap="gray", interpolation="nearest")
    return figure


FIGURES: dict[str, Callable[[Grouped], Figure]] = {
    "generator_loss": generator_loss,
    "critic_loss": critic_loss,
    "frechet_distance": frechet_distance,
    "gradient_norm": gradient_norm,
    "operator_norm": operator_norm,
    "certified_interval": certified_interval,
    "samples": samples,
}
# What a figure shows of each run; a run that lacks it is left out of the figure.
NEEDS = {"frechet_distance": "evaluation/frechet_distance", "certified_interval": "certificate/upper"}


def save_figure(figure: Figure, folder: Path, name: str, formats: Iterable[str]) -> None:
    """FOLDER/NAME in each format, of one layout; the same figure gives the same bytes."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the layout just found serves every format
    for kind in formats:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata=_TIMELESS[kind])
        write_atomically(folder / f"{name}.{kind}", buffer.getvalue())


_TIMELESS: dict[str, dict[str, str | None]] = {
    "svg": {"Date": None},
    "png": {},
    "pdf": {"CreationDate": None},
}
