"""How close generated samples come to real ones: features, labels, modes."""

from onelip.metrics.classifier import DigitClassifier, classifier_card, digit_classifier
from onelip.metrics.features import FeatureSet
from onelip.metrics.frechet import frechet_distance
from onelip.metrics.images import Extractor, Portrait, compare, digit_extractor, evaluate_images, portray
from onelip.metrics.kernel import kernel_distance
from onelip.metrics.labels import classifier_score, histogram_distance
from onelip.metrics.modes import (
    PlanarCoverage,
    StackedCoverage,
    planar_coverage,
    stacked_coverage,
    stacked_modes,
)
from onelip.metrics.neighbours import Neighbourhoods, neighbourhoods

__all__ = [
    "DigitClassifier",
    "Extractor",
    "FeatureSet",
    "Neighbourhoods",
    "PlanarCoverage",
    "Portrait",
    "StackedCoverage",
    "classifier_card",
    "classifier_score",
    "compare",
    "digit_classifier",
    "digit_extractor",
    "evaluate_images",
    "frechet_distance",
    "histogram_distance",
    "kernel_distance",
    "neighbourhoods",
    "planar_coverage",
    "portray",
    "stacked_coverage",
    "stacked_modes",
]
