"""The constraint benchmark takes every method and network that it names."""

import pytest

from benchmarks.constraint import compare, methods


@pytest.mark.parametrize("name", ["critic 28×28, width 8", "deep 64 × 64"])
def test_every_method_takes_part(name):
    _, times = compare(name, batch=2, seconds=0.0)
    assert times.keys() == methods().keys()
    assert all(timing.milliseconds[0] > 0 for timing in times.values())


@pytest.mark.gpu
def test_steps_are_timed_on_the_gpu():
    _, times = compare("critic 28×28, width 8", batch=2, seconds=0.0)
    assert all(timing.milliseconds[0] > 0 for timing in times.values())
