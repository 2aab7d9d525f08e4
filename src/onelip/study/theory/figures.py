"""One figure an experiment, drawn from its stored numbers alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from onelip.study.figures import BLUE, GREEN, ORANGE, RED, SKY, STYLE, save_figure
from onelip.transport import extend_potential

Result = dict[str, Any]
GREY = "#666666"
LOSS_COLORS = {"minimax": RED, "non-saturating": ORANGE, "wasserstein": BLUE}
LOSS_TITLES = {
    "minimax": "minimax",
    "non-saturating": "non-saturating",
    "wasserstein": "Wasserstein,\n1-Lipschitz critic",
}
RECIPE_COLORS = {"spectral + ReLU": ORANGE, "spectral + MaxMin": SKY, "orthogonal + MaxMin": BLUE}


def disjoint(result: Result) -> Figure:
    """Distances that do not see θ and one that does; the gradients that follow from them."""
    figure = Figure(figsize=(9.6, 6.6), layout="constrained")
    (a, b), (c, d) = figure.subplots(2, 2)
    _divergence_panel(a, result["plane"])
    _distance_panel(b, result["final_gradient"])
    plane = [run for run in result["runs"] if run.get("distance") == 1.0]
    if not plane:
        plane = [run for run in result["runs"] if run["law"] == "plane"]
    _training_panel(c, plane, f"Segments at distance θ = {plane[0]['distance']:g}")
    _training_panel(
        d, [run for run in result["runs"] if run["law"] == "mnist"], "MNIST digits, untrained generator"
    )
    optimal = float(np.mean([law["optimal_gradient"] for law in result["mnist"]]))
    last = result["runs"][0]["curve"]["step"][-1]
    d.plot([1, last], [optimal, optimal], color=GREY, linestyle=":", linewidth=1)
    text = f"optimal potential: {optimal:.2f}"
    d.annotate(text, (last, optimal), (-4, -5), textcoords="offset points", color=GREY, ha="right", va="top")
    return figure


def _divergence_panel(ax: Axes, laws: list[Result]) -> None:
    theta = np.array([law["distance"] for law in laws])
    ax.plot(theta, [law["w1_exact"] for law in laws], "o-", color=BLUE, ms=4)
    js = [law["js"] for law in laws]
    ax.plot(theta[1:], js[1:], "o-", color=RED, ms=4)
    ax.plot(theta[:1], js[:1], "o", color=RED, ms=4)
    ax.plot([0], [js[-1]], "o", mfc="white", color=RED, ms=4)
    end = theta[-1]
    ax.annotate(
        "W₁ = θ", (0.72 * end, 0.72 * end), (-8, 4), textcoords="offset points", color=BLUE, ha="right"
    )
    text = "JS = log 2 = 0.69,\nhowever far"
    ax.annotate(text, (0.62 * end, js[-1]), (0, 5), textcoords="offset points", color=RED)
    ax.text(0.03, 0.93, "KL: infinite for every θ > 0", transform=ax.transAxes, color=GREY, va="top")
    ax.set(xlabel="distance θ of two segments of length 1", ylabel="distance of the laws (JS in nats)")
    ax.set_title("Of the three, only W₁ sees how far apart they are")


def _distance_panel(ax: Axes, finals: list[Result]) -> None:
    finals = [row for row in finals if row["law"] == "plane"]
    theta = sorted({row["distance"] for row in finals})
    for loss, color in LOSS_COLORS.items():
        rows = [row for row in finals if row["loss"] == loss]
        ax.fill_between(theta, [r["low"] for r in rows], [r["high"] for r in rows], color=color, alpha=0.25)
        ax.plot(theta, [row["mean"] for row in rows], "o-", color=color, ms=4)
        _label_end(ax, loss, theta[-1], rows[-1]["mean"])
    ax.set_xscale("log", base=2)
    ax.set_xticks(theta, [f"{t:g}" for t in theta])
    ax.set_xlim(theta[0] / 1.2, theta[-1] * 6)
    ax.set_yscale("log")
    ax.set(xlabel="distance θ", ylabel="‖generator gradient‖ (1 = full)")
    ax.set_title("After training: minimax gives nothing, W₁ gives 1")


def _training_panel(ax: Axes, runs: list[Result], title: str) -> None:
    steps = np.array(runs[0]["curve"]["step"][1:])
    for loss, color in LOSS_COLORS.items():
        curves = [run["curve"] for run in runs if run["loss"] == loss]
        values = np.array([curve["gradient"][1:] for curve in curves])
        ax.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.25, linewidth=0)
        ax.plot(steps, values.mean(0), color=color)
        _label_end(ax, loss, float(steps[-1]), float(values.mean(0)[-1]))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(1, steps[-1] * 18)
    ax.set_xticks([t for t in (1, 10, 100, 1000) if t <= steps[-1]])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="training steps of the discriminator or critic", ylabel="‖generator gradient‖ (1 = full)")
    ax.set_title(title)


def _label_end(ax: Axes, loss: str, x: float, y: float) -> None:
    """At the end of its curve; non-saturating above and Wasserstein below, for these may lie close."""
    va = {"non-saturating": "bottom", "wasserstein": "top"}.get(loss, "center")
    up = {"bottom": -2, "top": 2}.get(va, 0)
    ax.annotate(
        LOSS_TITLES[loss], (x, y), (7, up), textcoords="offset points", color=LOSS_COLORS[loss], va=va
    )


def duality(result: Result) -> Figure:
    """A plan over its potential: the same number twice; and how much of it critics find."""
    figure = Figure(figsize=(10.8, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _plan_panel(figure, left, result["drawing"])
    _shortfall_panel(right, result["pairs"])
    return figure


def _plan_panel(figure: Figure, ax: Axes, drawing: Result) -> None:
    x, y = np.array(drawing["x"]), np.array(drawing["y"])
    both = np.concatenate([x, y])
    low, high = both.min() - 0.4, both.max() + 0.4
    line = torch.linspace(low, high, 160, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    f = extend_potential(
        grid, torch.tensor(drawing["y"]).double(), torch.tensor(drawing["potential_y"]).double()
    )
    levels = ax.contourf(line, line, f.reshape(160, 160).T, levels=14, cmap="Greys", alpha=0.55)
    for i, j in zip(drawing["rows"], drawing["columns"], strict=True):
        ax.plot(*zip(x[i], y[j], strict=True), color=GREEN, linewidth=1.2)
    ax.plot(*x.T, "o", color=RED, ms=4, label="P: ring of 8")
    ax.plot(*y.T, "s", color=BLUE, ms=4, label="Q: Gaussian")
    ax.plot([], [], color=GREEN, label="cheapest plan (primal)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, -0.26), ncols=3, columnspacing=1, handlelength=1.2)
    ax.set_aspect("equal")
    ax.grid(False)
    costs = f"{len(x)} points of each law: W₁ = {drawing['w1']:.3f}, gap {_magnitude(drawing['gap'])}"
    ax.set_title(f"Plan and potential cost the same.\n{costs}")
    figure.colorbar(levels, ax=ax, label="optimal potential (dual), slope ≤ 1", shrink=0.9)


def _shortfall_panel(ax: Axes, pairs: Result) -> None:
    for row, pair in enumerate(pairs.values()):
        for i, (recipe, short) in enumerate(pair["shortfall_percent"].items()):
            low, mean, high = (100 - short[end] for end in ("high", "mean", "low"))
            color, height = RECIPE_COLORS[recipe], row + 0.22 * (i - 1)
            ax.plot([low, high], [height, height], color=color, linewidth=2)
            ax.plot(mean, height, "o", color=color, ms=5, label=recipe if row == 0 else None)
            at = (low, height)
            ax.annotate(
                f"{mean:.1f} %", at, (-6, 0), textcoords="offset points", color=color, ha="right", va="center"
            )
    ax.axvline(100, color="black", linewidth=1.2)
    names = [f"{name}\n{p['solver']}, gap/W₁ {_magnitude(p['relative_gap'])}" for name, p in pairs.items()]
    ax.set_yticks(range(len(pairs)), names)
    ax.set_ylim(len(pairs) - 0.5, -0.5)
    ax.set_xlim(0, 104)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("lower bound of W₁ that a trained, certified critic gives, %")
    ax.legend(loc="upper center", bbox_to_anchor=(0.3, -0.14), ncols=3, handletextpad=0.1, columnspacing=1)
    ax.set_title("Primal = dual = 100 %; a trained critic falls short")


def _magnitude(gap: float) -> str:
    """The power of ten that it stays below.

    >>> _magnitude(2e-16), _magnitude(0.0)
    ('< 1e-15', '0')
    """
    return "0" if gap == 0 else f"< 1e{math.floor(math.log10(abs(gap))) + 1}"


def product(result: Result) -> Figure:
    """Witness, certificate and product against depth: free networks drift apart, constrained ones do not."""
    families = list(dict.fromkeys(row["family"] for row in result["summary"]))
    columns = min(4, len(families))
    rows = math.ceil(len(families) / columns)
    figure = Figure(figsize=(2.8 * columns, 2.7 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for ax, family in zip(axes, families, strict=False):
        _depth_panel(ax, [row for row in result["summary"] if row["family"] == family])
        ax.set_title(family, fontsize=9)
    for ax in axes[len(families) :]:
        ax.set_axis_off()
    for ax in axes[::columns]:
        ax.set_ylabel("Lipschitz constant (ℓ₂)")
    figure.supxlabel("hidden layers", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    band = Patch(color=GREY, alpha=0.2)
    figure.legend(
        [*handles, band], [*labels, "the true constant lies here"], loc="outside upper center", ncols=4
    )
    return figure


CONSTANT_LOOKS = {
    "product": ("product of norms", RED, "s"),
    "certificate": ("certificate (proved)", BLUE, "o"),
    "witness": ("witnessed (a pair of inputs)", GREEN, "^"),
}


def _depth_panel(ax: Axes, rows: list[Result]) -> None:
    depth = [row["depth"] for row in rows]
    ends = {
        key: np.array([[row[key][end] for row in rows] for end in ("mean", "low", "high")])
        for key in CONSTANT_LOOKS
    }
    ax.fill_between(depth, ends["witness"][0], ends["certificate"][0], color=GREY, alpha=0.15, linewidth=0)
    for key, (label, color, marker) in CONSTANT_LOOKS.items():
        mean, low, high = ends[key]
        ax.fill_between(depth, low, high, color=color, alpha=0.25, linewidth=0)
        ax.plot(depth, mean, marker=marker, color=color, ms=4, label=label)
    ax.set_xscale("log", base=2)
    ax.set_xticks(depth, [str(d) for d in depth])
    ax.set_yscale("log")
    ratio = rows[-1]["product_over_witness"]["mean"]
    text = f"{depth[-1]} layers: product\n= {ratio:,.{0 if ratio > 10 else 2}f} × witnessed"
    ax.text(0.04, 0.95, text, transform=ax.transAxes, va="top", fontsize=8)


def power(result: Result) -> Figure:
    """Iterations that a random start needs; the error of a warm start while the weight moves."""
    figure = Figure(figsize=(10.6, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _random_start_panel(left, result["random_start"])
    _warm_start_panel(right, result["warm_start"])
    return figure


def _random_start_panel(ax: Axes, cases: Result) -> None:
    for row, case in enumerate(cases.values()):
        needed, limit = case["to_one_percent"], case["iterations"][-1]
        median, most = (limit if needed[key] is None else needed[key] for key in ("median", "most"))
        ax.plot([median, most], [row, row], color=BLUE, linewidth=1.5)
        ax.plot(median, row, "o", color=BLUE, ms=6)
        ax.plot(most, row, ">" if needed["most"] is None else "|", color=BLUE, ms=8, mew=1.5)
        text = f"> {limit}" if needed["median"] is None else f"{median}"
        ax.annotate(text, (median, row), (0, 5), textcoords="offset points", ha="center", fontsize=7.5)
    ax.axvspan(0.8, 3.4, color=GREEN, alpha=0.15, linewidth=0)
    ax.text(1.65, len(cases) - 0.35, "1 to 3", color=GREEN, ha="center", va="center")
    ax.set_xscale("log")
    ax.set_xticks([1, 2, 3, 5, 10, 20, 50, 100], ["1", "2", "3", "5", "10", "20", "50", "100"])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(0.8, 150)
    _rows(ax, [name.replace("MNIST critic, ", "MNIST ") for name in cases])
    ax.set_xlabel("iterations until σ is within 1 % (dot: median start, bar: worst)")
    ax.set_title("From a random start, 1 to 3 are rarely enough")


def _warm_start_panel(ax: Axes, cases: Result) -> None:
    floor = 1e-6
    shades = {"1": (RED, 8), "3": (ORANGE, 6), "10": (BLUE, 3.5)}
    for row, case in enumerate(cases.values()):
        shown = [k for k in shades if k in case["worst"]]
        values = [max(case["worst"][k], floor) for k in shown]
        ax.plot([min(values), max(values)], [row, row], color=GREY, linewidth=0.8, zorder=1)
        for k, value in zip(shown, values, strict=True):
            color, size = shades[k]
            ax.plot(value, row, "o", color=color, ms=size, label=f"{k} a step" if row == 0 else None)
    ax.axvline(0.01, color="black", linewidth=1)
    ax.text(0.0093, len(cases) - 0.4, "1 %", ha="right", va="center")
    ax.set_xscale("log")
    ax.set_xlim(floor / 1.6, 1)
    ticks = {floor: "≤ 0.0001 %", 1e-4: "0.01 %", 1e-3: "0.1 %", 1e-2: "1 %", 1e-1: "10 %"}
    ax.set_xticks(list(ticks), list(ticks.values()))
    ax.tick_params(axis="x", labelsize=7.5)
    names = [n.replace(": matrix", "").replace("MNIST critic, ", "").replace(": ", ": MNIST ") for n in cases]
    _rows(ax, names)
    ax.set_xlabel("largest measured error of σ on the way; iterations:")
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.12), ncols=3, handletextpad=0.1)
    ax.set_title("Warm start while the weight moves")


def _rows(ax: Axes, names: list[str]) -> None:
    ax.set_yticks(range(len(names)), names, fontsize=7.5)
    ax.set_ylim(len(names), -0.8)


FIGURES: dict[str, Callable[[Result], Figure]] = {
    "disjoint": disjoint,
    "duality": duality,
    "product": product,
    "power": power,
}


def write_figure(name: str, result: Result, folder: Path) -> None:
    """Draw the experiment `name` as FOLDER/NAME.svg and .png; the same result gives the same bytes."""
    with mpl.rc_context(STYLE):
        figure = FIGURES[name](result)
        # Wide enough for text whose width differs a little from format to format.
        figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.06)
        save_figure(figure, folder, name, ("svg", "png"))
