"""Train the digit classifier of the metrics: `python -m onelip.study.digits`, minutes on one core.

It sees the first 50,000 training digits. The last 10,000 stay unseen, so that real digits can be held
against the test digits through features that have fitted neither.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from onelip.data import load
from onelip.data.sets import ImageSet
from onelip.files import write_atomically
from onelip.metrics.classifier import WEIGHTS, DigitClassifier
from onelip.provenance import provenance

TRAINED_ON = 50_000
BATCH = 128
PEAK_RATE = 4e-3
SHIFT = 2


def main() -> None:
    """Train, test, and write the weights with their card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    train, test = _digits("train"), _digits("test")
    classifier = train_classifier(train, options.epochs, options.seed)
    accuracy = accuracy_on(classifier, test)
    card = {
        "data": f"MNIST, training digits 0 to {TRAINED_ON - 1}",
        "test_accuracy": f"{accuracy:.4f}",
        "seed": str(options.seed),
        "epochs": str(options.epochs),
        "provenance": json.dumps(provenance()),
    }
    write_atomically(options.out, to_safetensors(classifier.state_dict(), metadata=card))
    print(f"accuracy {accuracy:.2%} on {test.count} test digits, {time.process_time() - began:.0f} s")


def train_classifier(data: ImageSet, epochs: int, seed: int) -> DigitClassifier:
    """Adam, one cycle of the learning rate, digits shifted by up to two pixels."""
    assert data.labels is not None
    random = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    classifier = DigitClassifier()
    steps = epochs * (TRAINED_ON // BATCH)
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, steps)
    for _ in range(epochs):
        order = torch.randperm(TRAINED_ON, generator=random)[: TRAINED_ON // BATCH * BATCH]
        for indices in order.split(BATCH):
            logits = classifier(shifted(data.images(indices), random))
            loss = nn.functional.cross_entropy(logits, data.labels[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    normalize(classifier.eval(), data)
    return classifier


@torch.no_grad()
def normalize(classifier: DigitClassifier, data: ImageSet) -> None:
    """Scale the features to a mean square of one, in place; ReLU is homogeneous, so no logit changes."""
    features = torch.cat([classifier.features(data.images(i)) for i in torch.arange(TRAINED_ON).split(1000)])
    scale = features.square().mean().sqrt()
    for parameter in classifier.body[-2].parameters():
        parameter /= scale
    classifier.head.weight *= scale


def shifted(images: Float[Tensor, "batch 1 h w"], random: torch.Generator) -> Float[Tensor, "batch 1 h w"]:
    """Each image moved by up to SHIFT pixels along both axes; what comes in is background."""
    n, _, h, w = images.shape
    padded = nn.functional.pad(images, [SHIFT] * 4, value=-1.0)
    top, left = torch.randint(2 * SHIFT + 1, (2, n, 1, 1), generator=random)
    rows, columns = top + torch.arange(h)[:, None], left + torch.arange(w)
    return padded[torch.arange(n)[:, None, None], 0, rows, columns].unsqueeze(1)


def accuracy_on(classifier: DigitClassifier, data: ImageSet) -> float:
    """Share of digits that are classified as they are labelled."""
    assert data.labels is not None
    with torch.no_grad():
        chunks = torch.arange(data.count).split(1000)
        predicted = torch.cat([classifier(data.images(chunk)).argmax(1) for chunk in chunks])
    return float((predicted == data.labels).double().mean())


def _digits(split: str) -> ImageSet:
    data = load("mnist", split=split)
    assert isinstance(data, ImageSet)
    return data


if __name__ == "__main__":
    main()
