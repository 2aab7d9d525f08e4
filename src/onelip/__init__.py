"""1-Lipschitz critics you can prove, and the study that tests every claim about spectral normalization."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

__version__ = "0.1.0"

# Resolved on first use, so that `onelip --help` need not import torch.
_PUBLIC: dict[str, str] = {}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'onelip' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
