"""lower ≤ σ ≤ upper against dense SVDs: a sample of the fuzz behind results/soundness.json."""

import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")


@pytest.fixture(scope="module")
def soundness():
    spec = importlib.util.spec_from_file_location(
        "soundness_layers", ROOT / "benchmarks" / "soundness_layers.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_no_violation_in_a_sample(soundness):
    tally = soundness.fuzz(count=150, seed=2024)
    assert tally.violations == []
    assert tally.count == 150
    assert len(tally.cases_per_method) >= 8


@given(st.integers(0, 2**63))
@settings(max_examples=25, deadline=None)
def test_no_violation_wherever_hypothesis_looks(soundness, seed):
    case = soundness.random_case(random.Random(seed))
    tally = soundness.Tally()
    if case is not None:
        tally.add(case)
    assert tally.violations == []


def test_a_wrong_interval_is_noticed(soundness, monkeypatch):
    narrow = soundness.operator_norm

    def wrong(*arguments, **options):
        return narrow(*arguments, **options).scale(0.9)

    monkeypatch.setattr(soundness, "operator_norm", wrong)
    assert len(soundness.fuzz(count=30, seed=0).violations) > 10


def test_writing_one_key_keeps_the_others(soundness, tmp_path):
    path = tmp_path / "soundness.json"
    soundness.write(path, "networks", {"count": 1})
    soundness.write(path, "layers", {"count": 2})
    assert json.loads(path.read_text()) == {"layers": {"count": 2}, "networks": {"count": 1}}
    assert list(tmp_path.iterdir()) == [path]
