"""All figures of a study, each as SVG, PNG and PDF."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from onelip.study.comparisons import cost, knobs, losses, plane, sensitivity
from onelip.study.figures import FIGURES, NEEDS, STYLE, by_method, save_figure
from onelip.study.runs import StoredRun


def draw_all(runs: list[StoredRun], store: Path) -> dict[str, Figure]:
    """Every figure that the runs have something for, by name."""
    drawn: dict[str, Figure | None] = {}
    for name, draw in FIGURES.items():
        groups = by_method(run for run in runs if name not in NEEDS or NEEDS[name] in run.curves)
        drawn[name] = draw(groups) if groups else None
    drawn |= {draw.__name__: draw(runs) for draw in (losses, sensitivity, knobs, cost)}
    drawn["plane"] = plane(runs, store)
    return {name: figure for name, figure in drawn.items() if figure is not None}


def write_figures(runs: list[StoredRun], folder: Path, store: Path) -> dict[str, Path]:
    """Write them to `folder`; the SVG of each by name."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        drawn = draw_all(runs, store)
        for name, figure in drawn.items():
            save_figure(figure, folder, name, ("svg", "png", "pdf"))
    return {name: folder / f"{name}.svg" for name in drawn}
