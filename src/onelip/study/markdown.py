"""Tables in Markdown, as README and docs show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

LEFT, RIGHT = "---", "--:"


def markdown_table(heads: Sequence[str], sides: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """sides: LEFT or RIGHT a column.

    >>> print(markdown_table(("run", "steps"), (LEFT, RIGHT), [("sn-0", "900")]))
    | run | steps |
    | --- | --: |
    | sn-0 | 900 |
    """
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, sides, *rows))
