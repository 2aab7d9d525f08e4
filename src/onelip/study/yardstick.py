"""What generated samples of a data set are measured by, and what real ones reach.

Images: two random halves of a pool of real ones. The first is the reference of every comparison, the second
stands in for a generator that cannot be told from the data: what it scores is the bias of the metric. For
mnist the pool is the 20,000 digits that the classifier has not seen, test split and the end of the training
split; held against each other these would differ by more than their size explains.
stacked-mnist, ring, grid: mode coverage, of generated samples and of fresh real ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from onelip.data import load
from onelip.data.names import WITHOUT_FEATURES
from onelip.data.sets import ImageSet, PlanarMixture
from onelip.errors import ArgumentError
from onelip.metrics.classifier import DigitClassifier, digit_classifier
from onelip.metrics.images import CHUNK, Extractor, digit_extractor, evaluate_images, portray
from onelip.metrics.modes import (
    PLANAR_SAMPLES,
    STACKED_SAMPLES,
    planar_coverage,
    stacked_coverage,
    stacked_modes,
)
from onelip.metrics.neighbours import NEIGHBOURS
from onelip.study.digits import TRAINED_ON

IMAGE_SAMPLES = 10_000
UNSEEN = f"training pictures from number {TRAINED_ON:,} on"
SEED = 0  # of every real draw, so that all runs of a data set share one yardstick


@dataclass(frozen=True, eq=False)
class Yardstick:
    """measure: every metric of samples. real: n real samples that the classifier has not seen
    (the GANs have: they train on all of the training pictures).

    samples: how many to take by default. most: how many `real` can give. facts: what the numbers stand on.
    """

    samples: int
    measure: Callable[[Tensor], dict[str, Any]]
    real: Callable[[int], Tensor]
    facts: dict[str, Any]
    most: int | None = None
    _biases: dict[int, dict[str, Any]] = field(default_factory=dict, init=False)

    def bias(self, samples: int) -> dict[str, Any]:
        """The metrics of as many real samples, measured at the first call.

        Raises ArgumentError where there are fewer.
        """
        if self.most is not None and samples > self.most:
            requirement = f"at most {self.most}, as many as there are real ones to state the bias"
            raise ArgumentError("samples", requirement, samples, f"take {self.most}")
        if samples not in self._biases:
            self._biases[samples] = self.measure(self.real(samples))
        return self._biases[samples]


def yardstick(
    data: str, data_dir: str | None = None, extractor: Extractor | None = None, device: str = "cpu"
) -> Yardstick:
    """The yardstick of a data set by its name. Raises ArgumentError where it needs an extractor, or none.

    >>> ring = yardstick("ring")
    >>> ring.bias(2500)["modes"], ring.facts
    (8, {'real_set': 'fresh draws'})
    """
    needed = data in WITHOUT_FEATURES
    if needed and extractor is None:
        remedy = "pass --features package.module:function"
        raise ArgumentError("features", f"given for {data}, which has none of its own", None, remedy)
    if extractor is not None and not needed and data != "mnist":
        raise ArgumentError("features", f"left out for {data}", extractor.name, "counting modes needs none")
    train = load(data, data_dir)
    if isinstance(train, PlanarMixture):
        return _planar(train)
    assert isinstance(train, ImageSet)
    if data == "stacked-mnist":
        return _stacked(train, digit_classifier(device))
    extractor = extractor or digit_extractor(device)
    if data == "images":
        return _images(train, extractor, f"the {train.count:,} pictures")
    test = load(data, data_dir, "test")
    assert isinstance(test, ImageSet)
    pixels = torch.cat([test.pixels, train.pixels[TRAINED_ON:]])
    pool = dataclasses.replace(test, pixels=pixels, labels=None)
    return _images(pool, extractor, f"the test split and {UNSEEN}")


def _planar(data: PlanarMixture) -> Yardstick:
    def measure(points: Tensor) -> dict[str, Any]:
        return dataclasses.asdict(planar_coverage(points, data.centres, data.sigma))

    return Yardstick(PLANAR_SAMPLES, measure, lambda n: data.batch(_random(), n), {"real_set": "fresh draws"})


def _stacked(train: ImageSet, classifier: DigitClassifier) -> Yardstick:
    def measure(images: Tensor) -> dict[str, Any]:
        return dataclasses.asdict(stacked_coverage(stacked_modes(images, classifier)))

    unseen = dataclasses.replace(train, pixels=train.pixels[TRAINED_ON:], labels=None)
    return Yardstick(
        STACKED_SAMPLES, measure, lambda n: unseen.batch(_random(), n), {"real_set": f"stacks of {UNSEEN}"}
    )


def _images(pool: ImageSet, extractor: Extractor, pool_name: str) -> Yardstick:
    if pool.count // 2 <= NEIGHBOURS:
        requirement = f"{2 * (NEIGHBOURS + 1)} or more, of which one half is held against the other"
        raise ArgumentError("number of pictures", requirement, pool.count, "add some to the folder")
    reference, unseen = torch.randperm(pool.count, generator=_random()).chunk(2)
    portrait = portray(map(pool.images, reference.split(CHUNK)), extractor)
    count, dimensions = portrait.features.values.shape
    facts = {"reference_samples": count, "features": extractor.name, "dimensions": dimensions}
    return Yardstick(
        min(IMAGE_SAMPLES, len(unseen)),
        lambda images: evaluate_images(images, portrait, extractor),
        lambda n: pool.images(unseen[:n]),
        {"real_set": f"two random halves of {pool_name}"} | facts,
        most=len(unseen),
    )


def _random() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)
