"""Real digits, damaged in known ways: each metric sees the damage that it is there for, and no other."""

import pytest
import torch

from onelip.data import load
from onelip.errors import ArgumentError
from onelip.metrics import Extractor, digit_extractor, evaluate_images, portray

N = 500


@pytest.fixture(scope="module")
def digits():
    return load("mnist", split="test")


@pytest.fixture(scope="module")
def measure(digits):
    """measure(images): against 500 test digits; other test digits are numbered from 500 on."""
    extractor = digit_extractor()
    reference = portray(digits.images(torch.arange(N)), extractor)
    return lambda images: evaluate_images(images, reference, extractor)


@pytest.fixture(scope="module")
def real(digits, measure):
    return measure(digits.images(torch.arange(N, 2 * N)))


def test_real_digits_are_close(real):
    assert real["frechet_distance"] < 1
    assert min(real["precision"], real["recall"], real["density"], real["coverage"]) > 0.8
    assert real["classifier_score"] > 9
    assert real["histogram_distance"] < 0.1


def test_missing_classes_cost_recall_and_not_precision(digits, measure, real):
    few = (digits.labels < 5).nonzero().flatten()
    found = measure(digits.images(few[few >= N][:N]))
    assert found["precision"] > real["precision"] - 0.05
    assert found["recall"] < real["recall"] - 0.2
    assert found["coverage"] < real["coverage"] - 0.3
    assert found["classifier_score"] < 5.1
    assert found["histogram_distance"] == pytest.approx(0.5, abs=0.06)
    assert found["frechet_distance"] > 10 * real["frechet_distance"]


def test_noise_costs_precision(digits, measure, real):
    images = digits.images(torch.arange(N, 2 * N))
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    found = measure((images + noise).clamp(-1, 1))
    assert found["precision"] < real["precision"] - 0.1
    assert found["density"] < real["density"] - 0.2
    assert found["kernel_distance"] > 5 * found["kernel_distance_standard_error"] > 0


def test_one_digit_repeated_is_precise_and_covers_nothing(digits, measure):
    found = measure(digits.images(torch.zeros(N, dtype=torch.int64)))
    assert found["precision"] == 1
    assert found["coverage"] < 0.1
    assert found["recall"] <= 1 / N
    assert found["classifier_score"] == pytest.approx(1)


def test_batches_are_as_good_as_one_tensor(digits):
    extractor = digit_extractor()
    indices = torch.arange(30)
    whole = portray(digits.images(indices), extractor)
    parts = portray(map(digits.images, indices.split(7)), extractor)
    torch.testing.assert_close(whole.features.values.float(), parts.features.values.float())
    torch.testing.assert_close(whole.logits, parts.logits)


def test_an_extractor_without_classes_gives_no_class_metrics(digits):
    extractor = Extractor("means", lambda images: images.mean((1, 3)))
    images = digits.images(torch.arange(40))
    found = evaluate_images(images, portray(images, extractor), extractor)
    assert found["precision"] == found["recall"] == 1
    assert "classifier_score" not in found


def test_images_that_the_classifier_cannot_read_are_refused():
    with pytest.raises(ArgumentError, match=r"on images \[2, 3, 32, 32\]"):
        portray(torch.zeros(2, 3, 32, 32), digit_extractor())


def failing(features):
    raise RuntimeError("out of\nmemory")


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (
            failing,
            r"logits must be a function .* on features \[4, 3\]: RuntimeError: out of memory: see to means",
        ),
        (lambda f: f * torch.nan, "logits must be finite .* got 4 of 4 samples"),
        (lambda f: f[:, 0], r"\[B, classes\], got \[4\] for features \[4, 3\]"),
        (lambda f: f[:2], r"got \[2, 3\] for features"),
        (lambda f: f[:, :0], r"got \[4, 0\] for features"),
        (lambda f: None, "logits must be a function .* got NoneType"),
    ],
)
def test_logits_are_held_to_what_features_are(logits, message):
    extractor = Extractor("means", lambda images: images.mean((2, 3)), logits)
    with pytest.raises(ArgumentError, match=message) as error:
        portray(torch.zeros(4, 3, 8, 8), extractor)
    assert "\n" not in str(error.value)


def test_features_whose_number_is_that_of_a_batch_are_refused():
    """A matrix of all products of one batch has a row an image, too."""
    extractor = Extractor("products", lambda images: images.flatten(1) @ images.flatten(1).T)
    message = r"features must be as many for every batch, got \[3, 4\]: see to products"
    with pytest.raises(ArgumentError, match=message):
        portray(torch.zeros(7, 1, 8, 8).split(4), extractor)


def test_no_images_are_refused():
    with pytest.raises(ArgumentError, match="images must be one batch at least, got none"):
        portray([], digit_extractor())
