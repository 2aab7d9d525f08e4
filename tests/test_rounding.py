import pytest

from onelip.rounding import rounded
from onelip.study import table


@pytest.mark.parametrize("value", [0.0, -1.23456789, 9.99999, 1e-12, 123456.7, 1.0])
@pytest.mark.parametrize("digits", [1, 3, 5])
def test_a_rounded_bound_is_still_a_bound(value, digits):
    low, high = rounded(value, digits, "lower"), rounded(value, digits, "upper")
    assert low <= value <= high
    assert high - low <= 10 ** (1 - digits) * abs(value)
    assert rounded(value, digits) in (low, high)


def test_bounds_of_the_table_are_rounded_outward():
    last = {"certificate/lower": 0.28999, "certificate/upper": 1.00001, "final/recall": 0.50049}
    run = {"status": "finished", "step": 9, "final": {}, "norm_product": 1.04241, "last": last}
    (row,) = table.cells({"sn-0": run})
    found = dict(zip(table.columns({"sn-0": run}), row, strict=True))
    assert found["certificate/lower"] == "0.289"
    assert found["certificate/upper"] == "1.01"
    assert found["norm_product"] == "1.05"
    assert found["final/recall"] == "0.5"
