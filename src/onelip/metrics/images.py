"""All metrics of a set of images against a reference set, cheap enough to repeat while a generator trains.

extractor = digit_extractor()
reference = portray(real_images, extractor)                 # once
evaluate_images(generated_images, reference, extractor)     # at every checkpoint
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.errors import ArgumentError, typed_line
from onelip.metrics.classifier import FEATURES, digit_classifier
from onelip.metrics.features import FeatureSet, require_finite
from onelip.metrics.frechet import frechet_distance
from onelip.metrics.kernel import kernel_distance
from onelip.metrics.labels import classifier_score, histogram_distance
from onelip.metrics.neighbours import neighbourhoods

CHUNK = 500  # images in flight


@dataclass(frozen=True, eq=False)
class Extractor:
    """A network that sees images. features: [B, C, H, W] in [−1, 1] to [B, d]. logits: these to classes."""

    name: str
    features: Callable[..., Any]
    logits: Callable[..., Any] | None = None
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Portrait:
    """A set of images as an extractor sees it."""

    features: FeatureSet
    logits: Float[Tensor, "n classes"] | None


def digit_extractor(device: str = "cpu") -> Extractor:
    """The committed digit classifier: 64 features, 10 classes."""
    classifier = digit_classifier(device)
    return Extractor(f"digit classifier, {FEATURES} features", classifier.features, classifier.head, device)


def portray(images: Iterable[Tensor], extractor: Extractor) -> Portrait:
    """Images, one tensor or batches of them, as the extractor sees them.

    Raises ArgumentError for no images, and where the extractor fails or returns anything but one finite row
    an image, all of one length, in features and in logits.
    """
    batches = images.split(CHUNK) if isinstance(images, Tensor) else images
    with torch.no_grad():
        rows = [_features(batch.to(extractor.device), extractor) for batch in batches]
        if not rows:
            raise ArgumentError("images", "one batch at least", "none", "draw images")
        if len(widths := {part.shape[1] for part in rows}) > 1:
            remedy = f"see to {extractor.name}: what it gives of an image must not depend on the others"
            raise ArgumentError("features", "as many for every batch", sorted(widths), remedy)
        features = torch.cat(rows)
        return Portrait(FeatureSet(features), _logits(features, extractor))


def evaluate_images(
    images: Float[Tensor, "n c h w"], reference: Portrait, extractor: Extractor
) -> dict[str, float]:
    """Every metric of the images against the reference set, as a flat table of numbers.

    images: in [−1, 1]. The label metrics are there where the extractor has classes.

    >>> random = torch.Generator().manual_seed(0)
    >>> images = torch.rand(100, 1, 28, 28, generator=random) * 2 - 1
    >>> extractor = digit_extractor()
    >>> result = evaluate_images(images, portray(images, extractor), extractor)
    >>> result["precision"], result["coverage"], result["histogram_distance"]
    (1.0, 1.0, 0.0)
    """
    return compare(portray(images, extractor), reference)


def compare(generated: Portrait, reference: Portrait) -> dict[str, float]:
    """Every metric of one portrait against another."""
    x, y = generated.features, reference.features
    kernel = kernel_distance(x, y)
    result = {
        "frechet_distance": frechet_distance(x, y),
        "kernel_distance": kernel.value,
        "kernel_distance_standard_error": kernel.standard_error,
        **neighbourhoods(y, x)._asdict(),
    }
    if generated.logits is not None and reference.logits is not None:
        score = classifier_score(generated.logits)
        result["classifier_score"] = score.value
        result["classifier_score_standard_error"] = score.standard_error
        result["histogram_distance"] = histogram_distance(generated.logits, reference.logits)
    return result


def _features(images: Float[Tensor, "b c h w"], extractor: Extractor) -> Float[Tensor, "b d"]:
    form = "images [B, C, H, W] to a tensor [B, d]"
    return _rows("features", extractor.features, images, form, f"see to {extractor.name}: pool and flatten")


def _logits(features: Float[Tensor, "n d"], extractor: Extractor) -> Float[Tensor, "n classes"] | None:
    if extractor.logits is None:
        return None
    form = "features [B, d] to a tensor [B, classes]"
    logits = _rows("logits", extractor.logits, features, form, f"see to {extractor.name}").cpu()
    require_finite("logits", logits)
    return logits


def _rows(name: str, function: Callable[..., Any], batch: Tensor, form: str, remedy: str) -> Tensor:
    """function(batch); ArgumentError where it fails, or returns anything but a row for each of the batch."""

    def bad(received: str) -> ArgumentError:
        return ArgumentError(name, f"a function of {form}", received, remedy)

    given = f"{form.split()[0]} {list(batch.shape)}"
    try:
        rows = function(batch)
    except Exception as error:  # whatever the user's code raises
        reason = typed_line(error)
        raise bad(f"on {given}: {reason}") from error
    if not isinstance(rows, Tensor):
        raise bad(type(rows).__name__)
    if rows.dim() != 2 or len(rows) != len(batch) or rows.shape[1] == 0:
        raise bad(f"{list(rows.shape)} for {given}")
    return rows
