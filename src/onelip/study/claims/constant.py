"""C4, C5, C10: the critic's Lipschitz constant, what clipping leaves of it, and the product of norms."""

from __future__ import annotations

import math

from onelip.study.claims.evidence import Evidence, Measure, Needs
from onelip.study.claims.measures import BOUND_WORDS, frechet, largest, last
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
from onelip.study.claims.verdict import Claim, State, Verdict, above, combine, every
from onelip.study.presets import CONSTRAINTS, PRESETS
from onelip.study.runs import StoredRun

SLACK = 1.01
TIGHT = 2.0
ROUNDING = 1e-9
# Their layers are measured at rest, σ converged, and their certificates are of the weights in use, where σ
# lags: the two say how tight the product is, and nothing of the inequality.
ESTIMATED = ("sn", "sn-operator")
HELD = ("clip", "gp", "sn", "sn-operator")
CLIPS = tuple(PRESETS["paper"].groups["clip"].settings)


def global_constant(evidence: Evidence) -> Verdict:
    numbers: Numbers = {}
    for method in HELD:
        for bound, word in BOUND_WORDS.items():
            found = geometric_mean(evidence.of(method, largest(bound), finished=False))
            numbers[f"largest constant over training, {word}, {method}"] = found
            ending = geometric_mean(evidence.of(method, last(f"certificate/{bound}")))
            numbers[f"constant at the end, {word}, {method}"] = ending
    states: dict[str, State] = {method: _held_at_one(evidence, method) for method in ("sn", "sn-operator")}
    said = {
        "holds": f"proved at most {SLACK}",
        "fails": f"witnessed above {SLACK}",
        "open": "neither proved nor broken",
    }
    reason = "; ".join(f"{method}: {said[state]}" for method, state in states.items())
    word, _ = combine(states)
    return Verdict.of((word, reason), numbers, headline="largest constant over training, witnessed, sn")


def _held_at_one(evidence: Evidence, method: str) -> State:
    """Of every certificate of every seed: facts, not estimates."""
    upper, lower = (evidence.of(method, largest(bound), finished=False) for bound in ("upper", "lower"))
    if any(value > SLACK for value in lower.values()):
        return "fails"
    return "holds" if all(value <= SLACK for value in upper.values()) else "open"


def underfitting(evidence: Evidence) -> Verdict:
    numbers: Numbers = {"parameters at the boundary": mean(evidence.of("clip", _boundary))}
    for method in (*HELD, "none", "orthogonal"):
        for bound, word in BOUND_WORDS.items():
            found = mean(evidence.of(method, reached(bound)))
            numbers[f"Ŵ₁ over the {word} constant, of exact W₁, {method}"] = found
    parts: dict[str, State] = {}
    distances = frechet(evidence, (*HELD, *(s for s in CLIPS if s != "clip")))
    for rival in ("gp", "sn"):
        seeds = evidence.seeds("clip", rival)
        for bound, word in BOUND_WORDS.items():
            less = difference(evidence.of(rival, reached(bound)), evidence.of("clip", reached(bound)))
            numbers[f"share of W₁, {word} constants, {rival} minus clip"] = less
            parts[f"the critic reaches less of W₁ than {rival}'s ({word})"] = above(less, 0.0, seeds)
        worse = ratio(distances["clip"], distances[rival])
        during = ratio(evidence.of("clip", mean_frechet), evidence.of(rival, mean_frechet))
        numbers |= {f"Fréchet distance, clip over {rival}": worse}
        numbers |= {f"Fréchet distance, mean over training, clip over {rival}": during}
        parts[f"samples worse than {rival}'s, at the end and over the training"] = every(
            (above(worse, 1.0, seeds), above(during, 1.0, seeds))
        )
    best = _best({setting: distances[setting] for setting in CLIPS})
    again = ratio(distances[best], distances["gp"])
    numbers[f"Fréchet distance, best clip ({best}) over gp"] = again
    parts["samples worse than gp's at the best of four c too"] = above(again, 1.0, evidence.seeds(best, "gp"))
    return Verdict.of(combine(parts), numbers, headline="Fréchet distance, clip over gp")


def _best(distances: dict[str, PerSeed]) -> str:
    """The setting with the lowest mean over the seeds that all have."""
    common = set.intersection(*(set(values) for values in distances.values()))
    return lowest({s: geometric_mean({seed: d[seed] for seed in common}) for s, d in distances.items()})


def reached(bound: str) -> Measure:
    """Ŵ₁ over the critic's constant, as a share of the exact W₁ on the same held-out samples."""

    def measure(run: StoredRun) -> float:
        scale = last(f"certificate/{bound}")(run) * last("final/transport/exact")(run)
        return last("final/transport/estimate")(run) / scale if scale > 0 else math.nan

    return measure


def mean_frechet(run: StoredRun) -> float:
    return float(run.curves["evaluation/frechet_distance"].values.mean())


def _boundary(run: StoredRun) -> float:
    return float(run.curves["certificate/at_boundary"].values.mean())


def product(evidence: Evidence) -> Verdict:
    networks = evidence.theory["product"]["result"]["networks"]
    sound = all(n["witness"] <= n["product"] * (1 + ROUNDING) for n in networks)
    numbers = tightness(evidence)
    at_most, at_least = (_looseness(evidence, bound) for bound in ("witness", "certificate"))
    for method in CONSTRAINTS:
        slack, proved = (evidence.of(method, _product_over(bound)) for bound in ("lower", "upper"))
        if method not in ESTIMATED:
            sound = sound and not any(value * (1 + ROUNDING) < 1 for value in slack.values())
        critic = f"trained critic, {method}"
        at_most[critic], at_least[critic] = geometric_mean(slack), geometric_mean(proved)
        numbers |= {f"product over witness, {critic}": at_most[critic]}
        numbers |= {f"product over certificate, {critic}": at_least[critic]}
    loosest = max(at_least, key=lambda name: (at_least[name].seeds > 0, at_least[name].value))
    headline = f"product over certificate, {loosest}"
    if not sound:
        return Verdict.of(("refuted", "a witnessed ratio exceeds the product"), numbers, headline)
    parts: dict[str, State] = {name: _tight(at_most[name], at_least[name]) for name in at_most}
    tight, loose, between = (
        ", ".join(n.replace(", ", " of ") for n, s in parts.items() if s == state)
        for state in ("holds", "fails", "open")
    )
    word, _ = combine({**parts, "a bound": "holds"})
    rest = f"; neither shown: {between}" if between else ""
    reason = f"a bound wherever it was checked; tight: {tight or 'none'}; loose: {loose or 'none'}{rest}"
    return Verdict.of((word, "" if word == "supported" else reason), numbers, headline)


def _tight(at_most: SeedEstimate, at_least: SeedEstimate) -> State:
    """The product over the constant lies between the product over a proved and over a witnessed bound."""
    if at_least.above(TIGHT):
        return "fails"
    return "holds" if at_most.below(TIGHT) else "open"


def _product_over(bound: str) -> Measure:
    """Product of the layers' proved norms over a bound of the critic's constant; NaN if it is unknown."""

    def measure(run: StoredRun) -> float:
        found = last(f"certificate/{bound}")(run)
        return run.summary["norm_product"] / found if found > 0 else math.nan

    return measure


def tightness(evidence: Evidence) -> Numbers:
    """Product of norms over the witnessed ratio and over the certificate, by family and depth."""
    return {
        f"product over {bound}, {name}": estimate
        for bound in ("witness", "certificate")
        for name, estimate in _looseness(evidence, bound).items()
    }


def networks_alone(evidence: Evidence) -> tuple[str, Numbers]:
    """What the experiment says of the claim without the runs: numbers, which decide nothing alone."""
    return "", tightness(evidence) if "product" in evidence.theory else {}


def _looseness(evidence: Evidence, bound: str) -> dict[str, SeedEstimate]:
    networks = sorted(evidence.theory["product"]["result"]["networks"], key=lambda n: -n["depth"])
    groups: dict[str, dict[int, float]] = {}
    for n in networks:
        groups.setdefault(f"{n['family'].replace(', ', ' ')} depth {n['depth']}", {})[n["seed"]] = (
            n["product"] / n[bound]
        )
    return {name: geometric_mean(values) for name, values in groups.items()}


GLOBAL_CONSTANT = Claim(
    "C4",
    "Spectral normalization enforces a global Lipschitz constant of 1.",
    f"Over every certificate of every seed: held where the proved upper bound is at most {SLACK}, broken "
    "where a witnessed pair of inputs exceeds it, else open. Parts: held by the reshaped norm (sn) and by "
    "the operator norm (sn-operator). Both hold: supported; both broken: refuted; one held and one broken: "
    "depends; else undecided.",
    Needs({"main": HELD}),
    global_constant,
)
UNDERFITTING = Claim(
    "C5",
    "Weight clipping barely learns and underfits.",
    "'Barely' is read as: less than gp and sn. Parts, against gp and against sn, paired by seed: Ŵ₁ over "
    "the critic's constant, proved and witnessed, reaches less of the exact W₁ on the same held-out samples "
    "(interval of the difference above 0); the Fréchet distance is larger, after the last step and in the "
    "mean over the training (intervals of the ratios above 1); larger than gp's also at the best of "
    "c = .001, .01, .1 and 1 (3 seeds). All hold: supported; none: refuted; some: depends. A part that a "
    "diverged run has no number for is open.",
    Needs({"main": (*HELD, "none", "orthogonal"), "clip": ()}),
    underfitting,
)
PRODUCT = Claim(
    "C10",
    "The Lipschitz constant is at most the product of the layers' norms, and the product is tight.",
    "Refuted: a witnessed ratio exceeds the product of proved norms, in any network of the experiment "
    "product or any trained critic (but of sn and sn-operator, whose layers are measured at rest, while "
    f"the weights in use lag). Else, in each family and depth and under each constraint (interval over "
    f"seeds): tight where the product is less than {TIGHT:g} times the witnessed ratio, loose where it is "
    f"more than {TIGHT:g} times the certificate. All tight: supported; some loose: depends; else undecided.",
    Needs({"main": tuple(CONSTRAINTS)}, ("product",)),
    product,
    networks_alone,
)
