"""Sentences that say which way an effect goes, or what is missing: chosen from the results, never typed."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from documents.measured import trimmed
from onelip.study.claims.evidence import Evidence, group_runs
from onelip.study.claims.measures import last
from onelip.study.claims.statistics import SeedEstimate, geometric_mean
from onelip.study.claims.tuning import A_TO_F, worst_over_best
from onelip.study.coverage import SECOND, SHARE, ours
from onelip.study.presets import METHODS, MIYATO, RunName
from paper.text import code, escape, listing, number, percent, runs_of

TABLE, TEXT = 180, 420  # letters of a reason, in the table and in running text
OPEN = {  # by whether runs are missing
    False: "Undecided, though no run is missing",
    True: "Undecided, for want of runs",
}
MIXTURES = {"ring": ("the ring", 8), "grid": ("the grid", 25), "stacked-mnist": ("stacked digits", 1000)}
VERDICTS = ("supported", "refuted", "depends", "undecided")


def groups_state(groups: dict[str, tuple[int, int]]) -> str:
    """How many runs of the groups are stored, and the command that trains the rest; nothing where all are.

    >>> groups_state({"ring": (35, 35), "grid": (35, 35)})
    ''
    >>> groups_state({"ring": (0, 35)})[:59]
    'None of the 35 runs of the group \\\\texttt{ring} is stored ye'
    """
    stored, required = (sum(counts) for counts in zip(*groups.values(), strict=True))
    names = f"group{'s' if len(groups) > 1 else ''} {listing([code(group) for group in groups])}"
    if stored == required:
        return ""
    lacking = ",".join(group for group, (here, wanted) in groups.items() if here < wanted)
    command = code(f"onelip study paper --groups {lacking} --store results/study")
    if stored == 0:
        return f"None of the {required} runs of the {names} is stored yet ({command} trains them)."
    if len(groups) == 1:
        return f"{stored} of the {required} runs of the {names} are stored ({command} trains the others)."
    counts = listing([f"{here} of {wanted} ({code(group)})" for group, (here, wanted) in groups.items()])
    return f"Of the runs of the {names}, {counts} are stored ({command} trains the others)."


def seeds_of(evidence: Evidence, group: str) -> str:
    """Finished seeds a setting of a group: one number where all have as many.

    Settings without any are not counted: group_state says that runs are missing.
    """
    settings = dict.fromkeys(RunName.of(name).setting for name in group_runs(group))
    counts = {setting: len(evidence.of(setting, lambda run: 0.0)) for setting in settings}
    found = sorted({count for count in counts.values() if count})
    if not found:
        return "no seeds"
    few, many = found[0], found[-1]
    if few == many:
        return f"{few} seed{'s' if few > 1 else ''}"
    return f"{few} to {many} seeds"


def each(words: dict[str, str]) -> str:
    """What is said of every method, in a row.

    >>> each({"sn": "0.7", "clip": "0.6"})
    '\\\\texttt{sn}: 0.7; \\\\texttt{clip}: 0.6'
    """
    return "; ".join(f"{code(method)}: {text}" for method, text in words.items())


def ranking(evidence: Evidence) -> str:
    """The methods by their mean final Fréchet distance, best first."""
    found = {}
    for setting in METHODS:
        values = final_distances(evidence, setting)
        if values:
            found[setting] = values
    ordered = sorted(found, key=lambda setting: float(np.mean(found[setting])))
    words = [f"{code(setting)} ({number(float(np.mean(found[setting])))})" for setting in ordered]
    absent = [code(setting) for setting in METHODS if setting not in found]
    without = f" No run of {listing(absent)} has finished yet." if absent else ""
    alone = " One seed each orders nothing: it is a first look." if max(map(len, found.values())) == 1 else ""
    return f"By the mean final Fréchet distance, lowest first: {', '.join(words)}.{alone}{without}"


def spreads(evidence: Evidence) -> str:
    """How far apart the optimizer settings are for each method, and whose distance is lowest under each."""
    found = {m: geometric_mean(worst_over_best(evidence, settings)) for m, settings in A_TO_F.items()}
    words = {m: number(estimate.value) for m, estimate in found.items() if estimate.seeds}
    if not words:
        return ""
    winners: dict[str, list[str]] = {}
    for letter in MIYATO:
        distances = {m: final_distances(evidence, f"{letter}-{m}") for m in A_TO_F}
        medians = {m: float(np.median(values)) for m, values in distances.items() if values}
        if medians:
            winners.setdefault(min(medians, key=medians.__getitem__), []).append(letter)
    lowest = listing([f"of {code(m)} under {listing(letters)}" for m, letters in winners.items()])
    return (
        f"The worst distance over the best, within each seed and by the geometric mean: {each(words)}. "
        f"The lowest median is that {lowest}.\n"
    )


def coverage(evidence: Evidence) -> str:
    """Which methods capture the most modes, of how many, and how few of the samples are near one."""
    most, shares = [], []
    for data, (words, modes) in MIXTURES.items():
        rows = ours(evidence.runs.values(), data)
        if not rows:
            continue
        best = max(row.modes for row in rows)
        methods = listing([code(row.method) for row in rows if row.modes == best])
        most.append(f"of {words} by {methods} ({number(best)} of {modes})")
        if SECOND[data] is SHARE:
            share = max((row.second for row in rows if not math.isnan(row.second)), default=math.nan)
            shares.append(f"{percent(share)} on the {words.split()[-1]}")
    said = [f"The most modes, on average, are captured {listing(most)}."] if most else []
    if shares:
        said.append(f"At most {listing(shares)} of a method's samples are within $3\\sigma$ of a mode.")
    return " ".join(said)


def final_distances(evidence: Evidence, setting: str) -> list[float]:
    return list(evidence.of(setting, last("final/frechet_distance")).values())


def claim_words(claims: dict[str, Any]) -> dict[str, str]:
    """Of each claim its sentence, verdict, evidence in one line and full reason; of all, counts and lists."""
    words: dict[str, str] = {}
    for key, claim in claims.items():
        k = key.lower()
        words |= {f"{k}/claim": escape(claim["claim"]), f"{k}/verdict": claim["verdict"]}
        words |= {f"{k}/evidence": evidence_line(claim, TABLE), f"{k}/criterion": escape(claim["criterion"])}
        words |= {f"{k}/sentence": verdict_sentence(key, claim), f"{k}/headline": headline(claim)}
    for verdict in VERDICTS:
        having = [key for key, claim in claims.items() if claim["verdict"] == verdict]
        words[f"count/{verdict}"] = str(len(having))
        words[f"list/{verdict}"] = runs_of(having) if having else "none"
    words["count/all"] = str(len(claims))
    words["summary"] = "; ".join(f"{verdict}: {words[f'list/{verdict}']}" for verdict in VERDICTS)
    words["outcome"] = outcome(claims)
    return words


def outcome(claims: dict[str, Any]) -> str:
    """What held, what did not, and how much is open.

    >>> undecided = {"verdict": "undecided", "missing": []}
    >>> outcome({"C1": {"verdict": "supported", "missing": []}, "C2": undecided, "C3": undecided})
    'Supported: C1. Undecided, though no run is missing: C2 and C3.'
    >>> outcome({"C1": {"verdict": "undecided", "missing": ["sn-0"]}})
    'Undecided, for want of runs: C1.'
    """
    titles = {"supported": "Supported", "refuted": "Refuted", "depends": "Dependent on a condition"}
    having: dict[str, list[str]] = {title: [] for title in (*titles.values(), *OPEN.values())}
    for key, claim in claims.items():
        title = titles.get(claim["verdict"]) or OPEN[bool(claim["missing"])]
        having[title].append(key)
    return " ".join(f"{title}: {runs_of(keys)}." for title, keys in having.items() if keys)


def verdict_sentence(key: str, claim: dict[str, Any]) -> str:
    """Verdict and evidence as one sentence, for running text."""
    says = "depends on a condition" if claim["verdict"] == "depends" else f"is {claim['verdict']}"
    return f"{key} {says} ({evidence_line(claim, TEXT)})."


def evidence_line(claim: dict[str, Any], width: int) -> str:
    """The headline number with its interval; the condition, or what is missing, in `width` letters."""
    said = []
    if claim["effect"]:
        said.append(f"{escape(claim['effect_name'])}: {interval(SeedEstimate(**claim['effect']))}")
    if claim["reason"]:
        said.append(escape(trimmed(shortened(claim["reason"]), width)))
    if claim["known"]:
        said.append(escape(claim["known"]))
    return "; ".join(said)


def headline(claim: dict[str, Any]) -> str:
    """The one number that a poster has room for, or how much is missing.

    >>> headline({"effect": None, "reason": "3 of 9 runs are missing, gp-{1,2}: onelip study paper"})
    '3 of 9 runs are missing'
    """
    if claim["effect"]:
        return f"{escape(claim['effect_name'])}: {number(claim['effect']['value'])}"
    return escape(shortened(claim["reason"]))


def interval(found: SeedEstimate) -> str:
    r"""An estimate with its interval and the number of seeds.

    >>> interval(SeedEstimate(0.5, 0.45, 0.55, 5))
    '0.500 [0.450, 0.550], 5 seeds'
    """
    if not found.seeds:
        return "no seed has it"
    ends = f" [{number(found.low)}, {number(found.high)}]" if found.seeds > 1 else ""
    return f"{number(found.value)}{ends}, {found.seeds} seed{'s' if found.seeds > 1 else ''}"


def shortened(reason: str) -> str:
    """A reason without the names of runs and the commands.

    >>> shortened("12 of 15 runs are missing, gp-{1,2}: onelip study paper --groups main")
    '12 of 15 runs are missing'
    """
    parts = re.findall(r"\d+ of \d+ runs are missing|\S*theory.json lacks [^:]*", reason)
    return "; ".join(parts) if parts else reason
