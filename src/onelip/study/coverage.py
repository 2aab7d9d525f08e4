"""Mode coverage of the study's runs beside what was published under the same protocols.

Srivastava et al., "VEEGAN", NeurIPS 2017; Lin, Khetan, Fanti, Oh, "PacGAN", NeurIPS 2018; Elfeki, Couprie,
Riviere, Elhoseiny, "GDPP", ICML 2019; Huang, Gokaslan, Kuleshov, Tompkin, "The GAN is dead; long live the
GAN! A modern GAN baseline" (R3GAN), NeurIPS 2024. Their values are in published_coverage.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from onelip.study.markdown import LEFT, RIGHT, markdown_table
from onelip.study.presets import PRESETS
from onelip.study.runs import StoredRun


class Second(NamedTuple):
    """What is given beside the modes of a data set: as a reader sees it, and as runs record it."""

    title: str
    metric: str


SHARE = Second("share within 3σ", "share")
SECOND = {"ring": SHARE, "grid": SHARE, "stacked-mnist": Second("KL, nats", "kl")}
GROUPS = {"ring": "ring", "grid": "grid", "stacked-mnist": "stacked"}


class Row(NamedTuple):
    """modes: captured. second: the share of samples within 3σ, or KL.

    Of ours means over seeds: of `second` over those that finished, while one that diverged captured no mode.
    """

    method: str
    modes: float
    second: float
    source: str


def published(data: str) -> list[Row]:
    """What others reached on ring, grid or stacked-mnist.

    >>> published("ring")[1]
    Row(method='VEEGAN', modes=8.0, second=0.529, source='VEEGAN, table 1')
    """
    content = json.loads(Path(__file__).with_name("published_coverage.json").read_text())
    return [Row(**row) for row in content[data]]


def ours(runs: Iterable[StoredRun], data: str) -> list[Row]:
    """A row a setting of the group; runs that diverged are said, and captured nothing."""
    settings = PRESETS["paper"].groups[GROUPS[data]].settings
    found: dict[str, list[StoredRun]] = {setting: [] for setting in settings}
    for run in runs:
        if run.setting in found and run.result is not None:
            found[run.setting].append(run)
    return [_row(setting, data, group) for setting, group in found.items() if group]


def _row(setting: str, data: str, runs: list[StoredRun]) -> Row:
    metric = f"final/{SECOND[data].metric}"
    finished = [run.summary["last"] for run in runs if metric in run.summary["last"]]
    diverged = sum(run.result is not None and run.result.status == "diverged" for run in runs)
    said = f"here, {len(runs)} seed" + ("s" if len(runs) > 1 else "")
    said += f", {diverged} diverged" if diverged else ""
    modes = sum(last["final/modes"] for last in finished) / len(runs)
    second = float(np.mean([last[metric] for last in finished])) if finished else np.nan
    return Row(setting.removeprefix(f"{data}-"), modes, second, said)


def markdown(runs: Iterable[StoredRun]) -> str:
    """A table for each data set, ours below what was published."""
    runs = list(runs)
    return "\n\n".join(_table(data, [*published(data), *ours(runs, data)]) for data in SECOND)


def _table(data: str, rows: list[Row]) -> str:
    heads, sides = (data, "modes", SECOND[data].title, "source"), (LEFT, RIGHT, RIGHT, LEFT)
    texts = [(row.method, f"{row.modes:.4g}", f"{row.second:.3g}", row.source) for row in rows]
    return markdown_table(heads, sides, texts)
