"""A number as it is quoted: its text and where it was read."""

from __future__ import annotations

from typing import NamedTuple


class Value(NamedTuple):
    """What \\val prints, and the file or files that it was read from."""

    text: str
    source: str


Table = dict[str, Value]
