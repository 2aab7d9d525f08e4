"""Files that are either whole or not there: write aside, flush to disk, rename."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`; a crash at any moment leaves the old file or the new one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
        _sync(path.parent)
    except OSError as error:
        error.filename = str(path)  # the name that the user knows
        error.filename2 = None
        raise
    finally:
        with suppress(OSError):
            aside.unlink()


def _sync(folder: Path) -> None:
    """The new name to disk, where the file system can: after a power cut the old one would stand there."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone with a file that several processes read, change and write; the others wait.

    What is locked is its folder: the file itself is replaced, and another one would be left behind.
    """
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def require_place(path: Path) -> None:
    """Make the folder of a file that is to be written, before the work whose result it is to hold.

    Raises OSError, which names the folder, where nothing can be written, and the file where it is none: a
    device or a pipe would be replaced, too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if not os.access(path.parent, os.W_OK) or path.is_dir():
        code = errno.EISDIR if path.is_dir() else errno.EACCES
        raise OSError(code, os.strerror(code), str(path))


def files_by_step(folder: Path, ending: str) -> list[Path]:
    """The files step-<number>.<ending> of a folder in order; copies that a sync named are left out."""
    found = {path.stem.removeprefix("step-"): path for path in folder.glob(f"step-*.{ending}")}
    return [found[number] for number in sorted(filter(str.isdecimal, found), key=int)]


def write_json(path: Path, value: object) -> None:
    """`value` as readable JSON, written atomically. NaN and infinity are refused: they are not JSON."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())
