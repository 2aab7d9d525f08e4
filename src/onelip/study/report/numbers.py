"""What the page's script draws, as plain values: curves thinned and rounded, pictures embedded."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from onelip.study.figures import LAYER_COLORS, METHOD_COLORS, METHOD_TITLES, SMOOTHING_SHARE, layer_names
from onelip.study.presets import PRESETS
from onelip.study.rounding import Bound, rounded
from onelip.study.runs import Curve, StoredRun
from onelip.study.store import DIGITS, WINDOWS, drawn_steps, strip_rows, thinned

VALUES = 150_000  # of all curves together, about, so that the page stays a few megabytes
MOST_POINTS = 1_000  # of one curve
PICTURES = 10  # of one run over its training
PICTURE_BYTES = 2_000_000  # of all pictures together, about
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

# metric: title; whether it scales with the critic's Lipschitz constant; whether its axis is logarithmic
METRICS: dict[str, tuple[str, bool, bool]] = {
    "generator_loss": ("Generator loss", True, False),
    "critic_loss": ("Critic loss, without penalty", True, False),
    "w1_estimate": ("Ŵ₁, the critic's estimate", True, False),
    "evaluation/frechet_distance": ("Fréchet distance", False, True),
    "evaluation/precision": ("Precision", False, False),
    "evaluation/recall": ("Recall", False, False),
    "evaluation/classifier_score": ("Classifier score", False, False),
    "evaluation/histogram_distance": ("Class histogram distance", False, False),
    "evaluation/modes": ("Modes found", False, False),
    "evaluation/share": ("Share within 3σ of a mode", False, False),
    "evaluation/kl": ("KL(modes ‖ uniform)", False, False),
    "input_gradient/real/mean": ("Mean ‖∇ₓf‖ at real samples", False, True),
    "input_gradient/generated/mean": ("Mean ‖∇ₓf‖ at generated samples", False, True),
    "input_gradient/interpolated/mean": ("Mean ‖∇ₓf‖ between samples", False, True),
    "critic_gradient_norm": ("Norm of the critic's parameter gradient", True, True),
    "generator_gradient_norm": ("Norm of the generator's parameter gradient", True, True),
    "scores/train/mean": ("Mean score f of training samples", True, False),
    "scores/test/mean": ("Mean score f of test samples", True, False),
    "scores/generated/mean": ("Mean score f of generated samples", True, False),
    "certificate/at_boundary": ("Share of clipped weights on ±c", False, False),
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
            {"key": key, "title": title, "ownScale": own, "log": log}
            for key, (title, own, log) in METRICS.items()
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
