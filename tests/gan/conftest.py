"""A run small enough to be repeated many times, with everything due at odd moments."""

import dataclasses
import json

import pytest

from onelip.gan.config import TrainConfig
from onelip.gan.run import RunFolder

SMALL = TrainConfig(
    width=4,
    latent=8,
    batch=8,
    steps=12,
    critic_steps=2,
    device="cpu",
    gradients_every=3,
    layers_every=5,
    samples_every=6,
    checkpoint_every=4,
)
CLOCK = {"seconds", "cpu_seconds", "elapsed_seconds", "peak_memory_mib"}


@pytest.fixture
def small():
    """small(**changes): the small configuration with some fields changed."""
    return lambda **changes: dataclasses.replace(SMALL, **changes)


def timeless(path):
    """The records of a run without clock and memory, as text: what must be equal bit for bit."""
    records = RunFolder(path).records()
    return [json.dumps({k: v for k, v in record.items() if k not in CLOCK}) for record in records]


def weights(path):
    """The exported weights as bytes."""
    folder = RunFolder(path)
    return [folder.weights_path(player).read_bytes() for player in ("generator", "critic")]


def assert_same_run(a, b):
    assert timeless(a) == timeless(b)
    assert weights(a) == weights(b)
