"""The IDX format of MNIST: two zero bytes, a type, the number of axes, their sizes, the data.

Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", file formats.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from onelip.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, sha256: str | None = None) -> UInt8[Tensor, "..."]:
    """The array of an IDX file of unsigned bytes, gzipped or plain.

    sha256: digest that the content, uncompressed, must have; compression leaves it as it is.
    Raises DataError for a file that is missing, truncated, of another format, or altered.
    """
    content = _content(path)
    array = _parse(path, content)
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise DataError(
            f"{path} is altered: the SHA-256 of its content must be {sha256}, found {found}: "
            "replace it by a fresh copy"
        )
    return array


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(_GZIP_MAGIC) else data
    except FileNotFoundError:
        raise DataError(f"{path} is missing: put the file there, or name the folder that has it") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is truncated or damaged ({error}): replace it by a fresh copy") from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): see to its path and permissions"
        ) from error


def _parse(path: Path, content: bytes) -> Tensor:
    axes = content[3] if len(content) >= 4 else 0
    start = 4 + 4 * axes
    if content[:3] != bytes((0, 0, _UNSIGNED_BYTE)) or axes == 0 or len(content) < start:
        raise DataError(
            f"{path} is no IDX file of unsigned bytes: its first bytes must be 00 00 08, "
            f"found {content[:3].hex(' ') or 'none'} of {len(content)}: replace it by a fresh copy"
        )
    shape = struct.unpack_from(f">{axes}I", content, 4)
    expected, found = math.prod(shape), len(content) - start
    if expected != found or found == 0:
        raise DataError(
            f"{path} is truncated or damaged: its header announces {expected} bytes of data "
            f"({' × '.join(map(str, shape))}), found {found}: replace it by a fresh copy"
        )
    # A bytearray, because torch warns of a tensor on memory that cannot be written.
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).reshape(shape)
