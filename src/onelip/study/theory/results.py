"""The file of the theory's results: by experiment, written by one command and read by others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onelip.errors import DataError
from onelip.files import locked, write_json


def read_theory(folder: Path) -> dict[str, Any]:
    """What FOLDER/theory.json holds, by experiment; nothing where there is no such file.

    Raises DataError for a file of another kind.
    """
    path = folder / "theory.json"
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): {_remedy(folder)}") from None
    if not isinstance(found, dict) or not all(_is_entry(entry) for entry in found.values()):
        raise DataError(f"{path} holds no experiments: {_remedy(folder)}")
    return found


def keep(folder: Path, name: str, entry: dict[str, Any]) -> None:
    """Put one experiment beside those that FOLDER/theory.json holds by now; another process may add to it."""
    path = folder / "theory.json"
    with locked(path):
        write_json(path, dict(sorted({**read_theory(folder), name: entry}.items())))


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and "config" in entry and isinstance(entry.get("result"), dict)


def _remedy(folder: Path) -> str:
    return f"move it away, and onelip theory --out {folder} writes it anew"
