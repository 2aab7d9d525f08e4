"""The counts of docs/scaling.md against what really runs and is kept."""

import pytest
import torch
from torch import nn

from benchmarks.large_critic import FLOAT, Layer, activation_bytes, layers, meta_critic, step_flops
from documents import scaling
from onelip.constraint.apply import constrain
from onelip.constraint.describe import constraint_of
from onelip.constraint.reshaped import Reshaped
from onelip.constraint.spectral import UNSAVED
from onelip.linear.layers import linear_map


def test_the_critic_is_the_published_one():
    """Miyato et al. 2018, for 128×128 pictures: 64, 128, 256, 512, 1024, 1024 channels, and one score."""
    assert meta_critic()(torch.empty(2, 3, 128, 128, device="meta")).shape == (2,)
    assert [layer.weights for layer in layers() if layer.name.endswith("two")] == [
        9 * c * c for c in (64, 128, 256, 512, 1024, 1024)
    ]


def test_a_step_is_three_forwards_less_the_gradient_of_the_pictures():
    forward = {layer.name: layer.forward_flops for layer in layers()}
    pictures = forward["0.one"] + forward["0.shortcut"]
    assert step_flops(2) == 2 * (3 * sum(forward.values()) - pictures)


def test_an_iteration_is_three_passes_of_one_picture():
    for layer in layers():
        assert layer.iteration_flops("operator") == 3 * layer.forward_flops
        assert layer.iteration_flops("reshaped") == 6 * layer.weights


def test_what_is_kept_grows_with_the_pictures_and_holds_the_convolutions_inputs():
    first, second, third = (activation_bytes(n) for n in (1, 2, 3))
    assert third - second == second - first
    inputs = sum(layer.maps["operator"].in_shape[0] for layer in layers())
    assert first > FLOAT * inputs


@pytest.mark.parametrize("kind", ["spectral", "spectral-reshaped"])
def test_the_state_is_what_a_constraint_keeps(kind):
    critic = constrain(nn.Sequential(nn.Conv2d(2, 3, 3)), kind, input_shape=(2, 8, 8))
    held = constraint_of(critic[0])
    kept = [*held.buffers(), *(getattr(held, name) for name in UNSAVED)]
    map = linear_map(nn.Conv2d(2, 3, 3), (2, 8, 8))
    layer = Layer("", {"spectral": map, "spectral-reshaped": Reshaped(map.weight, axis=0)}, 0)
    assert sum(tensor.numel() for tensor in kept if tensor.dim()) == layer.state_floats(kind)


def test_the_measured_table_is_read_from_the_results(monkeypatch):
    row = {"engine": "ray", "workers": 2, "runs_an_hour": 812.3, "ratio": [1.5, 1.6, 1.7]}
    row |= {"seconds_besides_steps": 4.5, "connect_seconds": 3.2}
    courier = {"checkpoint_bytes": 9e6, "record_bytes": 1e6, "other_bytes": 0, "milliseconds_a_second": 2.0}
    provenance = {"commit": "0123456789", "machine": {"processor": "a processor", "cores": 2}}
    part = {"rows": [row], "courier": courier, "provenance": provenance}
    monkeypatch.setattr(scaling, "part_of", {"scaling": part}.get)
    said = scaling.scaling_measured()
    assert "| ray | 2 | 812 | 1.60 | 4.5 | 3.2 |" in said
    assert "10.0 MB through Ray (90% of it checkpoints)" in said
    assert "busy with 500 of them" in said
