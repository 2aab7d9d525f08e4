"""C9: which losses still tell the generator where to go when the supports do not meet?"""

from __future__ import annotations

from typing import Any

from onelip.study.claims.evidence import Evidence, Needs
from onelip.study.claims.statistics import Numbers, PerSeed, mean
from onelip.study.claims.verdict import Claim, State, Verdict, above, below, combine

VANISHED = 0.01
KEPT = 0.5
LAWS = {"plane": "segments in the plane", "mnist": "digits"}


def judge(evidence: Evidence) -> Verdict:
    experiment = evidence.theory["disjoint"]
    parts: dict[str, State] = {}
    numbers: Numbers = {}
    for law, name in LAWS.items():
        for loss in ("minimax", "non-saturating"):
            left = numbers[f"share of the gradient left, {loss}, {name}"] = mean(_left(experiment, law, loss))
            parts[f"{loss} vanishes on {name}"] = below(left, VANISHED)
        kept = numbers[f"gradient over the optimal one's, Wasserstein, {name}"] = mean(_kept(experiment, law))
        parts[f"Wasserstein does not on {name}"] = above(kept, KEPT)
    return Verdict.of(combine(parts), numbers, headline="share of the gradient left, minimax, digits")


def _runs(experiment: dict[str, Any], law: str, loss: str) -> list[dict[str, Any]]:
    return [r for r in experiment["result"]["runs"] if (r["law"], r["loss"]) == (law, loss)]


def _left(experiment: dict[str, Any], law: str, loss: str) -> PerSeed:
    """Final gradient over that of the untrained discriminator, by seed: the largest over the distances."""
    found: PerSeed = {}
    for run in _runs(experiment, law, loss):
        gradient = run["curve"]["gradient"]
        found[run["seed"]] = max(found.get(run["seed"], 0.0), gradient[-1] / gradient[0])
    return found


def _kept(experiment: dict[str, Any], law: str) -> PerSeed:
    """Final gradient over that of an exact potential, by seed: the smallest over the distances."""
    result, seeds = experiment["result"], experiment["config"]["seeds"]
    best = {row["distance"]: row["optimal_gradient"] for row in result["plane"]}
    digits = dict(zip(seeds, (row["optimal_gradient"] for row in result["mnist"]), strict=True))
    found: PerSeed = {}
    for run in _runs(experiment, law, "wasserstein"):
        optimal = best[run["distance"]] if law == "plane" else digits[run["seed"]]
        share = run["curve"]["gradient"][-1] / optimal
        found[run["seed"]] = min(found.get(run["seed"], share), share)
    return found


VANISHING = Claim(
    "C9",
    "The gradient of binary cross entropy vanishes on disjoint supports; that of the Wasserstein loss does "
    "not.",
    "Parts, on segments in the plane at every distance and on digits against an untrained generator's "
    "images, after the critic's training: under cross entropy the generator's gradient is less than "
    f"{VANISHED:.0%} of what it was under the untrained discriminator, for the minimax and for the "
    f"non-saturating loss of the generator; under the Wasserstein loss it is more than {KEPT:g} of an exact "
    "potential's. All hold: supported; none: refuted; some: depends.",
    Needs({}, ("disjoint",)),
    judge,
)
