"""The records as a table, each beside what was published for its size."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from onelip.rounding import decimal
from onelip.study.w1bench.published import COMPARABLE, published

WIDTH = 130  # of the widest row
HEADS = ("D", "N", "critic", "seed", "cos", "best", "L²", "best", "Ŵ₁", "error, %", "Lipschitz ≤", "s")
CAPTION = (
    "± standard errors. best: the best of 11 published solvers on another pair of that size, as context; "
    f"scored by another arithmetic below D = {COMPARABLE}. "
    "s: processor seconds of training."
)


def table(records: list[dict[str, Any]]) -> Table:
    """A row a record."""
    page = Table(*HEADS, box=box.SIMPLE, pad_edge=False, caption=CAPTION, caption_justify="left")
    for record in records:
        page.add_row(*row(record))
    return page


def row(record: dict[str, Any]) -> list[str]:
    """The cells of one record, each estimate with its standard error."""
    context = published(record["dim"], record["funnels"])
    return [
        str(record["dim"]),
        str(record["funnels"]),
        record["critic"],
        str(record["config"]["seed"]),
        _estimate(record, "cos"),
        "–" if context is None else f"{context.cos:.3f}",
        _estimate(record, "l2"),
        "–" if context is None else f"{context.l2:.3f}",
        _estimate(record, "w1"),
        _estimate(record, "deviation", percent=True),
        decimal(record["certified"], 7, "upper"),
        f"{record['seconds']:.0f}",
    ]


def _estimate(record: dict[str, Any], name: str, percent: bool = False) -> str:
    scale, digits = (100, 2) if percent else (1, 3)
    return f"{scale * record[name]:.{digits}f} ± {scale * record['standard_errors'][name]:.{digits}f}"
