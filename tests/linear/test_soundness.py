"""lower ≤ σ ≤ upper against dense SVDs: a sample of the fuzz behind results/soundness.json."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import soundness_layers
from benchmarks.parts import put_part

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")


def test_no_violation_in_a_sample():
    tally = soundness_layers.fuzz(count=150, seed=2024)
    assert tally.violations == []
    assert tally.count == 150
    assert len(tally.cases_per_method) >= 8


@given(st.integers(0, 2**63))
@settings(max_examples=25, deadline=None)
def test_no_violation_wherever_hypothesis_looks(seed):
    case = soundness_layers.random_case(random.Random(seed))
    tally = soundness_layers.Tally()
    if case is not None:
        tally.add(case)
    assert tally.violations == []


def test_a_wrong_interval_is_noticed(monkeypatch):
    narrow = soundness_layers.operator_norm

    def wrong(*arguments, **options):
        return narrow(*arguments, **options).scale(0.9)

    monkeypatch.setattr(soundness_layers, "operator_norm", wrong)
    assert len(soundness_layers.fuzz(count=30, seed=0).violations) > 10


def test_writing_one_key_keeps_the_others(tmp_path):
    path = tmp_path / "soundness.json"
    put_part(path, "networks", {"count": 1})
    put_part(path, "layers", {"count": 2})
    assert json.loads(path.read_text()) == {"layers": {"count": 2}, "networks": {"count": 1}}
    assert list(tmp_path.iterdir()) == [path]
