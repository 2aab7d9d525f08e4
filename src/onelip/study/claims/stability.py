"""C2, C6, C7: gradients that explode or scatter, critics that overfit, trainings that fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

from onelip.study.claims.evidence import Evidence, Measure, Needs, is_finished
from onelip.study.claims.measures import (
    BOUND_WORDS,
    PLAYERS,
    deviation,
    explosive_share,
    failures,
    growth,
    last,
    late_rise,
    median_gradient,
    setbacks,
    trend,
)
from onelip.study.claims.statistics import (
    Numbers,
    PerSeed,
    SeedEstimate,
    difference,
    geometric_mean,
    mean,
    proportion,
    ratio,
)
from onelip.study.claims.verdict import Claim, State, Verdict, above, below, certain, combine
from onelip.study.presets import MIYATO
from onelip.study.runs import EXPLOSION, StoredRun
from onelip.study.store import WINDOWS

EXPLOSIVE_SHARE = 0.01
STEADY = -0.5
FRECHET = "evaluation/frechet_distance"
METHODS = ("clip", "gp", "sn")
A_TO_F = tuple(f"{x}-{m}" for x in MIYATO for m in (*METHODS, "sn-operator"))
EXPLODING_SETTINGS = ("none", *METHODS, "sn-operator", *A_TO_F)


SIGNS: dict[str, Callable[[StoredRun], bool]] = {
    "steps above 10 medians": lambda run: explosive_share(run) > EXPLOSIVE_SHARE,
    "later rise above 10 medians": lambda run: late_rise(run) > EXPLOSION,
    "tenfold growth": lambda run: growth(run) > EXPLOSION,
}


def exploding(evidence: Evidence) -> Verdict:
    places = {"by default": ("sn",), "over A to F": tuple(f"{x}-sn" for x in MIYATO)}
    counts = {s: {sign: _seeds_with(evidence, s, sign) for sign in SIGNS} for s in EXPLODING_SETTINGS}
    parts: dict[str, State] = {
        f"no {sign} {place}": certain(not any(counts[s][sign] for s in settings))
        for place, settings in places.items()
        for sign in SIGNS
    }
    seen = {s: proportion(evidence.of(s, _shows_a_sign, finished=False)) for s in ("sn", "none")}
    numbers: Numbers = {"share of seeds that show a sign, none": seen["none"]}
    for method in ("sn", "none", "clip", "gp", "sn-operator"):
        numbers[f"share of steps above 10 medians, {method}"] = mean(evidence.of(method, explosive_share))
        # A norm that is large throughout has no such steps, and one that falls from a large start has.
        numbers[f"median gradient norm, {method}"] = geometric_mean(evidence.of(method, median_gradient))
        numbers[f"growth of the gradient, {method}"] = mean(evidence.of(method, growth))
    numbers |= {
        f"seeds with {sign}, {s}": float(n) for s, signs in counts.items() for sign, n in signs.items()
    }
    word, reason = combine(parts)
    if word == "supported" and seen["none"].value <= 0.5:
        word, reason = "undecided", "nothing to avoid: without a constraint most seeds do not explode either"
    return Verdict(word, reason, seen["sn"], "share of seeds that show a sign, sn", numbers)


def exploding_by_default(evidence: Evidence) -> tuple[str, Numbers]:
    """The signs that seeds of sn show at its default settings; what unconstrained seeds show, in numbers."""
    runs = len(evidence.all_of("sn"))
    counts = {s: {sign: _seeds_with(evidence, s, sign) for sign in SIGNS} for s in ("sn", "none")}
    shown = [f"{sign} on {n} of {runs} seeds" for sign, n in counts["sn"].items() if n]
    numbers: Numbers = {
        f"seeds with {sign}, {s}": float(n) for s, signs in counts.items() for sign, n in signs.items()
    }
    return (f"by default sn shows {', '.join(shown)}" if shown else ""), numbers


def _shows_a_sign(run: StoredRun) -> float:
    return float(not is_finished(run) or any(shown(run) for shown in SIGNS.values()))


def _seeds_with(evidence: Evidence, setting: str, sign: str) -> int:
    """A run that diverged shows every sign."""
    return sum(not is_finished(run) or SIGNS[sign](run) for run in evidence.all_of(setting))


def overcorrecting(evidence: Evidence) -> Verdict:
    numbers: Numbers = {}
    parts: dict[str, State] = {}
    metrics = {"gradient": "generator_gradient_norm", "loss": "generator_loss"}
    for rival, (bound, word) in product(("sn", "clip"), BOUND_WORDS.items()):
        seeds = evidence.seeds("gp", rival)
        for label, metric in metrics.items():
            found = numbers[f"{label}'s deviation, {word} constants, gp over {rival}"] = _over(
                evidence, "gp", rival, deviation(metric, bound)
            )
            parts[f"{label} varies more than {rival}'s ({word})"] = above(found, 1.0, seeds)
        gap = difference(_gaps(evidence, "gp", bound), _gaps(evidence, rival, bound))
        numbers[f"train-test gap, {word} constants, gp minus {rival}"] = gap
        parts[f"train-test gap larger than {rival}'s ({word})"] = above(gap, 0.0, seeds)
    headline = "gradient's deviation, witnessed constants, gp over sn"
    return Verdict.of(combine(parts), numbers, headline)


def _over(evidence: Evidence, a: str, b: str, measure: Measure) -> SeedEstimate:
    return ratio(evidence.of(a, measure), evidence.of(b, measure))


def _gaps(evidence: Evidence, setting: str, bound: str) -> PerSeed:
    def gap(run: StoredRun) -> float:
        train, test = (last(f"scores/{s}/mean")(run) for s in ("train", "test"))
        scale = last(f"certificate/{bound}")(run)
        return (train - test) / scale if scale > 0 else math.nan

    return evidence.of(setting, gap)


def stable(evidence: Evidence) -> Verdict:
    numbers: Numbers = {}
    failed = {setting: failures(evidence, setting) for setting in METHODS}
    falls = numbers["rank correlation of Fréchet distance and step, sn"] = mean(
        evidence.of("sn", trend(FRECHET))
    )
    parts: dict[str, State] = {
        "no seed fails": certain(not any(failed["sn"].values())),
        "the Fréchet distance falls steadily": below(falls, STEADY, evidence.seeds("sn")),
    }
    for setting in METHODS:
        numbers[f"share of seeds that fail, {setting}"] = proportion(failed[setting])
        numbers[f"Fréchet distance's setbacks, {setting}"] = mean(evidence.of(setting, setbacks(FRECHET)))
    for rival in ("clip", "gp"):
        seeds = evidence.seeds("sn", rival)
        back = difference(evidence.of("sn", setbacks(FRECHET)), evidence.of(rival, setbacks(FRECHET)))
        numbers[f"setbacks, sn minus {rival}"] = back
        # Fewer than none is not possible; of a rival that diverged the number is not known.
        none_to_undercut = back.seeds == seeds and not any(evidence.of(rival, setbacks(FRECHET)).values())
        parts[f"fewer setbacks than {rival}"] = "fails" if none_to_undercut else below(back, 0.0, seeds)
        for player, (bound, word) in product(PLAYERS, BOUND_WORDS.items()):
            found = _over(evidence, "sn", rival, deviation(f"{player}_loss", bound, local=True))
            numbers[f"local deviation of the {player} loss, {word} constants, sn over {rival}"] = found
            parts[f"{player} loss smoother than {rival}'s ({word})"] = below(found, 1.0, seeds)
    return Verdict.of(combine(parts), numbers, headline="share of seeds that fail, sn")


EXPLODING = Claim(
    "C2",
    "Spectral normalization avoids exploding gradients.",
    f"Signs, of the gradient norm of either player: more than {EXPLOSIVE_SHARE:.0%} of the steps above "
    f"{EXPLOSION} medians; a mean over 1/{WINDOWS} of the training above {EXPLOSION} medians after its "
    f"first tenth; a mean over the last tenth above {EXPLOSION} times that over the first. A diverged run "
    "shows all. Parts: no seed of sn shows the sign, by default (5 seeds) and over A to F (5 seeds each). "
    "All hold: supported, if most unconstrained seeds show some sign, else undecided; none: refuted; some: "
    "depends.",
    Needs({"main": ("none", *METHODS, "sn-operator"), "settings": (), "settings-operator": ()}),
    exploding,
    exploding_by_default,
)
OVERCORRECTING = Claim(
    "C6",
    "The gradient penalty over-corrects with highly variable gradients, and may overfit.",
    "'Over-corrects' is read as: with more variable gradients and losses. "
    "Parts, each against sn and against clip, paired by seed, and each for the proved and for the "
    "witnessed constant of the critic by which it is divided: the standard deviation over the training of "
    "the generator's gradient norm, and of its loss, is larger (interval of the ratio above 1); the "
    "critic's mean on training digits less that on test digits is larger (interval of the difference above "
    "0). All hold: supported; none: refuted; some: depends; an interval that holds the limit and no "
    "contradiction: undecided. A part that a diverged run has no number for is open.",
    Needs({"main": METHODS}),
    overcorrecting,
)
STABLE = Claim(
    "C7",
    "Spectral normalization learns gradually and stably.",
    "Parts: no seed of sn fails (diverges, ends at over twice the median Fréchet distance of its seeds, or "
    "loses half of the classes' mass); the rank correlation of its Fréchet distance with the step lies "
    f"below {STEADY}; against clip and against gp, paired by seed, the sum of the rises of log Fréchet "
    f"distance is smaller, and the deviation within windows of 1/{WINDOWS} of the training is smaller for "
    "both players' losses, divided by the proved and by the witnessed constant. All hold: supported; none: "
    "refuted; some: depends. A part that a diverged run has no number for is open.",
    Needs({"main": METHODS}),
    stable,
)
