"""Means over seeds and their 95 % intervals.

From five seeds on the interval is the bootstrap's expanded percentile interval: Hesterberg, "What Teachers
Should Know About the Bootstrap", The American Statistician 69(4), 2015. With five seeds the plain percentile
interval covers the mean of normal data about 82 times in 100, and BCa would estimate its two corrections from
the same five numbers; quantiles further out, as Student's t has them, bring it to about 93 in 100. It is then
nearly the range of the seeds: a value is excluded where they all lie well on one side of it. With fewer seeds
no resample reaches beyond a range that covers the mean 50, 75 and 87 times in 100: there it is Student's own.
Of a share of seeds it is Clopper's and Pearson's. Runs are paired by seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 10_000
FEWEST_RESAMPLED = 5  # seeds
PerSeed = dict[int, float]


@dataclass(frozen=True)
class SeedEstimate:
    """A mean over seeds, or a ratio, and its interval; from fewer than two seeds there is none."""

    value: float
    low: float
    high: float
    seeds: int

    def below(self, limit: float) -> bool:
        return self.seeds > 1 and self.high < limit

    def above(self, limit: float) -> bool:
        return self.seeds > 1 and self.low > limit


Numbers = dict[str, SeedEstimate | float]
"""By what they are called: means over seeds, and what is counted."""


def number(value: SeedEstimate | float) -> str:
    """A number as it is printed.

    >>> number(SeedEstimate(0.51234, 0.5, 0.53, 5))
    '0.512 [0.5, 0.53], 5 seeds'
    """
    if not isinstance(value, SeedEstimate):
        return f"{value:.3g}"
    if not value.seeds:
        return "no seed has it"
    interval = f" [{value.low:.3g}, {value.high:.3g}]" if value.seeds > 1 else ""
    return f"{value.value:.3g}{interval}, {value.seeds} seed{'s' if value.seeds > 1 else ''}"


def mean(values: PerSeed) -> SeedEstimate:
    """Arithmetic mean; what is not finite does not count as a seed.

    >>> mean({0: 1.0, 1: 1.0, 2: 1.0})
    SeedEstimate(value=1.0, low=1.0, high=1.0, seeds=3)
    """
    kept = [values[seed] for seed in sorted(values) if math.isfinite(values[seed])]
    if not kept:
        return SeedEstimate(0.0, 0.0, 0.0, 0)
    low, high = _interval(tuple(kept))
    return SeedEstimate(float(np.mean(kept)), low, high, len(kept))


def proportion(values: PerSeed) -> SeedEstimate:
    """Share of the seeds that have a 1 and not a 0, with the exact interval of the binomial law.

    >>> share = proportion(dict.fromkeys(range(5), 0.0))
    >>> share.value, round(share.high, 2), share.seeds
    (0.0, 0.52, 5)
    """
    if not values:
        return SeedEstimate(0.0, 0.0, 0.0, 0)
    from scipy import stats

    found = stats.binomtest(round(sum(values.values())), len(values))
    interval = found.proportion_ci(CONFIDENCE, method="exact")
    return SeedEstimate(float(found.statistic), float(interval.low), float(interval.high), len(values))


def lowest(estimates: dict[str, SeedEstimate]) -> str:
    """The name of the lowest value, among those behind which there is a seed.

    >>> lowest({"none": SeedEstimate(0.0, 0.0, 0.0, 0), "some": SeedEstimate(2.0, 1.0, 3.0, 5)})
    'some'
    """
    return min(estimates, key=lambda name: (not estimates[name].seeds, estimates[name].value))


def geometric_mean(values: PerSeed) -> SeedEstimate:
    """Of positive values; others do not count as seeds."""
    logs = mean({seed: math.log(value) for seed, value in values.items() if value > 0})
    if not logs.seeds:
        return logs
    return SeedEstimate(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high), logs.seeds)


def ratio(a: PerSeed, b: PerSeed) -> SeedEstimate:
    """Geometric mean of a/b over the seeds that both have.

    >>> ratio({0: 2.0, 1: 8.0}, {0: 1.0, 1: 1.0, 2: 5.0}).value
    4.0
    """
    return geometric_mean({s: a[s] / b[s] for s in a.keys() & b.keys() if a[s] > 0 and b[s] > 0})


def difference(a: PerSeed, b: PerSeed) -> SeedEstimate:
    """Mean of a − b over the seeds that both have."""
    return mean({seed: a[seed] - b[seed] for seed in a.keys() & b.keys()})


def expanded_level(n: int) -> float:
    """The level at which n ≥ 5 seeds' percentile interval is as wide as Student's t for normal data."""
    from scipy import stats  # a second that a report without intervals does not pay

    t = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)
    return 1 - 2 * float(stats.norm.sf(t * math.sqrt(n / (n - 1))))


@cache
def _interval(values: tuple[float, ...]) -> tuple[float, float]:
    if len(values) == 1:
        return values[0], values[0]
    from scipy import stats

    if len(values) < FEWEST_RESAMPLED:
        reach = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values)
        return float(np.mean(values) - reach), float(np.mean(values) + reach)
    found = stats.bootstrap(
        (np.array(values),),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=expanded_level(len(values)),
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)
