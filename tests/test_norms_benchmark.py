"""The benchmark of norms takes every method that it names, and what is proved holds and is fast."""

import pytest
import torch

from benchmarks.norms import BASELINES, CASES, CONVOLUTIONS_ONLY, METHODS, compare, converged, table


def test_every_method_takes_part():
    case, *_ = CASES
    rows = {row.method: row for row in compare(case, rounds=2)}
    assert METHODS.keys() <= rows.keys()
    assert all(row.ratios.keys() == set(BASELINES) for row in rows.values())
    assert all(rows[name].ratios[name] == (1.0, 1.0, 1.0) for name in BASELINES)
    assert all(name in table(case, list(rows.values()), truth=1.0) for name in METHODS)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_proved_in_half_the_time_of_fft_and_svd(case):
    torch.set_num_threads(1)
    rows, truth = compare(case), converged(case)
    print("\n" + table(case, rows, truth))
    by_method = {row.method: row for row in rows}
    proved, uppers = by_method["onelip"], {row.method: row.upper for row in rows if row.upper is not None}
    assert proved.lower is not None
    assert proved.lower <= truth * (1 + 1e-6)
    assert truth * (1 - 1e-6) <= uppers["onelip"]
    assert all(uppers["onelip"] < uppers[name] for name in uppers.keys() & CONVOLUTIONS_ONLY.keys())
    assert proved.ratios["FFT+SVD float64"][1] <= 0.5
