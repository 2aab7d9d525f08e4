"""What the page's script draws, as plain values: curves thinned and rounded, pictures embedded."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from onelip.rounding import Bound, rounded
from onelip.study.figures import LAYER_COLORS, METHOD_COLORS, METHOD_TITLES, SMOOTHING_SHARE, layer_names
from onelip.study.presets import PRESETS
from onelip.study.runs import Curve, StoredRun
from onelip.study.store import DIGITS, WINDOWS, drawn_steps, strip_rows, thinned

VALUES = 150_000  # of all curves together, about, so that the page stays a few megabytes
MOST_POINTS = 1_000  # of one curve
PICTURES = 10  # of one run over its training
PICTURE_BYTES = 2_000_000  # of all pictures together, about
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


class Plotted(NamedTuple):
    """scaled: whether it grows with the critic's Lipschitz constant. log: whether its axis is logarithmic."""

    title: str
    scaled: bool = False
    log: bool = False


METRICS: dict[str, Plotted] = {
    "generator_loss": Plotted("Generator loss", scaled=True),
    "critic_loss": Plotted("Critic loss, without penalty", scaled=True),
    "w1_estimate": Plotted("Ŵ₁, the critic's estimate", scaled=True),
    "evaluation/frechet_distance": Plotted("Fréchet distance", log=True),
    "evaluation/precision": Plotted("Precision"),
    "evaluation/recall": Plotted("Recall"),
    "evaluation/classifier_score": Plotted("Classifier score"),
    "evaluation/histogram_distance": Plotted("Class histogram distance"),
    "evaluation/modes": Plotted("Modes found"),
    "evaluation/share": Plotted("Share within 3σ of a mode"),
    "evaluation/kl": Plotted("KL(modes ‖ uniform)"),
    "input_gradient/real/mean": Plotted("Mean ‖∇ₓf‖ at real samples", log=True),
    "input_gradient/generated/mean": Plotted("Mean ‖∇ₓf‖ at generated samples", log=True),
    "input_gradient/interpolated/mean": Plotted("Mean ‖∇ₓf‖ between samples", log=True),
    "critic_gradient_norm": Plotted("Norm of the critic's parameter gradient", scaled=True, log=True),
    "generator_gradient_norm": Plotted("Norm of the generator's parameter gradient", scaled=True, log=True),
    "scores/train/mean": Plotted("Mean score f of training samples", scaled=True),
    "scores/test/mean": Plotted("Mean score f of test samples", scaled=True),
    "scores/generated/mean": Plotted("Mean score f of generated samples", scaled=True),
    "certificate/at_boundary": Plotted("Share of clipped weights on ±c"),
}
_CLOCKS = ("training_cpu_seconds", "training_seconds")


def page_data(runs: Sequence[StoredRun]) -> dict[str, Any]:
    """Everything that page.js reads; the first lines of that file say what is what."""
    drawn = [run for run in runs if run.curves]
    each = VALUES // max(1, sum(len(run.curves) for run in drawn))
    points = int(np.clip(each, WINDOWS, MOST_POINTS))
    grids: dict[tuple[int, ...], int] = {}
    curves = {run.name: _curves(run, points, grids) for run in drawn}
    seen = {metric for named in curves.values() for metric in named}
    return {
        "groups": {name: looks(settings, drawn) for name, settings in groups_of(drawn).items()},
        "metrics": [
            {"key": key, "title": metric.title, "ownScale": metric.scaled, "log": metric.log}
            for key, metric in METRICS.items()
            if key in seen
        ],
        "runs": [
            {"name": run.name, "setting": run.setting, "seed": run.config.seed}
            | {"layers": layer_names([run]), "curves": curves[run.name]}
            for run in drawn
        ],
        "steps": list(grids),
        "samples": samples(drawn),
        "smoothing": SMOOTHING_SHARE,
    }


def groups_of(runs: Sequence[StoredRun]) -> dict[str, list[str]]:
    """Settings by the group of the whole study that compares them; one that would add none is left out."""
    present = list(dict.fromkeys(run.setting for run in runs))
    groups: dict[str, list[str]] = {}
    for name, group in PRESETS["paper"].groups.items():
        found = [setting for setting in group.settings if setting in present]
        if not {*found} <= {setting for settings in groups.values() for setting in settings}:
            groups[name] = found
    known = {setting for settings in groups.values() for setting in settings}
    rest = [setting for setting in present if setting not in known]
    return groups | ({"other": rest} if rest else {})


def looks(settings: Sequence[str], runs: Sequence[StoredRun]) -> list[dict[str, str]]:
    """Title, colour and dash of each setting of a group.

    Where methods differ they keep their colours, and a method's further settings are dashed; settings of
    one method share no colour and go by their names.
    """
    method_of = {run.setting: run.config.method for run in runs}
    one_method = len({method_of[setting] for setting in settings}) == 1 < len(settings)
    drawn, found = Counter(), []
    for i, setting in enumerate(settings):
        method = method_of[setting]
        color, dash = METHOD_COLORS[method], drawn[method]
        if one_method:
            color, dash = LAYER_COLORS[i % len(LAYER_COLORS)], i // len(LAYER_COLORS)
        drawn[method] += 1
        title = setting if one_method else METHOD_TITLES.get(setting, setting)
        found.append({"name": setting, "title": title, "color": color, "dash": DASHES[dash % len(DASHES)]})
    return found


def _curves(run: StoredRun, points: int, grids: dict[tuple[int, ...], int]) -> dict[str, list[Any]]:
    """metric: [number of its list of steps, values, deviations or None]."""
    kept = thinned(run.curves, points)
    product = norm_products(kept)
    wanted = {name: kept[name] for name in (*METRICS, *_CLOCKS) if name in kept}
    wanted |= {name: c for name, c in kept.items() if name.startswith(("layers/", "certificate/"))}
    wanted |= {} if product is None else {"product/upper": product}
    return {name: _plain(name, curve, grids) for name, curve in wanted.items()}


def norm_products(curves: dict[str, Curve]) -> Curve | None:
    """Over training, the product of the layers' proved upper bounds; None where they were not measured."""
    uppers = [c for name, c in curves.items() if name.startswith("layers/") and name.endswith("/upper")]
    return Curve(uppers[0].steps, np.prod([c.values for c in uppers], axis=0)) if uppers else None


def _plain(name: str, curve: Curve, grids: dict[tuple[int, ...], int]) -> list[Any]:
    steps = tuple(int(step) for step in curve.steps)
    last = name.rpartition("/")[2]
    bound: Bound = last if last in ("lower", "upper") else ""
    values = [rounded(value, DIGITS, bound) for value in curve.values]
    deviations = (
        None if curve.deviations is None else [rounded(value, DIGITS - 2) for value in curve.deviations]
    )
    return [grids.setdefault(steps, len(grids)), values, deviations]


def samples(runs: Sequence[StoredRun]) -> dict[str, dict[str, Any]]:
    """By setting, of its first run that has pictures: the run's name, and [step, data URI] over training."""
    shots: dict[str, tuple[str, list[tuple[int, bytes]]]] = {}
    for run in sorted(runs, key=lambda run: run.config.seed):
        if run.setting not in shots and (found := _shots(run)):
            shots[run.setting] = (run.name, found)
    size = sum(len(found[-1][1]) for _, found in shots.values())
    count = int(np.clip(PICTURE_BYTES // max(1, size), 1, PICTURES))
    return {
        setting: {"run": name, "shots": [[step, _uri(picture)] for step, picture in _some(found, count)]}
        for setting, (name, found) in shots.items()
    }


def _shots(run: StoredRun) -> list[tuple[int, bytes]]:
    """The run's pictures with their steps: its own, or the rows of the one that a store keeps of seed 0."""
    if all(path.stem.startswith("step-") for path in run.pictures):
        return [(step, path.read_bytes()) for step, path in zip(drawn_steps(run), run.pictures, strict=True)]
    return strip_rows(run) if run.config.seed == 0 else []


def _some(shots: list[tuple[int, bytes]], count: int) -> list[tuple[int, bytes]]:
    """The last one, and others evenly before it."""
    return [shots[i] for i in np.unique(np.linspace(len(shots) - 1, 0, count).round().astype(int))]


def _uri(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()
