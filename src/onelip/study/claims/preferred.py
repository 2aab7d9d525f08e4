"""C11: is spectral normalization what one should take today?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from onelip.study.claims.evidence import Evidence, Needs, is_finished
from onelip.study.claims.measures import (
    at_seconds,
    at_step,
    clocks,
    failures,
    frechet,
    mixed_machines,
    total_seconds,
)
from onelip.study.claims.statistics import (
    Numbers,
    PerSeed,
    SeedEstimate,
    difference,
    geometric_mean,
    lowest,
    mean,
    ratio,
)
from onelip.study.claims.verdict import Claim, Verdict, Word, above
from onelip.study.presets import PRESETS
from onelip.study.runs import StoredRun

GROUPS = ("main", "losses", "baseline")
SETTINGS = {name: f for g in GROUPS for name, f in PRESETS["paper"].groups[g].settings.items()}
SPECTRAL = tuple(name for name, fields in SETTINGS.items() if fields["method"].startswith("sn"))
RIVALS = tuple(name for name in SETTINGS if name not in SPECTRAL)
RECALL_MARGIN = 0.02
AT_EQUAL_TIME = "Fréchet distance at equal time"


@dataclass(frozen=True)
class Comparison:
    """The best spectral setting, `ours`, with every rival, of which `rival` is the best.

    against: Fréchet distances at equal time, the rival's over ours. recall: ours less the rival's. failed:
    seeds of each setting. beside: what other ways to compare say. numbers: all of these, and what is behind.
    """

    ours: str
    rival: str
    against: dict[str, SeedEstimate]
    recall: dict[str, SeedEstimate]
    failed: dict[str, float]
    beside: str
    numbers: Numbers

    @property
    def headline(self) -> str:
        return f"{AT_EQUAL_TIME}, {self.rival} over {self.ours}"


def judge(evidence: Evidence) -> Verdict:
    mixed = mixed_machines(evidence, tuple(SETTINGS))
    if mixed:
        return Verdict("undecided", mixed)
    found = compare(evidence)
    return Verdict.of(decided(found), found.numbers, found.headline)


def compare(evidence: Evidence) -> Comparison:
    distances = with_diverged(evidence, at_equal_time(evidence, "evaluation/frechet_distance"), worst=max)
    recalls = with_diverged(evidence, at_equal_time(evidence, "evaluation/recall"), worst=min)
    again = with_diverged(evidence, by_median_clock(evidence, "evaluation/frechet_distance"), worst=max)
    final = {n: geometric_mean(v) for n, v in frechet(evidence, tuple(SETTINGS)).items()}
    ours, rival = (_best(distances, names) for names in (SPECTRAL, RIVALS))
    failed = {name: sum(failures(evidence, name).values()) for name in SETTINGS}
    against = {name: ratio(distances[name], distances[ours]) for name in RIVALS}
    recall = {name: difference(recalls[ours], recalls[name]) for name in RIVALS}
    by_clocks = ratio(again[rival], again[ours])
    numbers: Numbers = {f"{rival} over {ours} by median clocks": by_clocks}
    numbers |= {f"recall, {ours} minus {name}": recall[name] for name in (rival, *RIVALS)}
    numbers |= {f"seeds that fail, {name}": count for name, count in failed.items()}
    numbers |= {f"{AT_EQUAL_TIME}, {name}": geometric_mean(distances[name]) for name in SETTINGS}
    numbers |= {f"{AT_EQUAL_TIME}, {name} over {ours}": found for name, found in against.items()}
    numbers |= {f"recall, {name}": mean(recalls[name]) for name in SETTINGS}
    numbers |= {f"Fréchet distance after all steps, {name}": found for name, found in final.items()}
    return Comparison(ours, rival, against, recall, failed, _beside(by_clocks, final), numbers)


def _beside(by_clocks: SeedEstimate, final: dict[str, SeedEstimate]) -> str:
    leader = lowest(final)
    return (
        f"by median clocks the ratio is {by_clocks.value:.3g} ({by_clocks.low:.3g} to {by_clocks.high:.3g}); "
        f"after all steps {leader} has the lowest, {final[leader].value:.3g}"
    )


def decided(found: Comparison) -> tuple[Word, str]:
    """The verdict and its condition: distances first, then recall and failures."""
    ours, against, recall, failed = found.ours, found.against, found.recall, found.failed
    better = [name for name in RIVALS if against[name].below(1.0)]
    level = [name for name in RIVALS if name not in better and not against[name].above(1.0)]
    drawbacks = [f"its recall is below that of {n}" for n in RIVALS if recall[n].below(-RECALL_MARGIN)]
    drawbacks += [f"{n} fails on fewer seeds" for n in RIVALS if failed[n] < failed[ours]]
    unsettled = [n for n in RIVALS if above(recall[n], -RECALL_MARGIN) == "open"]
    if better:
        reason = f"{', '.join(better)} better than {ours}, the best spectral setting, at equal time"
        return "refuted", f"{reason}; {found.beside}"
    if level:
        seeds = f"{against[found.rival].seeds} seeds do not tell {' or '.join(level)} from {ours}"
        return "undecided", f"{seeds}, the best spectral setting: more seeds are needed; {found.beside}"
    said = f"{ours} has the best Fréchet distance at equal time; {found.beside}"
    if drawbacks:
        return "depends", f"{said}; but {'; '.join(drawbacks)}"
    if unsettled:
        rest = f"seeds do not tell whether its recall is below that of {', '.join(unsettled)}"
        return "undecided", f"{said}; {rest}"
    return "supported", said


def at_equal_time(evidence: Evidence, metric: str) -> dict[str, float]:
    """Of each finished run, when its seed's fastest setting has ended, by the seconds of its own training."""
    finished = _finished(evidence)
    budgets: dict[int, float] = {}
    for run in finished:
        seed = run.config.seed
        budgets[seed] = min(budgets.get(seed, total_seconds(run)), total_seconds(run))
    return {run.name: at_seconds(metric, budgets[run.config.seed])(run) for run in finished}


def by_median_clock(evidence: Evidence, metric: str) -> dict[str, float]:
    """Of each finished run, when the fastest setting has ended, by each setting's median seconds a step."""
    finished, clock = _finished(evidence), clocks(evidence, tuple(SETTINGS))
    budget = min((clock[run.setting] * run.config.steps for run in finished), default=math.nan)
    return {run.name: at_step(metric, budget / clock[run.setting])(run) for run in finished}


def _finished(evidence: Evidence) -> list[StoredRun]:
    return [run for name in SETTINGS for run in evidence.all_of(name) if is_finished(run)]


def with_diverged(
    evidence: Evidence, found: dict[str, float], worst: Callable[..., float]
) -> dict[str, PerSeed]:
    """By setting and seed; a diverged run gets the worst that was found."""
    last_place = worst((value for value in found.values() if math.isfinite(value)), default=math.nan)
    return {
        name: {run.config.seed: found.get(run.name, last_place) for run in evidence.all_of(name)}
        for name in SETTINGS
    }


def _best(distances: dict[str, PerSeed], names: tuple[str, ...]) -> str:
    return lowest({name: geometric_mean(distances[name]) for name in names})


PREFERRED = Claim(
    "C11",
    "Spectral normalization is to be preferred today.",
    "Compared when the fastest setting of a seed has ended, by seconds of training of that seed's runs; a "
    "diverged run counts as the worst. Load on a machine stretches the seconds of single runs: the ratio by "
    "each setting's median seconds a step, relative to the mean of all of the seed's, stands beside it and "
    "decides nothing. There are more spectral settings than of any rival, which favours them. The best of "
    "them (lowest mean log Fréchet distance; chosen "
    f"on the same seeds, as is its best rival) against every other setting, {', '.join(RIVALS)}. Supported: "
    "its Fréchet distance is lower than each rival's (interval of the ratio paired by seed above 1), its "
    f"recall not lower by {RECALL_MARGIN}, and no rival fails on fewer seeds; depends: only the first; "
    "refuted: a rival's is lower; undecided: seeds do not tell it from a rival, or do not settle its recall.",
    Needs(dict.fromkeys(GROUPS, ())),
    judge,
)
