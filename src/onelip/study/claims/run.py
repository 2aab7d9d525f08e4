"""`onelip study claims`: every verdict with its numbers, on the terminal and as JSON."""

from __future__ import annotations

import dataclasses
import textwrap
from pathlib import Path
from typing import Any

from onelip.errors import ArgumentError
from onelip.files import require_place, write_json
from onelip.provenance import provenance
from onelip.study.claims.evidence import compact, digest, read_evidence
from onelip.study.claims.statistics import number
from onelip.study.claims.table import CLAIMS, sources
from onelip.study.claims.verdict import Claim, Verdict, decide

WIDTH = 118
SHOWN = 8


def run_claims(results: Path, out: Path) -> str:
    """Decide every claim from what RESULTS holds, write the JSON file `out`, and return the text."""
    if not (results / "study").is_dir() and not (results / "theory.json").is_file():
        wanted = "a folder with study/ or theory.json"
        raise ArgumentError("results", wanted, results, "pass --results results")
    evidence = read_evidence(results)
    verdicts = {claim: decide(claim, evidence) for claim in CLAIMS}
    claims = {claim.key: as_json(claim, verdict) for claim, verdict in verdicts.items()}
    require_place(out)
    write_json(out, {"provenance": provenance(), "inputs": digest(results), "claims": claims})
    blocks = [block(claim, verdict, out) for claim, verdict in verdicts.items()]
    if evidence.ignored:
        blocks.append(f"not of the preset, and no part of this: {compact(list(evidence.ignored))}")
    return "\n\n".join(blocks)


def as_json(claim: Claim, verdict: Verdict) -> dict[str, Any]:
    """A verdict with the claim that it is of, as plain values."""
    words = {"claim": claim.sentence, "criterion": claim.criterion, "sources": sources(claim)}
    return words | dataclasses.asdict(verdict)


def block(claim: Claim, verdict: Verdict, out: Path) -> str:
    """The lines of one claim: verdict, why, headline number, other numbers, criterion, sources."""
    lines = [f"{claim.key}  {verdict.verdict.upper()}  {claim.sentence}"]
    numbers = dict(verdict.numbers)
    if verdict.effect is not None:
        numbers = {verdict.effect_name: verdict.effect} | numbers
    details = [verdict.reason] if verdict.reason else []
    details += [f"known already: {verdict.known}"] if verdict.known else []
    details += [f"{name}: {number(value)}" for name, value in list(numbers.items())[: SHOWN + 1]]
    if len(numbers) > SHOWN + 1:
        details.append(f"… and more in {out}")
    details += [f"criterion: {claim.criterion}", f"stands on: {sources(claim)}"]
    for detail in details:
        lines += textwrap.wrap(
            detail, WIDTH, initial_indent="    ", subsequent_indent="      ", break_on_hyphens=False
        )
    return "\n".join(lines)
