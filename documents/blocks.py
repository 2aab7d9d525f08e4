"""The generated parts of README and docs/: what stands between `<!-- generated: NAME -->` and `<!-- end -->`
is written by the writer of that name."""

from __future__ import annotations

import re

import matplotlib as mpl

from documents import performance, readme, scaling, w1
from documents.measured import RESULTS, ROOT
from onelip.files import write_json
from onelip.study import coverage
from onelip.study.claims import table as claims
from onelip.study.claims.evidence import digest
from onelip.study.figures import STYLE, save_figure
from onelip.study.gallery import draw_all
from onelip.study.store import read_records

STORE = RESULTS / "study"
SHOWN = ("frechet_distance", "losses", "certified_interval", "cost")
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
WRITERS = {
    "criteria": claims.markdown,
    "coverage": lambda: coverage.markdown(read_records(STORE).values()),
} | {
    writer.__name__: writer
    for writer in (
        *(readme.quick, readme.soundness, readme.speed, readme.verdicts),
        *(w1.w1bench, w1.w1standing, w1.exact_potential),
        *(performance.throughput, performance.constraint, performance.growth, performance.startup),
        *(performance.goals, performance.ratios),
        *(scaling.scaling_measured, scaling.scaling_sweep, scaling.scaling_layers, scaling.scaling_step),
    )
}


def current(text: str) -> str:
    """A document with its generated parts as results/ has them."""
    return BLOCK.sub(lambda match: f"{match[1]}{WRITERS[match[2]]()}\n{match[3]}", text)


def draw() -> None:
    """The README's pictures of the whole study, and what they were drawn from."""
    with mpl.rc_context(STYLE):
        drawn = draw_all(list(read_records(STORE).values()), STORE)
        for name in SHOWN:
            save_figure(drawn[name], STORE / "figures", name, ("png",))
    write_json(STORE / "figures" / "source.json", digest(RESULTS))
