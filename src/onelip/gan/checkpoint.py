"""Checkpoints that survive a kill at any moment: written atomically, hashed, the last two kept."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from onelip.errors import CheckpointError
from onelip.files import files_by_step, write_atomically

KEPT = 2
_DIGEST_BYTES = hashlib.sha256().digest_size


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `state` as the checkpoint of `step` and drop all but the newest two.

    The file ends in the SHA-256 of what precedes it, so that damage is seen before anything is loaded.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    path = folder / f"step-{step:08d}.pt"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, payload + hashlib.sha256(payload).digest())
    left_by_the_killed = folder.glob(".step-*.partial")  # one process at a time holds a run's folder
    for old in (*checkpoints(folder)[KEPT:], *left_by_the_killed):
        old.unlink()
    return path


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """The state in `path`; CheckpointError where the file is not what was written."""
    content = path.read_bytes()
    payload, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if hashlib.sha256(payload).digest() != digest:
        raise CheckpointError(f"{path} is damaged: its content does not match its SHA-256")
    return torch.load(io.BytesIO(payload), map_location=device, weights_only=True)


def load_newest(folder: Path, device: torch.device) -> tuple[int, dict[str, Any], list[str]]:
    """(step, state, warnings) of the newest whole checkpoint; (0, {}, []) where none was ever written.

    A damaged newer one is named in the warnings. Raises CheckpointError where all are damaged: to
    start over is for the user to decide.
    """
    warnings: list[str] = []
    for path in checkpoints(folder):
        try:
            state = load_checkpoint(path, device)
        except CheckpointError as error:
            warnings.append(str(error))
        else:
            return step_of(path), state, warnings
    if warnings:
        raise CheckpointError(f"{'; '.join(warnings)}: delete {folder.parent} to start this run over")
    return 0, {}, []


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint files, newest first."""
    return files_by_step(folder, "pt")[::-1]


def step_of(path: Path) -> int:
    return int(path.stem.partition("-")[2])
