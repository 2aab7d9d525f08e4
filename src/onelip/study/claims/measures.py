"""The numbers that claims read off one run.

Losses and gradients of critics with different Lipschitz constants have different units; here they are divided
by the critic's own constant, `upper` (proved) or `lower` (witnessed), interpolated between certificates to
the step where they were measured. A certificate is of the critic after a step, a loss from before its last
update in it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from onelip.study.claims.evidence import Evidence, Measure, is_finished
from onelip.study.claims.statistics import PerSeed
from onelip.study.runs import StoredRun

BOUND_WORDS = {"upper": "proved", "lower": "witnessed"}
SHARE = 0.1  # of the training, at its start and at its end
PLAYERS = ("generator", "critic")
FAILED_FACTOR = 2.0
COLLAPSED = 0.5


def last(name: str) -> Measure:
    """A number measured after the last step; NaN where a run has none."""
    return lambda run: run.summary["last"].get(name, math.nan)


def frechet(evidence: Evidence, settings: tuple[str, ...]) -> dict[str, PerSeed]:
    """Final Fréchet distance of each run of each setting; a diverged run counts as the worst of all."""
    name = "final/frechet_distance"
    found = {setting: evidence.of(setting, last(name)) for setting in settings}
    worst = max((value for values in found.values() for value in values.values()), default=math.nan)
    for setting in settings:
        for run in evidence.all_of(setting):
            found[setting].setdefault(run.config.seed, worst)
    return found


def failures(evidence: Evidence, setting: str) -> PerSeed:
    """1 where a seed diverged, ended above twice the seeds' median distance, or lost half of the classes."""
    distances = evidence.of(setting, last("final/frechet_distance"))
    limit = FAILED_FACTOR * float(np.median(list(distances.values()))) if distances else 0.0

    def failed(run: StoredRun) -> float:
        if not is_finished(run) or distances[run.config.seed] > limit:
            return 1.0
        return float(last("final/histogram_distance")(run) > COLLAPSED)

    return evidence.of(setting, failed, finished=False)


def seconds(run: StoredRun) -> float:
    """Of training a generator step: of the processor, since cores are shared; of the clock on a GPU."""
    return run.summary[f"{_clock(run)}seconds_per_generator_step"]


def total_seconds(run: StoredRun) -> float:
    return run.summary[f"training_{_clock(run)}seconds"]


def _clock(run: StoredRun) -> str:
    return "" if any(_accelerator(run, start["machine"]) for start in run.summary["starts"]) else "cpu_"


def machine(run: StoredRun) -> frozenset[str]:
    """Processors, and accelerators where they were used, that the run was trained on."""
    used = [start["machine"] for start in run.summary["starts"]]
    return frozenset(f"{m['processor']}, {_accelerator(run, m) or 'no accelerator'}" for m in used)


def _accelerator(run: StoredRun, machine: dict[str, Any]) -> str | None:
    """What the run used of a machine: a processor that has one beside it may train alone."""
    return None if run.config.device == "cpu" else machine["accelerator"]


def at_seconds(name: str, budget: float) -> Measure:
    """A metric's curve at `budget` seconds of training; NaN before the first measurement, after the last."""

    def measure(run: StoredRun) -> float:
        curve, clock = run.curves[name], run.curves[f"training_{_clock(run)}seconds"]
        when = np.interp(curve.steps, np.r_[0.0, clock.steps], np.r_[0.0, clock.values])
        # Sums are stored to five digits: the end of the slowest clock is the budget up to that.
        budget_here = min(budget, float(when[-1])) if budget <= when[-1] * (1 + 1e-3) else math.nan
        return float(np.interp(budget_here, when, curve.values, left=math.nan))

    return measure


def clocks(evidence: Evidence, settings: tuple[str, ...]) -> dict[str, float]:
    """Time of a generator step of each setting that finished, over the mean of those that always did.

    Paired by seed, for a machine may have trained one and another the next; the median over seeds, for load
    on a machine stretches single runs, in seconds of the processor too.
    """
    times = {name: evidence.of(name, seconds) for name in settings}
    seeds = {seed for found in times.values() for seed in found}
    always = [found for found in times.values() if found.keys() == seeds]
    pace = {seed: float(np.exp(np.mean([np.log(t[seed]) for t in always] or [0.0]))) for seed in seeds}
    return {
        name: float(np.median([time / pace[seed] for seed, time in found.items()]))
        for name, found in times.items()
        if found
    }


def at_step(name: str, step: float) -> Measure:
    """A metric's curve at a step, between two measurements interpolated; NaN before the first."""
    return lambda run: float(np.interp(step, run.curves[name].steps, run.curves[name].values, left=math.nan))


def constant(run: StoredRun, bound: str, steps: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """The critic's constant at these steps, interpolated between certificates."""
    curve = run.curves[f"certificate/{bound}"]
    return np.interp(steps, curve.steps, curve.values)


def largest(bound: str) -> Measure:
    """Of the critic's constant over all certificates; NaN where a run diverged before the first."""
    name = f"certificate/{bound}"
    return lambda run: float(run.curves[name].values.max()) if name in run.curves else math.nan


def deviation(name: str, bound: str, local: bool = False) -> Measure:
    """Standard deviation of a curve over the critic's constant, from the first certificate on.

    Of window means and within windows together; local: within windows alone.
    """

    def measure(run: StoredRun) -> float:
        curve = run.curves[name]
        known = curve.steps >= run.curves[f"certificate/{bound}"].steps[0]
        within = np.zeros(len(curve.steps)) if curve.deviations is None else curve.deviations
        scale = constant(run, bound, curve.steps[known])
        with np.errstate(divide="ignore", invalid="ignore"):
            means, within = curve.values[known] / scale, within[known] / scale
            return float(np.sqrt((0 if local else means.var()) + (within**2).mean()))

    return measure


def trend(name: str) -> Measure:
    """Spearman's rank correlation of a metric with the step: −1 where it falls at every measurement."""

    def measure(run: StoredRun) -> float:
        curve = run.curves[name]
        if len(set(curve.values.tolist())) < 2:
            return math.nan
        from scipy.stats import rankdata  # a second that a report without verdicts does not pay

        ranks = [rankdata(values) for values in (curve.steps, curve.values)]
        return float(np.corrcoef(*ranks)[0, 1])

    return measure


def setbacks(name: str) -> Measure:
    """Sum of the rises of a positive metric's logarithm from one measurement to the next."""
    return lambda run: float(np.diff(np.log(run.curves[name].values)).clip(min=0).sum())


def explosive_share(run: StoredRun) -> float:
    """Share of steps above 10 medians, of the player with the larger share."""
    return max(run.summary["spread"][f"{p}_gradient_norm"]["share_above_10_medians"] for p in PLAYERS)


def median_gradient(run: StoredRun) -> float:
    """The median gradient norm over the steps, of the player for which it is larger."""
    return max(run.summary["spread"][f"{p}_gradient_norm"]["median"] for p in PLAYERS)


def late_rise(run: StoredRun) -> float:
    """The largest window mean of the gradient norm after the first tenth, in medians; the larger player's."""
    found = []
    for player in PLAYERS:
        values = run.curves[f"{player}_gradient_norm"].values
        median = run.summary["spread"][f"{player}_gradient_norm"]["median"]
        found.append(_over(float(values[_tenth(values) :].max()), median))
    return max(found)


def growth(run: StoredRun) -> float:
    """Mean gradient norm over the last tenth of the training over that of the first; the larger player's."""
    found = []
    for values in (run.curves[f"{player}_gradient_norm"].values for player in PLAYERS):
        first, last = values[: _tenth(values)].mean(), values[-_tenth(values) :].mean()
        found.append(_over(float(last), float(first)))
    return max(found)


def _over(a: float, b: float) -> float:
    """a/b of norms: out of nothing infinite, so that it counts as growth; nothing out of nothing is 0."""
    return a / b if b > 0 else math.inf if a > 0 else 0.0


def _tenth(values: Float[np.ndarray, " windows"]) -> int:
    return max(1, round(SHARE * len(values)))


def mixed_machines(evidence: Evidence, settings: tuple[str, ...]) -> str:
    """Why seconds cannot be compared, or nothing: the runs of a seed come from more than one machine."""
    by_seed: dict[int, set[str]] = {}
    for setting in settings:
        for run in evidence.all_of(setting):
            by_seed.setdefault(run.config.seed, set()).update(machine(run))
    mixed = {seed: names for seed, names in by_seed.items() if len(names) > 1}
    return "; ".join(
        f"seed {seed} was trained on {' and '.join(sorted(names))}: train it on one machine"
        for seed, names in mixed.items()
    )
