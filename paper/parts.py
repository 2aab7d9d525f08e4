"""Parts of the experiments' section, as TeX: floats and what is said of them.

Where the runs of a part are missing there is no float: its file says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from onelip.study.claims.evidence import Evidence
from onelip.study.presets import CONSTRAINTS, PRESETS
from paper.numbers import counts
from paper.sentences import coverage, groups_state, spreads
from paper.tables import losses, modes


class Part(NamedTuple):
    """Groups of the preset that are shown together: by a figure, a table, or both, each with its caption."""

    groups: tuple[str, ...]
    figure: str = ""
    caption: str = ""
    table: Callable[[Evidence], str] | None = None
    title: str = ""
    says: Callable[[Evidence], str] | None = None


PARTS = {
    "settings": Part(
        ("settings", "settings-operator"),
        "sensitivity",
        r"Final Fréchet distance under the optimizer settings of \citet{miyato2018}: learning rate, betas of "
        "Adam, critic steps a generator step. Medians over seeds; darker is worse.",
        says=spreads,
    ),
    "knobs": Part(
        ("clip", "penalty", "target", "iterations"),
        "knobs",
        "Final Fréchet distance against each method's own knob: every seed, and the line of the medians; a "
        "cross at the upper edge is a run that diverged.",
    ),
    "cost": Part(
        ("cost",),
        "cost",
        "Processor time of a generator step against width, over that without a constraint.",
    ),
    "losses": Part(
        ("losses", "baseline"),
        "losses",
        "Fréchet distance of two thousand samples over the training, of other losses and of the relativistic "
        "baseline. A curve a run.",
        losses,
        "Other losses, and the relativistic baseline: generator steps, critic steps before each; means over "
        "seeds, ranges in parentheses.",
    ),
    "modes": Part(
        ("ring", "grid", "stacked"),
        "plane",
        "Generated points of seed zero over level lines of the critic; crosses are the modes.",
        modes,
        r"Modes captured, share of the samples within $3\sigma$ of one, and divergence of the captured modes "
        "from the uniform law in nats: means over the seeds, ranges in parentheses.",
        says=coverage,
    ),
}


def floats(evidence: Evidence, name: str, figures: set[str]) -> str:
    """What a part shows, as floats and a sentence that refers to them; only what is missing where none is.

    Settings of the main group alone, which other groups share, are nothing to show.
    """
    part = PARTS[name]
    said = groups_state({group: counts(evidence, group) for group in part.groups}) + "\n"
    settings = [s for group in part.groups for s in PRESETS["paper"].groups[group].settings]
    if not any(evidence.all_of(s) for s in settings if s not in CONSTRAINTS):
        return said
    bodies = {}
    if part.figure in figures:
        picture = rf"\includegraphics[max width=\linewidth]{{figures/{part.figure}}}" + "\n"
        bodies[f"fig:{name}"] = picture + rf"\caption{{{part.caption}}}"
    if part.table is not None:
        fitted = r"\adjustbox{max width=\linewidth}{" + part.table(evidence) + "}"
        bodies[f"tab:{name}"] = rf"\caption{{{part.title}}}" + "\n" + fitted
    shown = "".join(floating(label, body) for label, body in bodies.items())
    words = part.says(evidence) if part.says is not None else ""
    return shown + (rf"See \cref{{{','.join(bodies)}}}. " if bodies else "") + said + words


def floating(label: str, body: str) -> str:
    kind = "figure" if label.startswith("fig") else "table"
    body = body.replace(r"\caption{", rf"\caption{{\label{{{label}}}", 1)
    return rf"\begin{{{kind}}}[tbp]\centering\small" + f"\n{body}\n" + rf"\end{{{kind}}}" + "\n"


def render_parts(evidence: Evidence, figures: set[str]) -> dict[str, str]:
    """All parts by the path of their file in the build folder; figures: names of those that were drawn."""
    return {f"parts/{name}.tex": floats(evidence, name, figures) for name in PARTS}
