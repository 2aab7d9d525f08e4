"""One page that shows a study: figures, a table of final numbers, the configurations. Opens offline."""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path
from typing import Any

from onelip.study.table import cells, columns

FIGURE_TITLES = {
    "generator_loss": "Generator loss",
    "critic_loss": "Critic loss",
    "frechet_distance": "Fréchet distance against steps and seconds",
    "gradient_norm": "Gradient norms",
    "operator_norm": "Norms of the critic's layers",
    "certified_interval": "Certified interval of the critic's Lipschitz constant",
    "samples": "Samples from fixed noise",
}

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem;
       color-scheme: light dark; }
figure { margin: 1.5rem 0; background: white; border-radius: 6px; padding: .5rem; }
img { width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td { white-space: nowrap; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
pre { overflow-x: auto; }
"""


def report_html(
    title: str, summary: dict[str, Any], configs: dict[str, Any], figures: dict[str, Path]
) -> str:
    """The page as one string, pictures embedded."""
    pictures = "".join(_figure(name, path) for name, path in figures.items())
    details = "".join(
        f"<details><summary>{escape(name)}</summary>{_json(config)}</details>"
        for name, config in configs.items()
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><h2>Final numbers</h2><p>Means over the last tenth of each run. Losses and "
        "gradients of critics with different Lipschitz constants are on different scales.</p>"
        f'<div class="scroll">{_table(summary["runs"])}</div>{pictures}<h2>Configurations</h2>{details}'
        f"<h2>Machine</h2>{_json(summary['provenance'])}</body></html>\n"
    )


def _json(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=1))}</pre>"


def _figure(name: str, path: Path) -> str:
    title = FIGURE_TITLES[name]
    data = base64.b64encode(path.read_bytes()).decode()
    picture = f'<img alt="{title}, by method" src="data:image/svg+xml;base64,{data}">'
    return f"<h2>{title}</h2><figure>{picture}</figure>"


def _table(runs: dict[str, dict[str, Any]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in columns(runs).values())
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in cells(runs)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
