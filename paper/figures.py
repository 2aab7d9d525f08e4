"""Figures from results/, drawn by the study's own functions; LaTeX sets their text in the document's font."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from onelip.study import comparisons
from onelip.study import figures as study
from onelip.study.claims.evidence import Evidence
from onelip.study.runs import StoredRun
from onelip.study.theory import figures as theory

HERE = Path(__file__).parent
CLASSICAL = ("clip", "gp", "sn")
PREAMBLE = rf"""
\usepackage[T1]{{fontenc}}
\usepackage{{lmodern,amsmath,amssymb,newunicodechar}}
\pdfinfoomitdate=1
\pdftrailerid{{}}
\input{{{HERE / "symbols.tex"}}}
"""
STYLE: dict[Any, Any] = study.STYLE | {
    "pgf.texsystem": "pdflatex",
    "pgf.rcfonts": False,
    "pgf.preamble": PREAMBLE,
    "font.family": "serif",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "axes.linewidth": 0.6,
}
# Width and height in inches; the page's line is 6.3 wide, and wider ones are scaled down to it.
THEORY_SIZES = {"disjoint": (7.4, 4.5), "duality": (9.6, 3.7), "product": (8.4, 3.9), "power": (9.2, 3.8)}
STUDY_FIGURES: dict[str, tuple[Callable[[study.Grouped], Figure], bool, tuple[float, float]]] = {
    "generator_loss": (study.generator_loss, True, (6.8, 1.5)),
    "critic_loss": (study.critic_loss, True, (6.8, 1.5)),
    "gradient_norm": (study.gradient_norm, True, (7.0, 2.5)),
    "certified_interval": (study.certified_interval, True, (6.8, 1.5)),
    "operator_norm": (study.operator_norm, True, (7.0, 2.1)),
    "frechet_distance": (study.frechet_distance, False, (7.4, 1.8)),
}

COMPARISONS: dict[str, tuple[Callable[[list[StoredRun]], Figure | None], tuple[float, float]]] = {
    "losses": (comparisons.losses, (7.4, 1.5)),
    "sensitivity": (comparisons.sensitivity, (7.4, 1.35)),
    "knobs": (comparisons.knobs, (8.4, 1.45)),
    "cost": (comparisons.cost, (7.6, 1.45)),
}


def write_figures(evidence: Evidence, folder: Path) -> set[str]:
    """Draw FOLDER/NAME.pdf and copy the samples to FOLDER/samples.

    Returns the names of the comparisons that were drawn: those whose runs are missing are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = evidence.results / "study"
    runs = list(evidence.runs.values())
    with mpl.rc_context(STYLE):
        for name, size in THEORY_SIZES.items():
            save(theory.FIGURES[name](evidence.theory[name]["result"]), folder / f"{name}.pdf", size)
        for name, (draw, classical, size) in STUDY_FIGURES.items():
            need = study.NEEDS.get(name)
            groups = study.by_method(run for run in runs if need is None or need in run.curves)
            if classical:
                groups = {method: groups[method] for method in CLASSICAL}
            save(draw(groups), folder / f"{name}.pdf", size)
        drawn = {name: draw(runs) for name, (draw, _) in COMPARISONS.items()}
        drawn["plane"] = comparisons.plane(runs, store)
        drawn = {name: figure for name, figure in drawn.items() if figure is not None}
        for name, figure in drawn.items():
            width, height = COMPARISONS[name][1] if name in COMPARISONS else figure.get_size_inches()
            save(figure, folder / f"{name}.pdf", (min(width, figure.get_figwidth()), height))
    shutil.copytree(store / "samples", folder / "samples", dirs_exist_ok=True)
    return set(drawn)


def save(figure: Figure, path: Path, size: tuple[float, float]) -> None:
    figure.set_size_inches(size)
    figure.savefig(path, backend="pgf")
