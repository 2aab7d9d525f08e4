"""MNIST and Fashion-MNIST: where their files are looked for, what they must contain, where to fetch them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from onelip.data.idx import read_idx
from onelip.data.sets import ImageSet
from onelip.errors import DataError

_FOLDER_VARIABLE = "ONELIP_DATA"


@dataclass(frozen=True)
class IdxFile:
    """One file of a data set. sha256: of the content; archive_sha256: of the .gz as it is published."""

    stem: str
    sha256: str
    archive_sha256: str


@dataclass(frozen=True)
class IdxSource:
    """The files of a data set by split, images first, then labels."""

    name: str
    url: str
    splits: dict[str, tuple[IdxFile, IdxFile]]
    system_folders: tuple[Path, ...] = ()


SOURCES = {
    "mnist": IdxSource(
        "mnist",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train": (
                IdxFile(
                    "train-images-idx3-ubyte",
                    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                ),
                IdxFile(
                    "train-labels-idx1-ubyte",
                    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                ),
            ),
            "test": (
                IdxFile(
                    "t10k-images-idx3-ubyte",
                    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                ),
                IdxFile(
                    "t10k-labels-idx1-ubyte",
                    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                ),
            ),
        },
    ),
    "fashion-mnist": IdxSource(
        "fashion-mnist",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        {
            "train": (
                IdxFile(
                    "train-images-idx3-ubyte",
                    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                ),
                IdxFile(
                    "train-labels-idx1-ubyte",
                    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                ),
            ),
            "test": (
                IdxFile(
                    "t10k-images-idx3-ubyte",
                    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                ),
                IdxFile(
                    "t10k-labels-idx1-ubyte",
                    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
                    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                ),
            ),
        },
        # Debian's package dataset-fashion-mnist.
        system_folders=(Path("/usr/share/datasets/fashion-mnist"),),
    ),
}


def load_idx(source: IdxSource, folder: Path | None, split: str) -> ImageSet:
    """The images and labels of one split, every file checked.

    folder: where the files are. A folder that is named is the only one looked at; without one, the
    first of `folders` that has files of this data set, then a download into the user's cache.
    """
    if folder is None:
        folder = next((place for place in folders(source) if _holds_any(place, source)), None)
    images, labels = (
        read_idx(_fetch(source, file) if folder is None else _find(folder, file), file.sha256)
        for file in source.splits[split]
    )
    return ImageSet(source.name, images.unsqueeze(1), labels.long())


def folders(source: IdxSource) -> list[Path]:
    """Where the files may lie, in the order of search: $ONELIP_DATA, here, the checkout, the system's."""
    here_and_checkout = (Path("data"), Path(__file__).parents[3] / "data")
    common = [root / source.name for root in here_and_checkout]
    return [*_named_folders(source), *common, *source.system_folders]


def _named_folders(source: IdxSource) -> list[Path]:
    named = os.environ.get(_FOLDER_VARIABLE)
    if not named:
        return []
    # The two data sets name their files alike: only MNIST's may lie there without a subfolder.
    return [Path(named) / source.name, *([Path(named)] if source.name == "mnist" else [])]


def _holds_any(folder: Path, source: IdxSource) -> bool:
    return any(
        path.is_file() for pair in source.splits.values() for file in pair for path in _paths(folder, file)
    )


def _find(folder: Path, file: IdxFile) -> Path:
    paths = _paths(folder, file)
    return next((path for path in paths if path.is_file()), paths[0])


def _paths(folder: Path, file: IdxFile) -> tuple[Path, Path]:
    return folder / f"{file.stem}.gz", folder / file.stem


def _fetch(source: IdxSource, file: IdxFile) -> Path:
    import pooch  # it loads a web client, which a run with its data on disk does not need

    cache = Path(pooch.os_cache("onelip")) / source.name
    archive = f"{file.stem}.gz"
    try:
        return Path(pooch.retrieve(source.url + archive, file.archive_sha256, archive, cache))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{archive} of {source.name} is in none of {', '.join(map(str, folders(source)))}, "
            f"and fetching it from {source.url} into {cache} failed ({type(error).__name__}): "
            f"name the folder of its four files, or set {_FOLDER_VARIABLE} to the folder of {source.name}/"
        ) from error
