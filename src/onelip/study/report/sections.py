"""The parts of the page that need no script: tables of numbers, verdicts, benchmark and configurations."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from onelip.provenance import shown
from onelip.study.claims.statistics import SeedEstimate, number
from onelip.study.runs import StoredRun
from onelip.study.table import cells, columns
from onelip.study.w1bench.table import CAPTION, HEADS, row


def numbers_html(summaries: dict[str, dict[str, Any]]) -> str:
    """The table of final numbers, a row a run."""
    return table_html("Final numbers of each run", columns(summaries).values(), cells(summaries))


def claims_html(claims: dict[str, Any]) -> str:
    """A claim a line, its evidence unfolding."""
    if not claims:
        return ""
    counts = Counter(claim["verdict"] for claim in claims.values())
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    intro = (
        f"<p>{len(claims)} claims, each with a criterion in code: {escape(said)}. "
        "Brackets hold 95 % intervals over seeds.</p>"
    )
    return _section("claims", "Claims", intro + "".join(_claim(*item) for item in claims.items()))


def _claim(key: str, claim: dict[str, Any]) -> str:
    effect = {} if claim["effect"] is None else {claim["effect_name"] or "effect": claim["effect"]}
    rows = [[name, _number(value)] for name, value in (effect | claim["numbers"]).items()]
    facts = {
        "Why": claim["reason"],
        "Known already": claim["known"],
        "Criterion": claim["criterion"],
        "Stands on": claim["sources"],
    }
    said = "".join(f"<dt>{term}</dt><dd>{escape(fact)}</dd>" for term, fact in facts.items() if fact)
    evidence = table_html(f"Numbers behind {key}", ("number", "value"), rows) if rows else ""
    if claim["missing"]:
        names = escape(", ".join(claim["missing"]))
        evidence += f"<details><summary>{len(claim['missing'])} missing</summary><p>{names}</p></details>"
    verdict = escape(claim["verdict"])
    return (
        f'<details class="claim"><summary><span class="key">{escape(key)}</span>'
        f'<span class="sentence">{escape(claim["claim"])}</span>'
        f'<span class="verdict {verdict}">{verdict}</span></summary><dl>{said}</dl>{evidence}</details>'
    )


def _number(value: dict[str, Any] | float) -> str:
    return number(SeedEstimate(**value) if isinstance(value, dict) else value)


def w1_html(records: Sequence[dict[str, Any]]) -> str:
    """The W₁ benchmark, a row a record."""
    if not records:
        return ""
    intro = (
        "<p>Critics on pairs of laws in D dimensions, of N funnels each, whose W₁ and potential are known: "
        "the cosine and the L² distance of their gradients to the true ones, and the error of Ŵ₁.</p>"
    )
    table = table_html("Records of the W₁ benchmark", HEADS, map(row, records))
    return _section("w1", "W₁ benchmark", f"{intro}{table}<p class='note'>{escape(CAPTION)}</p>")


def configs_html(runs: Sequence[StoredRun]) -> str:
    """What all runs have in common, and the fields in which each of them differs; where they were trained."""
    configs = {run.name: dataclasses.asdict(run.config) for run in runs}
    fields = list(next(iter(configs.values())))
    varied = [name for name in fields if len({str(config[name]) for config in configs.values()}) > 1]
    common = [[name, _value(next(iter(configs.values()))[name])] for name in fields if name not in varied]
    own = [[run, *(_value(config[name]) for name in varied)] for run, config in configs.items()]
    return _section(
        "configs",
        "Configurations",
        ("<h3>Of each run</h3>" + table_html("Configuration of each run", ("run", *varied), own))
        + "<details><summary>The same in every run</summary>"
        + table_html("Fields that all runs share", ("field", "value"), common)
        + f"</details><h3>Trained on</h3><ul>{''.join(f'<li>{line}</li>' for line in machines(runs))}</ul>",
    )


def machines(runs: Iterable[StoredRun]) -> list[str]:
    """Commit and machine, with how many runs were started or continued there, as HTML."""
    found = Counter(_start(start) for run in runs for start in run.summary["starts"])
    return [f"{place}: {count} start{'s' if count > 1 else ''}" for place, count in found.items()]


def _start(start: dict[str, Any]) -> str:
    machine = start["machine"]
    place = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"
    )
    accelerator = f", {machine['accelerator']}" if machine["accelerator"] else ""
    commit = start["commit"]
    code = f"commit <code>{escape(shown(commit))}</code>" if commit else "an installed version"
    return f"{code}, torch {escape(start['versions']['torch'])}, {escape(place + accelerator)}"


def table_html(label: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in a box that scrolls, by keyboard too; the first column names the rows."""
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    box = f'class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"'
    return f"<div {box}><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _section(name: str, title: str, body: str) -> str:
    return f'<section id="{name}"><h2>{title}</h2>{body}</section>'


def _value(value: object) -> str:
    return "–" if value is None else str(value)
