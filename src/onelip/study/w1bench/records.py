"""The file of finished runs: a list of records, one a configuration, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onelip.errors import DataError
from onelip.files import locked, write_json
from onelip.study.w1bench.scoring import METRICS, as_config
from onelip.study.w1bench.settings import Cell, cell_of

_NEEDED = {
    *("dim", "funnels", "critic", "certified", "seconds", "steps", "standard_errors", "samples", "config"),
    *METRICS,
}


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records in `path`; none where there is no file. Raises DataError for a file of another kind."""
    if not path.exists():
        return []
    try:
        records = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): move it away or give another --json") from error
    if not isinstance(records, list) or not all(isinstance(r, dict) and r.keys() >= _NEEDED for r in records):
        raise DataError(f"{path} holds no benchmark records: move it away or give another --json")
    return records


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
