"""A folder's files as pieces that travel, so that a copy elsewhere follows it.

Files are replaced as a whole, except for those that grow: of these only what is new travels.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from onelip.files import write_atomically

GROWING = ("metrics.jsonl", "tensorboard/*")


class Piece(NamedTuple):
    """Bytes of the file `name` from `offset` to its end; None where the file is gone."""

    name: str
    offset: int
    content: bytes | None


class _Known(NamedTuple):
    stamp: tuple[int, int, int]
    size: int


class Mirror:
    """What of `folder` the copy has: all that is there now, except what grows.

    What grows may be cut back before it grows again, so that it is sent whole the first time. `changes`
    must be called where nothing else writes the files that are replaced.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.known: dict[str, _Known] = {}
        self.changes()
        self.known = {name: known for name, known in self.known.items() if not _grows(name)}

    def changes(self) -> list[Piece]:
        """What happened since the last call, in an order in which a copy is sound after every piece.

        A checkpoint comes after the metrics up to its step, a result after all else, a loss at the end.
        """
        files = _files(self.folder)
        pieces = [piece for name in sorted(files, key=_order) for piece in self._changed(name, files[name])]
        gone = self.known.keys() - files.keys()
        for name in gone:
            del self.known[name]
        return pieces + [Piece(name, 0, None) for name in sorted(gone)]

    def _changed(self, name: str, path: Path) -> list[Piece]:
        status = path.stat()
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        before = self.known.get(name)
        if before is not None and before.stamp == stamp:
            return []
        offset = before.size if before is not None and _grows(name) else 0
        piece = _read(name, path, offset)
        self.known[name] = _Known(stamp, offset + len(piece.content or b""))
        return [piece]


def everything(folder: Path) -> list[Piece]:
    """All files of a folder, whole; those whose name begins with a dot are nobody else's."""
    files = _files(folder)
    return [_read(name, files[name], 0) for name in sorted(files, key=_order)]


def put(folder: Path, pieces: Iterable[Piece]) -> None:
    """Bring the copy in `folder` up to date.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     put(Path(name), [Piece("metrics.jsonl", 0, b"12"), Piece("metrics.jsonl", 1, b"34")])
    ...     (Path(name) / "metrics.jsonl").read_text()
    '134'
    """
    for name, offset, content in pieces:
        path = folder / name
        if content is None:
            path.unlink(missing_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.startswith("checkpoints/"):
            _sync(folder / "metrics.jsonl")  # never a checkpoint of steps whose records a power cut took
        if offset == 0:
            write_atomically(path, content)
        else:
            os.truncate(path, offset)
            with path.open("ab") as file:
                file.write(content)


def _sync(path: Path) -> None:
    """To disk, whoever wrote it."""
    if path.exists():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _files(folder: Path) -> dict[str, Path]:
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _read(name: str, path: Path, offset: int) -> Piece:
    with path.open("rb") as file:
        file.seek(offset)
        return Piece(name, offset, file.read())


def _grows(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in GROWING)


def _order(name: str) -> tuple[bool, bool, str]:
    """What says that all is there comes last: a run's result, a store's record."""
    return name == "result.json" or name.startswith("runs/"), not _grows(name), name
