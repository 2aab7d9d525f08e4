"""Sentences that say which way an effect goes, or what is missing: chosen from the results, never typed."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from onelip.study.claims.evidence import Evidence, Needs, required_runs
from onelip.study.claims.measures import last
from onelip.study.claims.run import number as number_text
from onelip.study.claims.statistics import Estimate
from onelip.study.presets import CONSTRAINTS
from paper.text import code, escape, listing, number

VERDICTS = ("supported", "refuted", "depends", "undecided")


def group_state(group: str, stored: int, required: int) -> str:
    """How much of a group has been trained, with the command that trains the rest.

    >>> group_state("ring", 35, 35)
    'All 35 runs of the group \\\\texttt{ring} are in the store.'
    """
    name = code(group)
    if stored == required:
        return f"All {required} runs of the group {name} are in the store."
    command = code(f"onelip study paper --groups {group} --store results/study")
    if stored == 0:
        return (
            f"None of the {required} runs of the group {name} is in the store yet, "
            f"and nothing is said of it here; {command} trains them."
        )
    return (
        f"{stored} of the {required} runs of the group {name} are in the store; {command} trains the others."
    )


def seeds_of(evidence: Evidence, group: str) -> str:
    """Finished seeds a setting of a group: one number where all have as many.

    Settings without any are not counted: group_state says that runs are missing.
    """
    settings = dict.fromkeys(name.rpartition("-")[0] for name in required_runs(Needs({group: ()})))
    counts = {setting: len(evidence.of(setting, lambda run: 0.0)) for setting in settings}
    found = sorted({count for count in counts.values() if count})
    if not found:
        return "no seeds"
    few, many = found[0], found[-1]
    if few == many:
        return f"{few} seed{'s' if few > 1 else ''}"
    return f"{few} to {many} seeds"


def ranking(evidence: Evidence) -> str:
    """The methods of the main group by their mean final Fréchet distance, best first."""
    found = {}
    for setting in CONSTRAINTS:
        values = list(evidence.of(setting, last("final/frechet_distance")).values())
        if values:
            found[setting] = values
    ordered = sorted(found, key=lambda setting: float(np.mean(found[setting])))
    words = [f"{code(setting)} ({number(float(np.mean(found[setting])))})" for setting in ordered]
    absent = [code(setting) for setting in CONSTRAINTS if setting not in found]
    without = f" No run of {listing(absent)} has finished yet." if absent else ""
    alone = " One seed each orders nothing: it is a first look." if max(map(len, found.values())) == 1 else ""
    return f"By the mean final Fréchet distance, lowest first: {', '.join(words)}.{alone}{without}"


def claim_words(claims: dict[str, Any]) -> dict[str, str]:
    """Of each claim its sentence, verdict, evidence in one line and full reason; of all, counts and lists."""
    words: dict[str, str] = {}
    for key, claim in claims.items():
        k = key.lower()
        words |= {f"{k}/claim": escape(claim["claim"]), f"{k}/verdict": claim["verdict"]}
        words |= {f"{k}/evidence": evidence_line(claim), f"{k}/criterion": escape(claim["criterion"])}
        words[f"{k}/sentence"] = verdict_sentence(key, claim)
    for verdict in VERDICTS:
        having = [key for key, claim in claims.items() if claim["verdict"] == verdict]
        words[f"count/{verdict}"] = str(len(having))
        words[f"list/{verdict}"] = listing(having) if having else "none"
    words["count/all"] = str(len(claims))
    words["summary"] = "; ".join(f"{verdict}: {words[f'list/{verdict}']}" for verdict in VERDICTS)
    return words


def verdict_sentence(key: str, claim: dict[str, Any]) -> str:
    """Verdict and evidence as one sentence, for running text."""
    return f"{key} is {claim['verdict']} ({evidence_line(claim)})."


def evidence_line(claim: dict[str, Any]) -> str:
    """The headline number with its interval and the condition; or how much is missing."""
    said = []
    if claim["effect"]:
        said.append(f"{claim['effect_name']}: {number_text(Estimate(**claim['effect']))}")
    if claim["reason"]:
        said.append(shortened(claim["reason"]))
    return escape("; ".join(said))


def shortened(reason: str) -> str:
    """A reason without the names of runs and the commands.

    >>> shortened("12 of 15 runs are missing, gp-{1,2}: onelip study paper --groups main")
    '12 of 15 runs are missing'
    """
    parts = re.findall(r"\d+ of \d+ runs are missing|\S*theory.json lacks [^:]*", reason)
    return "; ".join(parts) if parts else reason
