"""A data set by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from onelip.data.names import DATASETS, PLANAR
from onelip.data.pictures import load_pictures
from onelip.data.planar import grid, ring
from onelip.data.sets import DataSet
from onelip.data.sources import SOURCES, load_idx
from onelip.errors import ArgumentError, require_name

_SPLITS = ("train", "test")
_MIXTURES = {"ring": ring, "grid": grid}


def load(name: str, folder: str | Path | None = None, split: str = "train") -> DataSet:
    """The data set of this name.

    name: mnist, fashion-mnist, stacked-mnist (three digits as colour channels, 1000 modes), images
    (a folder of PNG or JPEG files, any one size), ring or grid (8 or 25 Gaussians in the plane).
    folder: where the files are; by default they are looked for and, where missing, fetched.
    split: train or test. Points in the plane are drawn afresh, so both are the same to them.
    Raises ArgumentError for an argument of no meaning, DataError for missing or damaged files.

    >>> import torch
    >>> load("ring").batch(torch.Generator().manual_seed(0), 64).shape
    torch.Size([64, 2])
    """
    folder = Path(folder) if folder else None
    _check(name, folder, split)
    if name in PLANAR:
        return _MIXTURES[name]()
    if name == "images":
        assert folder is not None
        return load_pictures(folder)
    if name == "stacked-mnist":
        return replace(load_idx(SOURCES["mnist"], folder, split), name=name, stack=3)
    return load_idx(SOURCES[name], folder, split)


def _check(name: str, folder: Path | None, split: str) -> None:
    require_name("data set", name, DATASETS)
    require_name("split", split, _SPLITS)
    if name == "images" and folder is None:
        raise ArgumentError("folder", "the folder of your pictures", folder, "name it")
    if name == "images" and split != "train":
        raise ArgumentError("split", "train for a folder of pictures", repr(split), "load another folder")
    if name in PLANAR and folder is not None:
        raise ArgumentError(
            "folder", f"left out for {name}, which is drawn, not read", folder, "leave it out"
        )
