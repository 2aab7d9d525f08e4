"""The committed classifier is what its card says."""

import torch

from onelip.data import load
from onelip.metrics import classifier_card, digit_classifier
from onelip.metrics.classifier import WEIGHTS, DigitClassifier
from onelip.study import digits
from onelip.study.digits import SHIFT, TRAINED_ON, accuracy_on, normalize, shifted


def test_its_accuracy_is_the_one_on_its_card():
    accuracy = accuracy_on(digit_classifier(), load("mnist", split="test"))
    assert accuracy == float(classifier_card()["test_accuracy"])
    assert accuracy >= 0.992


def test_the_weights_are_small_and_their_card_complete():
    assert WEIGHTS.stat().st_size < 2e6
    card = classifier_card()
    assert card["seed"].isdigit()
    assert str(TRAINED_ON - 1) in card["data"]
    assert '"commit"' in card["provenance"]


def test_its_features_have_mean_square_one():
    images = load("mnist").images(torch.arange(0, TRAINED_ON, 25))
    assert abs(digit_classifier().features(images).square().mean() - 1) < 0.02


def test_normalizing_leaves_the_logits(monkeypatch):
    monkeypatch.setattr(digits, "TRAINED_ON", 500)
    data = load("mnist")
    torch.manual_seed(0)
    classifier = DigitClassifier().eval()
    images = data.images(torch.arange(100))
    before = classifier(images)
    normalize(classifier, data)
    torch.testing.assert_close(classifier(images), before, rtol=1e-4, atol=1e-5)


def test_shifts_move_a_digit_whole_and_by_every_amount():
    image = torch.full((400, 1, 9, 9), -1.0)
    image[:, 0, 4, 4] = 1.0
    moved = shifted(image, torch.Generator().manual_seed(0))
    places = (moved[:, 0] == 1).nonzero()
    assert len(places) == 400
    assert {tuple(place) for place in (places[:, 1:] - 4).tolist()} == {
        (row, column) for row in range(-SHIFT, SHIFT + 1) for column in range(-SHIFT, SHIFT + 1)
    }
