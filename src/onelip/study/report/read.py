"""What a page shows, read from a folder: its runs, and the verdicts and the benchmark that lie beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onelip.errors import ArgumentError, CheckpointError, DataError
from onelip.study.runs import StoredRun, read_run
from onelip.study.store import read_records, with_all_steps
from onelip.study.w1bench.records import read_records as read_benchmark

_CLAIM = {
    "claim",
    "criterion",
    "sources",
    "verdict",
    "reason",
    "effect",
    "effect_name",
    "numbers",
    "missing",
    "known",
}


def read_study(path: Path) -> list[StoredRun]:
    """Every run of a study's folder (its store included) or of a store.

    Raises ArgumentError where there is no such folder, CheckpointError where no run in it has ended with a
    recorded step.
    """
    remedy = "name a folder that `onelip study` wrote, or a store of runs"
    if not path.is_dir():
        raise ArgumentError("study", "a folder", path, remedy)
    stored = {name: run for store in (path / "store", path) for name, run in read_records(store).items()}
    runs = {name: with_all_steps(run, path / "runs" / name) for name, run in stored.items()}
    folders = [file.parent for file in sorted(path.glob("runs/*/config.json"))]
    runs |= {folder.name: read_run(folder) for folder in folders if folder.name not in stored}
    if not runs:
        raise CheckpointError(f"{path} holds no run: {remedy}")
    if not any(run.result and run.curves for run in runs.values()):
        raise CheckpointError(f"of {len(runs)} runs in {path} none has finished: let the study go on first")
    return list(runs.values())


def read_claims(path: Path) -> dict[str, Any]:
    """The verdicts by claim, as `onelip study claims` wrote them. Raises DataError for another file."""
    try:
        claims = json.loads(path.read_text())["claims"]
        if all(claim.keys() >= _CLAIM for claim in claims.values()):
            return claims
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise DataError(f"{path} holds no claims: onelip study claims writes such a file")


def read_w1bench(path: Path) -> list[dict[str, Any]]:
    """The records of the W₁ benchmark. Raises DataError where there are none."""
    records = read_benchmark(path)
    if not records:
        raise DataError(f"{path} holds no benchmark records: onelip w1bench writes such a file")
    return records
