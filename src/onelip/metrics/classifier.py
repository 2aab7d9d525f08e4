"""A small digit classifier: the features and the labels of the metrics on MNIST.

Trained by `python -m onelip.study.digits`, which writes the weights beside this file. Features of a network
trained on the data at hand take the place of Inception's, which was trained on photographs.
"""

from __future__ import annotations

import functools
from pathlib import Path

from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("digits.safetensors")
DIGITS = 10
FEATURES = 64


class DigitClassifier(nn.Module):
    """Three convolutions and a layer of 64 features; the logits are linear in the features.

    >>> import torch
    >>> classifier = DigitClassifier().eval()
    >>> classifier.features(torch.zeros(2, 1, 28, 28)).shape, classifier(torch.zeros(2, 1, 28, 28)).shape
    (torch.Size([2, 64]), torch.Size([2, 10]))
    """

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(1, 32, kernel=5, stride=2),
            *_convolution(32, 64, kernel=3, stride=2),
            *_convolution(64, 64, kernel=3, stride=1),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, DIGITS)

    def features(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 64"]:
        """What the last layer sees of images in [−1, 1]; of mean square one over the training digits."""
        return self.body(images)

    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 10"]:
        return self.head(self.features(images))


def _convolution(into: int, out: int, kernel: int, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(into, out, kernel, stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(out), nn.ReLU()


@functools.cache
def digit_classifier(device: str = "cpu") -> DigitClassifier:
    """The classifier with its committed weights, frozen, in eval mode; one a device for the whole process."""
    classifier = DigitClassifier()
    classifier.load_state_dict(load_file(WEIGHTS))
    return classifier.requires_grad_(False).eval().to(device)


def classifier_card() -> dict[str, str]:
    """Where the weights come from: seed, data, accuracy, commit.

    >>> float(classifier_card()["test_accuracy"]) >= 0.992
    True
    """
    with safe_open(WEIGHTS, "pt") as file:
        return dict(file.metadata())
