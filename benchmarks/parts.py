"""A JSON file of one result, or of several parts, each measured by a command of its own."""

from __future__ import annotations

import json
from pathlib import Path

from onelip.files import locked, write_json


def put_part(path: Path, name: str | None, part: object) -> None:
    """Replace one part of the file, or all of it where `name` is None; it is made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        parts = json.loads(path.read_text()) if path.exists() else {}
        write_json(path, part if name is None else parts | {name: part})
