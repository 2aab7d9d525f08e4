"""Data sets that a critic is trained on: digits, fashion, the user's own pictures, points in the plane.

`DATASETS` names them and needs no torch, so that a command line can offer the choice without loading it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from onelip.data.names import DATASETS, DataSetName

if TYPE_CHECKING:
    from onelip.data.loading import load
    from onelip.data.sets import DataSet, ImageSet, PlanarMixture, from_pixels, to_pixels

_LAZY = {
    "load": "onelip.data.loading",
    "DataSet": "onelip.data.sets",
    "ImageSet": "onelip.data.sets",
    "PlanarMixture": "onelip.data.sets",
    "from_pixels": "onelip.data.sets",
    "to_pixels": "onelip.data.sets",
}

__all__ = [
    "DATASETS",
    "DataSet",
    "DataSetName",
    "ImageSet",
    "PlanarMixture",
    "from_pixels",
    "load",
    "to_pixels",
]


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'onelip.data' has no attribute {name!r}")
