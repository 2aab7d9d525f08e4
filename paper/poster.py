"""What the poster draws, read from results/: colours, curves, one row a method, verdicts, samples.

Coordinates and words are written as arguments of macros that poster.tex and its parts define, so that what
things look like stays there. Numbers that are read, not drawn, are printed with \\val.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from documents.measured import read_claims
from onelip.study.claims.evidence import Evidence, is_finished
from onelip.study.figures import METHOD_COLORS, METHOD_TITLES, by_method, curves_of
from onelip.study.runs import StoredRun
from onelip.study.store import STRIP_ROWS
from onelip.study.theory.figures import LOSS_COLORS
from paper.numbers import finite
from paper.sentences import VERDICTS
from paper.text import escape

COMPARED = ("clip", "gp", "sn")  # the classical comparison
SPACING = 0.13  # of the seeds within a row
LOSSES = ("generator_loss", "critic_loss")


def colors() -> str:
    """The figures' palette for TeX: method-NAME and loss-NAME.

    >>> colors().splitlines()[1]
    '\\\\definecolor{method-clip}{HTML}{E69F00}'
    """
    named = {f"method-{name}": color for name, color in METHOD_COLORS.items()}
    named |= {f"loss-{name}": color for name, color in LOSS_COLORS.items()}
    return "".join(
        rf"\definecolor{{{name}}}{{HTML}}{{{color.removeprefix('#')}}}" + "\n"
        for name, color in named.items()
    )


def points(x: Iterable[float], y: Iterable[float]) -> str:
    """Coordinates as pgfplots reads them.

    >>> points([1, 2], [0.5, 3e-9])
    '(1,0.5)(2,3e-09)'
    """
    return "".join(f"({a:.6g},{b:.6g})" for a, b in zip(x, y, strict=True))


def macro(name: str, *arguments: object) -> str:
    r"""A line of TeX.

    >>> macro("row", 1, "sn")
    '\\row{1}{sn}\n'
    """
    return f"\\{name}" + "".join(f"{{{argument}}}" for argument in arguments) + "\n"


def band(steps: np.ndarray, stack: np.ndarray) -> tuple[str, str]:
    """The mean over rows, and the outline of their range."""
    x = np.concatenate([steps, steps[::-1]])
    return points(steps, stack.mean(0)), points(x, np.concatenate([stack.min(0), stack.max(0)[::-1]]))


def losses(evidence: Evidence) -> str:
    """\\laststep{step}, \\curve{METHOD/LOSS}{mean}{range} of each compared method over its seeds."""
    text = macro("laststep", evidence.runs["sn-0"].config.steps)
    for method in COMPARED:
        runs = finished(evidence, method)
        for loss in LOSSES:
            curves = curves_of(runs, loss)
            stack = np.stack([curve.values for curve in curves])
            text += macro("curve", f"{method}/{loss}", *band(curves[0].steps, stack))
    return text


def finished(evidence: Evidence, setting: str) -> list[StoredRun]:
    return [run for run in evidence.all_of(setting) if is_finished(run)]


def gradients(disjoint: dict[str, Any]) -> str:
    """\\curve{LOSS}{mean}{range}: the generator's gradient on digits while its opponent trains."""
    text = ""
    for loss in LOSS_COLORS:
        runs = [run["curve"] for run in disjoint["runs"] if run["law"] == "mnist" and run["loss"] == loss]
        stack = np.array([curve["gradient"][1:] for curve in runs])
        text += macro("curve", loss, *band(np.array(runs[0]["step"][1:]), stack))
    return text


def plan(drawing: dict[str, Any]) -> str:
    """\\moved{x, y}{x, y} for each pair of the cheapest plan between two samples."""
    x, y = drawing["x"], drawing["y"]
    return "".join(
        macro("moved", *(f"{a:.4f},{b:.4f}" for a, b in (x[i], y[j])))
        for i, j in zip(drawing["rows"], drawing["columns"], strict=True)
    )


def rows(evidence: Evidence) -> list[tuple[str, list[StoredRun]]]:
    """Each method that has finished runs, in the order of the palette, with these."""
    found = ((name, finished(evidence, name)) for name in by_method(evidence.runs.values()))
    return [(name, runs) for name, runs in found if runs]


def methods(evidence: Evidence) -> str:
    r"""\methods{count}{rows}: \method{row}{name}{title}, \cost and \distance{row}{name}{mean}{low}{high}.

    Lengths are shares of the longest bar's, which shows the largest value of all seeds.
    """
    found = rows(evidence)
    text = "".join(macro("method", row, name, METHOD_TITLES[name]) for row, (name, _) in enumerate(found))
    for bar, metric in (("cost", "seconds"), ("distance", "frechet")):
        values = [list(finite(evidence, name, metric).values()) for name, _ in found]
        longest = max(max(seeds, default=0.0) for seeds in values)
        for row, ((name, _), seeds) in enumerate(zip(found, values, strict=True)):
            if seeds:
                ends = (float(np.mean(seeds)), min(seeds), max(seeds))
                text += macro(bar, row, name, *(f"{end / longest:.4f}" for end in ends))
    return macro("methods", len(found), text)


def constants(evidence: Evidence) -> str:
    """\\constant{height}{name}{witnessed}{proved} of each seed, at the end of its training."""
    text = ""
    for row, (name, runs) in enumerate(rows(evidence)):
        for i, run in enumerate(runs):
            bounds = (run.summary["last"][f"certificate/{end}"] for end in ("lower", "upper"))
            height = row + SPACING * (i - (len(runs) - 1) / 2)
            text += macro("constant", f"{height:.4g}", name, *(f"{bound:.6g}" for bound in bounds))
    return text


def verdicts(claims: dict[str, Any]) -> str:
    """\\verdict{claim}{VERDICT}{sentence} of each claim."""
    return "".join(
        macro("verdict", key.lower(), claim["verdict"], escape(abbreviated(claim["claim"])))
        for key, claim in claims.items()
    )


def abbreviated(sentence: str) -> str:
    """A claim in the letters that the poster's heading spells out.

    >>> abbreviated("Spectral normalization is cheaper than the gradient penalty.")
    'SN is cheaper than GP.'
    """
    for name, letters in (("spectral normalization", "SN"), ("the gradient penalty", "GP")):
        sentence = re.sub(name, letters, sentence, flags=re.IGNORECASE)
    return sentence


def counts(claims: dict[str, Any]) -> str:
    """\\verdictcount{VERDICT}{count} of each kind."""
    found = [claim["verdict"] for claim in claims.values()]
    return "".join(macro("verdictcount", verdict, found.count(verdict)) for verdict in VERDICTS)


def citation(source: Path) -> str:
    """What the QR code says: the repository's address where there is one, else whom and what to cite."""
    said = dict(re.findall(r'^[ -]*([a-z-]+): "?(.*?)"?$', source.read_text(), re.MULTILINE))
    return said.get("repository-code") or f"{said['title']}. {said['name']}, {said['version']}."


def digits(strip: Path) -> Image.Image:
    """The last row of a setting's samples over time, ink on white."""
    picture = Image.open(strip).convert("L")
    return ImageOps.invert(picture.crop((0, picture.height - picture.height // STRIP_ROWS, *picture.size)))


def write(evidence: Evidence, folder: Path) -> None:
    """Write the files that poster.tex reads into `folder`. Raises where results/ lacks what they show."""
    results = evidence.results
    claims = read_claims(results)
    cited = escape(citation(results.parent / "CITATION.cff"))
    folder.mkdir(parents=True, exist_ok=True)
    parts = {
        "colors": colors(),
        "losses": losses(evidence),
        "gradients": gradients(evidence.theory["disjoint"]["result"]),
        "plan": plan(evidence.theory["duality"]["result"]["drawing"]),
        "methods": methods(evidence),
        "constants": constants(evidence),
        "verdicts": verdicts(claims),
        "counts": counts(claims),
        # The package that draws the code drops bare spaces.
        "citation": macro(r"def\citation", cited) + macro(r"def\coded", cited.replace(" ", r"\ ")),
    }
    for name, text in parts.items():
        (folder / f"{name}.tex").write_text(text)
    for name, _ in rows(evidence):
        digits(results / "study" / "samples" / f"{name}.png").save(folder / f"digits-{name}.png")
