"""A folder of the user's own pictures as a data set."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from onelip.data.sets import ImageSet
from onelip.errors import DataError, one_line

_SUFFIXES = {".png", ".jpg", ".jpeg"}
# Pillow's mode of a file to the mode that is trained on. What is not here (16 bits a channel,
# floating point) would lose range in a conversion, and is refused.
_MODES = {
    "1": "L", "L": "L", "LA": "L",
    "RGB": "RGB", "RGBA": "RGB", "P": "RGB", "CMYK": "RGB", "YCbCr": "RGB",
}  # fmt: skip


def load_pictures(folder: Path) -> ImageSet:
    """All PNG and JPEG files of a folder, subfolders left out, in the order of their names.

    Grey pictures give one channel, colour three; transparency is dropped; a photograph is turned
    as its EXIF orientation says. Raises DataError for an empty folder, a file that cannot be read
    and pictures that differ in size or in colour.
    """
    paths = _picture_paths(folder)
    first = _read(paths[0])
    pixels = torch.empty((len(paths), *_channels_first(first).shape), dtype=torch.uint8)
    for i, path in enumerate(paths):
        picture = _read(path)
        if _describe(picture) != _describe(first):
            raise DataError(
                f"pictures must be of one size and all grey or all colour: {paths[0]} is {_describe(first)}, "
                f"{path} is {_describe(picture)}: convert the one or the other"
            )
        pixels[i] = _channels_first(picture)
    return ImageSet("images", pixels)


def _picture_paths(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    except OSError as error:
        raise DataError(f"{folder} is no folder that can be read ({error.strerror}): name one") from error
    if not paths:
        raise DataError(
            f"{folder} has no PNG or JPEG file (subfolders are not searched): name a folder that has"
        )
    return paths


def _read(path: Path) -> Image.Image:
    try:
        # Pillow only warns of damaged EXIF data, from which the orientation would be guessed.
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("error", UserWarning)
            mode = _mode(path, image)
            if mode in _MODES:
                return _in_trained_mode(image)
    except (
        OSError,
        SyntaxError,
        ValueError,
        struct.error,
        UserWarning,
        Image.DecompressionBombError,
    ) as error:
        reason = one_line(error)
        raise DataError(f"{path} cannot be read as a picture ({reason}): replace or remove it") from error
    raise DataError(f"{path} has pixels of Pillow's mode {mode}: convert it to 8 bits a channel")


def _mode(path: Path, image: Image.Image) -> str:
    """Pillow's mode, and whether a PNG has 16 bits, of which Pillow drops eight where it is in colour."""
    with path.open("rb") as file:
        header = file.read(25)
    return f"{image.mode} at 16 bits" if image.format == "PNG" and header[24] == 16 else image.mode


def _in_trained_mode(image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    # A palette with transparency reaches RGB without a warning only by way of RGBA.
    direct = upright.convert("RGBA") if upright.mode == "P" else upright
    return direct.convert(_MODES[image.mode])


def _channels_first(picture: Image.Image) -> torch.Tensor:
    array = np.array(picture)
    return torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1)


def _describe(picture: Image.Image) -> str:
    width, height = picture.size
    return f"{width}×{height} {'grey' if picture.mode == 'L' else 'colour'}"
