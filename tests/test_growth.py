"""Fitted powers against known ones, and memory against known allocations."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.growth import measured
from benchmarks.growth_figure import write_figures
from benchmarks.laws import LAWS, Law
from benchmarks.memory import peak_mib
from benchmarks.powers import fit_power
from onelip.errors import ArgumentError

SIZES = (8, 16, 32, 64, 128)


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.5, 1.0, 7 / 3, 3.0])
@pytest.mark.parametrize("constant", [1e-9, 1.0, 1e9])
def test_a_power_is_found(exponent, constant):
    fit = fit_power(SIZES, [constant * x**exponent for x in SIZES])
    assert fit.exponent == pytest.approx(exponent, abs=1e-9)
    assert fit.constant == pytest.approx(constant)
    assert fit.standard_error == pytest.approx(0, abs=1e-6)
    assert fit.last == pytest.approx(exponent, abs=1e-9)
    assert fit.exceeds(exponent - 0.01)
    assert not fit.exceeds(exponent + 0.01)


@given(
    st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.lists(st.floats(0.1, 10), min_size=len(SIZES), max_size=5)
)
def test_units_change_no_exponent(a, b, values):
    fit = fit_power(SIZES, values)
    other = fit_power([a * x for x in SIZES], [b * y for y in values])
    assert other.exponent == pytest.approx(fit.exponent, abs=1e-9)
    assert other.standard_error == pytest.approx(fit.standard_error, abs=1e-9)


def test_the_interval_holds_the_power_in_95_of_100():
    """Binomial: 2,000 draws at 95 % lie within 1.5 % of it, three standard deviations."""
    noise = np.exp(0.1 * np.random.default_rng(0).standard_normal((2000, len(SIZES))))
    fits = [fit_power(SIZES, np.array(SIZES) ** 2.0 * factors) for factors in noise]
    held = np.mean([abs(fit.exponent - 2) <= fit.half_width for fit in fits])
    assert 0.935 <= held <= 0.965
    false_alarms = np.mean([fit.exceeds(2) for fit in fits])
    assert 0.0145 <= false_alarms <= 0.0355
    assert np.mean([fit.exceeds(1) for fit in fits]) == 1


def test_the_last_exponent_shows_what_starts_late():
    fit = fit_power(SIZES, [x + x**3 / 1e4 for x in SIZES])
    assert fit.exponent < 1.5 < fit.last


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ((1, 2), (1, 2), "three at least"),
        ((1, 2, 3), (1, 2), "as many"),
        ((1, 2, 3), (1, 0, 2), "positive"),
        ((1, 2, 3), (1, float("nan"), 2), "finite"),
        ((0, 1, 2), (1, 2, 3), "positive"),
    ],
)
def test_what_has_no_power_is_refused(x, y, message):
    with pytest.raises(ArgumentError, match=message):
        fit_power(x, y)


def of_two() -> float:
    """64 MiB at the peak, of which half stays to the end of the call."""
    kept = torch.ones(2**23)
    torch.ones(2**23)
    return float(kept[0])


@pytest.mark.parametrize(
    ("call", "mib"),
    [
        (lambda: None, 0),
        (lambda: torch.ones(2**23), 32),
        (lambda: np.ones(2**22), 32),
        (lambda: float(torch.ones(2**23)[0]), 32),
        (of_two, 64),
    ],
    ids=["nothing", "torch", "NumPy", "freed again", "two at a time"],
)
def test_peak_memory_is_what_was_allocated(call, mib):
    assert peak_mib(call) == pytest.approx(mib, abs=1)
    assert peak_mib(call) == pytest.approx(mib, abs=1)


def test_pieces_too_small_for_pages_of_their_own_count():
    """In a process of their own: a heap with holes, as tests leave it, has room for some of them."""
    call = "lambda: [torch.ones(2**13) for _ in range(2**10)]"
    script = f"import torch; from benchmarks.memory import peak_mib; print(peak_mib({call}))"
    root = Path(__file__).parents[1]
    said = subprocess.check_output([sys.executable, "-c", script], cwd=root, text=True)
    assert float(said) == pytest.approx(32, abs=1)


def squares(theory: float) -> Law:
    # 2 to 144 MiB at all sizes but the first: of three values some pages more would make the interval vast.
    return Law(
        "toy", f"n, {theory}", SIZES, lambda n: lambda: torch.ones(48 * n, 48 * n), 9, theory, "n² numbers"
    )


def test_a_law_is_held_against_its_theory(tmp_path):
    said = []
    laws = {law.name: measured(law, said.append) for law in (squares(1), squares(2.5))}
    worse, fine = laws.values()
    assert worse["memory"]["worse"]
    assert not fine["memory"]["worse"]
    assert worse["memory"]["fit"]["exponent"] == pytest.approx(2, abs=0.1)
    assert len(worse["time"]["milliseconds"]) == len(SIZES)
    assert "theory ≤ 1, worse" in said[0]
    write_figures(laws, tmp_path)
    drawn = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {f"growth-{what}.{kind}" for what in ("time", "memory") for kind in ("svg", "png", "pdf")} == set(
        drawn
    )
    assert "n, 1" in drawn["growth-memory.svg"].decode()
    write_figures(laws, tmp_path)
    assert drawn == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_what_is_too_small_to_tell_has_no_fit():
    tiny = Law("toy", "n", SIZES, lambda n: lambda: None, 1, 1, "nothing")
    assert measured(tiny, lambda line: None)["memory"]["fit"] is None


def test_the_laws_are_told_apart_and_can_be_fitted():
    assert len({law.name for law in LAWS}) == len(LAWS)
    for law in LAWS:
        assert len(law.sizes) >= 5
        assert list(law.sizes) == sorted(set(law.sizes))
        assert law.reason


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_every_call_runs_twice(law):
    torch.manual_seed(0)
    call = law.prepare(law.sizes[0])
    call()
    call()
