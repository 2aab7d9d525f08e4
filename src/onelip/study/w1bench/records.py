"""The file of finished runs: a list of records, one a configuration, written whole or not at all."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from onelip.errors import DataError
from onelip.files import locked, write_json
from onelip.study.w1bench.scoring import METRICS, as_config
from onelip.study.w1bench.settings import Cell, cell_of

_NUMBERS = ("dim", "funnels", "certified", "seconds", "steps", *METRICS)
_PARTS = {"standard_errors": METRICS, "samples": ("w1",), "config": ("seed",)}  # numbers in them


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records in `path`; none where there is no file. Raises DataError for a file of another kind."""
    if not path.exists():
        return []
    try:
        records = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): move it away or give another --json") from error
    if not isinstance(records, list) or not all(map(_is_record, records)):
        raise DataError(f"{path} holds no benchmark records: move it away or give another --json")
    return records


def _is_record(found: Any) -> bool:
    """Whether it has all that is read of a record, and numbers where numbers are read."""
    if not isinstance(found, dict) or not isinstance(found.get("critic"), str):
        return False
    parts = [(found.get(name), numbers) for name, numbers in _PARTS.items()]
    return all(
        isinstance(part, dict) and all(_is_finite(part.get(name)) for name in numbers)
        for part, numbers in [(found, _NUMBERS), *parts]
    )


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def find(records: list[dict[str, Any]], cell: Cell, w1_samples: int) -> dict[str, Any] | None:
    """The record of a run with exactly this configuration, scored on as many samples."""
    wanted = as_config(cell), w1_samples
    return next((record for record in records if _identity(record) == wanted), None)


def _identity(record: dict[str, Any]) -> tuple[dict[str, Any], int]:
    return record["config"], record["samples"]["w1"]


def by_pair(records: list[dict[str, Any]]) -> dict[tuple[int, int, int], dict[str, dict[str, Any]]]:
    """By (dim, funnels, seed) of a drawn pair, the records by critic: what can be compared on equal terms.

    Only of critics with the settings that the table gives them: a shorter run of one is not that critic. Of
    several scores of one run the one on most samples.
    """
    pairs: dict[tuple[int, int, int], dict[str, dict[str, Any]]] = {}
    for record in sorted(records, key=lambda record: record["samples"]["w1"]):
        key = (record["dim"], record["funnels"], record["config"]["seed"])
        if record["config"] == as_config(cell_of(record["critic"], *key)):
            pairs.setdefault(key, {})[record["critic"]] = record
    return pairs


def add_record(path: Path, record: dict[str, Any]) -> None:
    """Append to what is in `path` by now; another process may have added to it."""
    order = ("dim", "funnels", "critic")
    with locked(path):
        records = [kept for kept in read_records(path) if _identity(kept) != _identity(record)]
        records = sorted([*records, record], key=lambda r: [*(r[k] for k in order), r["config"]["seed"]])
        write_json(path, records)
