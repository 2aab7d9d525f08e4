"""Funnel pairs from files: a torch file, read as plain weights and never as code, or safetensors."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from onelip.errors import ArgumentError, DataError
from onelip.transport.funnel import FunnelPair, stored_pair

_NAMES = ["bias", "centers"]


def load_pair(file: Path | str) -> FunnelPair:
    """The pair stored as two tensors, `centers` [N, D] and `bias` [N], both behind one prefix or none.

    file: *.safetensors, or what torch.save wrote of a state_dict (read with weights_only).
    Raises DataError where the file is missing, unreadable, or holds other names, shapes or numbers.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "pair.pt")
    ...     torch.save({"net.centers": torch.arange(8.0).view(4, 2), "net.bias": torch.zeros(4)}, file)
    ...     load_pair(file).shape
    (2,)
    """
    path = Path(file)
    tensors = _read(path)
    names = sorted(str(name).rpartition(".")[2] for name in tensors)
    prefixes = {str(name).rpartition(".")[0] for name in tensors}
    if names != _NAMES or len(prefixes) != 1 or not all(map(_is_dense, tensors.values())):
        raise DataError(
            f"{path} must hold two dense tensors, centers [N, D] and bias [N], behind one prefix or none; "
            f"found {sorted(map(str, tensors))}: rename them"
        )
    bias, centers = (tensors[name] for name in sorted(tensors))
    try:
        return stored_pair(centers, bias)
    except ArgumentError as error:
        raise DataError(f"{path}: {error}") from error


def _is_dense(content: object) -> bool:
    return isinstance(content, Tensor) and content.layout == torch.strided and not content.is_quantized


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise DataError(f"{path} is missing: give the path of a torch file or of a safetensors file")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler fails in whatever way the bytes make it
        # Not what it says: torch advises to load the file as code, which whoever sent it may want.
        kind = type(error).__name__
        raise DataError(
            f"{path} is neither a torch file of plain tensors nor safetensors ({kind}): save a state_dict"
        ) from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path} must hold a dict of two tensors, found {type(content).__name__}: save a state_dict"
        )
    return content
