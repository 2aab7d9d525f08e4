"""The page put together: template, style, script and Plotly in one file that opens offline."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from onelip.files import write_atomically
from onelip.study.figures import METHOD_COLORS
from onelip.study.report.numbers import page_data
from onelip.study.report.read import read_claims, read_w1bench
from onelip.study.report.sections import claims_html, configs_html, numbers_html, w1_html
from onelip.study.runs import StoredRun

LINKS = {
    "numbers": "Numbers",
    "curves": "Curves",
    "samples": "Samples",
    "layers": "Layers",
    "certificate": "Certificate",
    "claims": "Claims",
    "w1": "W₁",
    "configs": "Configurations",
}


def write_report(
    title: str,
    runs: Sequence[StoredRun],
    out: Path,
    study: Path,
    claims: Path | None = None,
    w1bench: Path | None = None,
) -> None:
    """The page of these runs as the file `out`, whole or not at all.

    claims, w1bench: what `onelip study claims` and `onelip w1bench` wrote; by default claims.json and
    w1bench.json in the folder `study` or beside it, where they lie there.
    """
    claims, w1bench = claims or _near(study, "claims.json"), w1bench or _near(study, "w1bench.json")
    verdicts = {} if claims is None else read_claims(claims)
    benchmark = [] if w1bench is None else read_w1bench(w1bench)
    page = report_html(title, runs, verdicts, benchmark)
    write_atomically(out, page.encode(errors="replace"))  # the name of a folder need not be text


def report_html(
    title: str, runs: Sequence[StoredRun], claims: dict[str, Any], benchmark: list[dict[str, Any]]
) -> str:
    """The page as one string. A part without content is left out, with its entry in the navigation."""
    from plotly.offline import get_plotlyjs  # half a second that `onelip --help` does not pay

    runs = sorted(runs, key=_place)
    parts = {"w1": w1_html(benchmark), "claims": claims_html(claims), "configs": configs_html(runs)}
    links = [f'<a href="#{name}">{said}</a>' for name, said in LINKS.items() if parts.get(name, said)]
    return Template(_text("page.html")).substitute(
        parts,
        title=escape(title),
        lead=escape(lead(runs)),
        links="".join(links),
        numbers=numbers_html({run.name: run.summary for run in runs}),
        style=_text("page.css"),
        plotly=get_plotlyjs(),
        data=embedded(page_data(runs)),
        charts=_text("charts.js"),
        script=_text("page.js"),
    )


def lead(runs: Sequence[StoredRun]) -> str:
    """What the study consists of, in one sentence."""
    settings = len({run.setting for run in runs})
    ended = Counter(run.summary["status"] for run in runs)
    data = ", ".join(dict.fromkeys(run.config.data for run in runs))
    counts = ", ".join(f"{count} {status}" for status, count in ended.most_common())
    return f"{_many(len(runs), 'run')} of {_many(settings, 'setting')} on {data}: {counts}."


def embedded(value: object) -> str:
    """JSON that can stand inside a script element: nothing in it ends the element or opens a comment.

    >>> embedded({"name": "</script>"})
    '{"name":"\\\\u003c/script>"}'
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _near(study: Path, name: str) -> Path | None:
    places = (study / name, study.resolve().parent / name)
    return next((path for path in places if path.exists()), None)


def _place(run: StoredRun) -> tuple[int, bool, str, int]:
    """By method, first as it stands, then its other settings, by seed."""
    method = run.config.method
    return list(METHOD_COLORS).index(method), run.setting != method, run.setting, run.config.seed


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _text(name: str) -> str:
    return (files("onelip.study.report") / name).read_text(encoding="utf-8")
