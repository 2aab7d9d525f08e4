"""Results as Markdown: tables, and where they were measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onelip.provenance import shown
from onelip.study.markdown import LEFT, RIGHT, markdown_table


def table(head: str, rows: Iterable[str]) -> str:
    """A table of lines whose cells have bars between them, all columns but the first flush right.

    >>> print(table("a | b", ["1 | 2"]))
    | a | b |
    | --- | --: |
    | 1 | 2 |
    """
    heads, *cells = [line.split(" | ") for line in (head, *rows)]
    return markdown_table(heads, (LEFT, *[RIGHT] * (len(heads) - 1)), cells)


def where(part: dict[str, Any]) -> str:
    """Commit and machine of one thread's measurement."""
    source = part["provenance"]
    machine = source["machine"]
    return f"Commit {shown(source['commit'])}, {machine['processor']}, {machine['cores']} cores, one thread."
