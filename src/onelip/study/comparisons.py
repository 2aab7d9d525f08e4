"""Figures that compare settings: optimizers and knobs, sizes of network and batch, mixtures in the plane."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from onelip.data.names import PLANAR
from onelip.study.figures import (
    LAYER_COLORS,
    METHOD_COLORS,
    METHOD_TITLES,
    distance_curves,
    legend_beside,
    plain_ticks,
)
from onelip.study.plane import Plane, centres, read_plane
from onelip.study.presets import MIYATO, PRESETS
from onelip.study.runs import StoredRun

PAPER = PRESETS["paper"].groups
FRECHET = "final/frechet_distance"
KNOBS = {
    "clip": ("clip", "c of weight clipping"),
    "penalty": ("penalty", "λ of the gradient penalty"),
    "target": ("target", "target of SN"),
    "iterations": ("power_iterations", "power iterations of SN"),
}
COST_BATCH = 64
CPU_SECONDS = "cpu_seconds_per_generator_step"
LEVELS = 12  # of the critic, in the plane
Settings = dict[str, list[StoredRun]]


def by_setting(runs: list[StoredRun]) -> Settings:
    """Runs that ended, by setting."""
    found: Settings = {}
    for run in runs:
        if run.result is not None:
            found.setdefault(run.setting, []).append(run)
    return found


def distances(runs: list[StoredRun]) -> list[float]:
    """Final Fréchet distance of each run; infinite where it diverged."""
    return [run.summary["last"].get(FRECHET, math.inf) for run in runs]


def sensitivity(runs: list[StoredRun]) -> Figure | None:
    """Median final Fréchet distance of each method under each optimizer's setting; darker is worse."""
    found = by_setting(runs)
    methods = [m for m in METHOD_COLORS if any(f"{letter}-{m}" in found for letter in MIYATO)]
    if not methods:
        return None
    table = np.array([[_median(found.get(f"{x}-{m}", [])) for x in MIYATO] for m in methods])
    shown = np.log10(np.where(np.isfinite(table), table, np.nan))
    figure = Figure(figsize=(7, 0.55 * len(methods) + 1.1), layout="constrained")
    ax = figure.subplots()
    ax.grid(visible=False)
    image = ax.imshow(shown, cmap="cividis_r", aspect="auto")
    low, high = image.get_clim()
    for (row, column), value in np.ndenumerate(table):
        dark = np.isfinite(value) and np.log10(value) > (low + high) / 2
        ax.text(column, row, _cell(value), ha="center", va="center", color="white" if dark else "black")
    ax.set_xticks(range(len(MIYATO)), [_setting_title(x) for x in MIYATO], fontsize=7)
    ax.set_yticks(range(len(methods)), [METHOD_TITLES[m] for m in methods])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=ax, label="Fréchet distance")
    ticks = np.linspace(*bar.mappable.get_clim(), 4).tolist()
    bar.set_ticks(ticks, labels=[f"{10**t:.3g}" for t in ticks])
    return figure


def _median(runs: list[StoredRun]) -> float:
    return float(np.median(distances(runs))) if runs else math.nan


def _cell(value: float) -> str:
    return "not run" if math.isnan(value) else "diverged" if math.isinf(value) else f"{value:.3g}"


def _setting_title(letter: str) -> str:
    fields = MIYATO[letter]
    betas = f"{fields['beta1']:g}, {fields['beta2']:g}"
    return f"{letter}\n{fields['critic_lr']:g}\n({betas})\n{fields['critic_steps']} : 1"


def losses(runs: list[StoredRun]) -> Figure | None:
    """Fréchet distance over the training of SN's losses and schedules, and of the baseline's."""
    found = by_setting([run for run in runs if "evaluation/frechet_distance" in run.curves])
    settings = [s for group in ("losses", "baseline") for s in PAPER[group].settings if s in found]
    if not any(setting not in METHOD_COLORS for setting in settings):
        return None
    colors = (*LAYER_COLORS, "#666666", "black")
    return distance_curves(
        {s: (color, found[s]) for s, color in zip(settings, colors, strict=False)}, "setting"
    )


def knobs(runs: list[StoredRun]) -> Figure | None:
    """Final Fréchet distance against each method's own knob: every seed, and the line of the medians.

    None without a finite distance, for which a logarithmic axis has no place.
    """
    found = by_setting(runs)
    groups = {g: [s for s in PAPER[g].settings if s in found] for g in KNOBS}
    groups = {group: settings for group, settings in groups.items() if len(settings) > 1}
    shown = [run for settings in groups.values() for setting in settings for run in found[setting]]
    if not any(map(math.isfinite, distances(shown))):
        return None
    width = max(2.6 * len(groups), 6.0)  # one panel and the legend beside it
    figure = Figure(figsize=(width, 2.6), layout="constrained")
    axes = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for ax, (group, settings) in zip(axes, groups.items(), strict=True):
        field, title = KNOBS[group]
        lines: dict[str, dict[float, list[float]]] = {}
        for setting in settings:
            config = found[setting][0].config
            lines.setdefault(config.method, {})[float(getattr(config, field))] = distances(found[setting])
        for method, points in lines.items():
            _knob(ax, dict(sorted(points.items())), method)
        ax.set(xscale="log", yscale="log", xlabel=title)
        ax.set_xticks(sorted({x for points in lines.values() for x in points}))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.minorticks_off()
    plain_ticks(axes[0].yaxis)
    axes[0].set_ylabel("Fréchet distance")
    if len(groups) > 1 or "iterations" in groups:
        _method_legend(axes[-1], axes)
    return figure


def _knob(ax: Axes, points: dict[float, list[float]], method: str) -> None:
    medians = [float(np.median(values)) for values in points.values()]
    ax.plot(list(points), medians, "-", color=METHOD_COLORS[method], label=METHOD_TITLES[method])
    for x, values in points.items():
        ax.plot([x] * len(values), values, "o", ms=3, alpha=0.6, color=METHOD_COLORS[method])
        for _ in filter(math.isinf, values):  # what diverged stands at the upper edge
            ax.plot(x, 0.97, "x", color=METHOD_COLORS[method], transform=ax.get_xaxis_transform())


def _method_legend(ax: Axes, axes: np.ndarray) -> None:
    handles = {label: h for a in axes for h, label in zip(*a.get_legend_handles_labels(), strict=True)}
    ax.legend(handles.values(), handles, loc="center left", bbox_to_anchor=(1.02, 0.5))


def cost(runs: list[StoredRun]) -> Figure | None:
    """Processor time of a generator step over that without constraint, against width; MLP, convolutional."""
    found = {s: r for s, r in by_setting(runs).items() if s in PAPER["cost"].settings}
    titles = {"mnist": "convolutional", "ring": "MLP"}
    ratios = {data: _cost_ratios(found, data) for data in titles}
    if not all(ratios.values()):
        return None
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.subplots(1, len(titles), sharey=True)
    for ax, (data, lines) in zip(axes, ratios.items(), strict=True):
        for method, points in lines.items():
            color, label = METHOD_COLORS[method], METHOD_TITLES[method]
            ax.plot(list(points), list(points.values()), "-o", ms=3, color=color, label=label)
        widths = sorted({width for points in lines.values() for width in points})
        ax.set(xscale="log", yscale="log", xlabel="width", title=f"{titles[data]}, batch {COST_BATCH}")
        ax.set_xticks(widths, [str(w) for w in widths])
        ax.minorticks_off()
        plain_ticks(ax.yaxis)
    axes[0].set_ylabel("processor time a step,\nwithout constraint = 1")
    legend_beside(axes, "critic held by")
    return figure


def _cost_ratios(found: Settings, data: str) -> dict[str, dict[int, float]]:
    """{method: {width: ratio}} at one batch size, of the medians over seeds."""
    seconds: dict[str, dict[int, float]] = {}
    for runs in found.values():
        config = runs[0].config
        if config.data == data and config.batch == COST_BATCH:
            # A run that diverged at its first step recorded no time.
            times = [run.summary[CPU_SECONDS] for run in runs if CPU_SECONDS in run.summary]
            if times:
                seconds.setdefault(config.method, {})[config.width] = float(np.median(times))
    base = seconds.get("none", {})
    return {
        m: {width: seconds[m][width] / base[width] for width in sorted(base) if width in seconds[m]}
        for m in METHOD_COLORS
        if base.keys() & seconds.get(m, {}).keys()
    }


def plane(runs: list[StoredRun], store: Path) -> Figure | None:
    """A row a mixture, a column a method: generated points over the critic's level lines; seed 0."""
    found: dict[str, dict[str, Plane]] = {}
    for run in runs:
        if run.config.data in PLANAR and run.config.seed == 0:
            picture = read_plane(store, run.setting)
            if picture is not None and run.setting in PAPER[run.config.data].settings:
                found.setdefault(run.config.data, {})[run.config.method] = picture
    if not found:
        return None
    methods = [m for m in METHOD_COLORS if any(m in pictures for pictures in found.values())]
    figure = Figure(figsize=(2.1 * len(methods), 2.3 * len(found)), layout="constrained")
    axes = figure.subplots(len(found), len(methods), squeeze=False)
    for row, (data, pictures) in zip(axes, found.items(), strict=True):
        for ax, method in zip(row, methods, strict=True):
            ax.set_axis_off()
            if method in pictures:
                _landscape(ax, pictures[method], data, METHOD_COLORS[method])
    for ax, method in zip(axes[0], methods, strict=True):
        ax.set_title(METHOD_TITLES[method], fontsize=8)
    return figure


def _landscape(ax: Axes, picture: Plane, data: str, color: str) -> None:
    ax.contour(picture.axis, picture.axis, picture.values, LEVELS, cmap="Greys", linewidths=0.6, alpha=0.7)
    ax.scatter(*centres(data).numpy().T, marker="+", s=30, color="black", linewidth=0.7)
    ax.scatter(*picture.points.T, s=4, color=color, alpha=0.5, linewidth=0, zorder=2)
    reach = picture.axis[-1]
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
