"""A claim as a value: its criterion, what it needs, and the function from evidence to a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from onelip.study.claims.evidence import Evidence, Needs
from onelip.study.claims.statistics import Numbers, SeedEstimate

MINIMUM_SEEDS = 5
Word = Literal["supported", "refuted", "depends", "undecided"]
State = Literal["holds", "fails", "open"]


@dataclass(frozen=True)
class Verdict:
    """reason: the condition, or what is missing. effect: the headline number. numbers: all others, by name.

    missing: names of the runs and experiments that are needed and not there. known: what is decided all the
    same.
    """

    verdict: Word
    reason: str = ""
    effect: SeedEstimate | None = None
    effect_name: str = ""
    numbers: Numbers = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    known: str = ""

    @classmethod
    def of(cls, decided: tuple[Word, str], numbers: Numbers, headline: str, title: str = "") -> Verdict:
        """The word and its condition, with one of the numbers as the headline, which may have a title."""
        effect = numbers[headline]
        assert isinstance(effect, SeedEstimate), "a headline is a mean over seeds"
        others = {name: number for name, number in numbers.items() if name != headline}
        return cls(*decided, effect, title or headline, others)


@dataclass(frozen=True, eq=False)
class Claim:
    """preview: what is known while runs are missing, in words and in numbers."""

    key: str
    sentence: str
    criterion: str
    needs: Needs
    judge: Callable[[Evidence], Verdict]
    preview: Callable[[Evidence], tuple[str, Numbers]] | None = None


def decide(claim: Claim, evidence: Evidence) -> Verdict:
    """The claim's verdict; `undecided` where a run is missing or too few seeds stand behind the headline."""
    missing = evidence.missing(claim.needs)
    if missing:
        known, numbers = claim.preview(evidence) if claim.preview is not None else ("", {})
        return Verdict("undecided", evidence.how_to_fill(claim.needs), None, "", numbers, missing, known)
    found = claim.judge(evidence)
    if found.verdict == "undecided":
        return found
    seeds = found.effect.seeds if found.effect is not None else 0
    if seeds >= MINIMUM_SEEDS:
        return found
    reason = f"{seeds} seeds stand behind the headline number, {MINIMUM_SEEDS} are needed"
    return replace(found, verdict="undecided", reason=f"{reason}; on these: {_reading(found)}")


def _reading(found: Verdict) -> str:
    return f"{found.verdict} ({found.reason})" if found.reason else found.verdict


def above(estimate: SeedEstimate, limit: float, seeds: int = 0) -> State:
    """Whether a quantity exceeds a limit: open where the interval holds the limit, or fewer seeds have it."""
    if estimate.seeds < seeds:
        return "open"
    return "holds" if estimate.above(limit) else "fails" if estimate.below(limit) else "open"


def below(estimate: SeedEstimate, limit: float, seeds: int = 0) -> State:
    swapped: dict[State, State] = {"holds": "fails", "fails": "holds", "open": "open"}
    return swapped[above(estimate, limit, seeds)]


def certain(condition: bool) -> State:
    """Of a fact that is counted and not estimated."""
    return "holds" if condition else "fails"


def every(states: Iterable[State]) -> State:
    """All of them, as one part: fails where any fails."""
    found = set(states)
    return "fails" if "fails" in found else "open" if "open" in found else "holds"


def combine(parts: dict[str, State]) -> tuple[Word, str]:
    """The verdict of a claim that says all of `parts`, and its condition.

    >>> combine({"in the plane": "holds", "on digits": "fails"})
    ('depends', 'holds: in the plane; does not: on digits')
    >>> combine({"in the plane": "holds", "on digits": "open"})
    ('undecided', 'not settled: on digits; holds: in the plane')
    """
    by = {
        state: ", ".join(name for name, s in parts.items() if s == state)
        for state in ("holds", "fails", "open")
    }
    if by["holds"] and by["fails"]:
        rest = f"; not settled: {by['open']}" if by["open"] else ""
        return "depends", f"holds: {by['holds']}; does not: {by['fails']}{rest}"
    if by["open"]:
        known = [f"{label}: {by[s]}" for s, label in (("holds", "holds"), ("fails", "does not")) if by[s]]
        return "undecided", "; ".join([f"not settled: {by['open']}", *known])
    return ("supported", "") if by["holds"] else ("refuted", "")
