"""Time and peak memory as work grows: fitted powers of layers, channels, sides, samples, beside theory's.

Time is the thread's processor time; the sizes of a law take turns, so that a busy machine slows all of them
alike, and medians over rounds are fitted. Memory is the high-water mark of resident pages (memory.py); what
stays below a MiB is not fitted, for pages and caches blur it. A fit is worse than theory where its whole
95 % interval lies above: theory is for the dominant term, so that exponents below it are to be expected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.laws import LAWS, Law
from benchmarks.memory import peak_mib
from benchmarks.paired import paired
from benchmarks.powers import PowerFit, fit_power

WARM_UP, ROUNDS = 1, 5
SEED = 0
SMALLEST_MIB = 1.0


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Every law, and which of them grow faster than theory says."""
    laws = {law.name: measured(law, say) for law in LAWS}
    worse = [f"{name}, {what}" for name, law in laws.items() for what in QUANTITIES if law[what]["worse"]]
    say(f"worse than theory: {'; '.join(worse) or 'none'}")
    method = (
        f"thread's processor time, median of {ROUNDS} rounds of sizes in turns; peak of resident pages of "
        "one call; least squares of logarithms, 95 % intervals by Student's t"
    )
    return {"method": method, "threads": torch.get_num_threads(), "seed": SEED, "laws": laws, "worse": worse}


QUANTITIES = {"time": "milliseconds", "memory": "mib"}


def measured(law: Law, say: Callable[[str], None]) -> dict[str, Any]:
    """One law: its numbers, and a line that says how it grows."""
    torch.manual_seed(SEED)
    calls = {str(size): law.prepare(size) for size in law.sizes}
    memory = [peak_mib(call) for call in calls.values()]
    times = [timing.milliseconds[1] for timing in paired(calls, WARM_UP, ROUNDS).values()]
    measured = {
        "subject": law.subject,
        "variable": law.variable,
        "reason": law.reason,
        "sizes": law.sizes,
        "time": _fitted(law.sizes, times, law.time, least=0.0) | {"milliseconds": times},
        "memory": _fitted(law.sizes, memory, law.memory, least=SMALLEST_MIB) | {"mib": memory},
    }
    say(f"{law.name:34s} time {words(measured['time']):42s} memory {words(measured['memory'])}")
    return measured


def _fitted(sizes: Sequence[int], values: Sequence[float], theory: float, least: float) -> dict[str, Any]:
    """The fit of what is larger than `least`, None where that is fewer than three values."""
    kept = [(x, y) for x, y in zip(sizes, values, strict=True) if y > least]
    fit = fit_power(*zip(*kept, strict=True)) if len(kept) >= 3 else None
    if fit is None:
        return {"theory": theory, "fit": None, "worse": False}
    return {"theory": theory, "fit": asdict(fit), "worse": fit.exceeds(theory)}


def words(quantity: dict[str, Any]) -> str:
    """An exponent with its standard error, and what theory allows.

    >>> words({"theory": 2, "fit": asdict(fit_power([1, 2, 4], [1, 2, 4])), "worse": False})
    '1.00 ± 0.00 (theory ≤ 2)'
    """
    if quantity["fit"] is None:
        return f"below {SMALLEST_MIB:g} MiB"
    fit = PowerFit(**quantity["fit"])
    mark = ", worse" if quantity["worse"] else ""
    return f"{fit.exponent:.2f} ± {fit.standard_error:.2f} (theory ≤ {quantity['theory']:.3g}{mark})"
