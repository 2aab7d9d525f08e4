"""The names of the data sets, apart from what they are, so that listing them imports nothing."""

from typing import Literal, get_args

DataSetName = Literal["mnist", "fashion-mnist", "stacked-mnist", "images", "ring", "grid"]
DATASETS: tuple[str, ...] = get_args(DataSetName)
PLANAR = ("ring", "grid")  # drawn from densities in the plane, not read
WITHOUT_FEATURES = ("fashion-mnist", "images")  # no extractor of ours is for them
