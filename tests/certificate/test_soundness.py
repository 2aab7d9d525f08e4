"""A few networks of the fuzz whose full count is in results/soundness.json."""

import pytest

from benchmarks.soundness_networks import fuzz


@pytest.mark.filterwarnings("ignore")
def test_no_pair_of_inputs_exceeds_the_bound_of_a_random_network():
    result = fuzz(count=12, seed=1, starts=1, steps=8)
    assert result["violations"] == 0, result["violating"]
    assert result["failures"] == []
    assert result["stretch_over_upper"]["p90"] > 0.5, "the oracles see too little to contradict anything"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_pair_of_inputs_exceeds_the_bound_of_many_random_networks():
    result = fuzz(count=60, seed=2)
    assert result["violations"] == 0, result["violating"]
    assert result["failures"] == []
    assert len(result["operators"]) > 60
