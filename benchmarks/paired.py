"""Steps that take turns in one process, so that a busy machine slows all of them alike.

Single times mean nothing on a shared machine; the ratio of neighbours in time does. Time is the processor
time of the thread, which other processes lengthen less than the clock's; on a GPU give a clock of your own.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

Quartiles = tuple[float, float, float]


@dataclass(frozen=True)
class Timing:
    """Quartiles over rounds: milliseconds of a call, and its ratio to the reference of the same round."""

    milliseconds: Quartiles
    ratio: Quartiles

    def __str__(self) -> str:
        low, middle, high = self.ratio
        return f"{self.milliseconds[1]:9.2f} ms   {middle:.3f} ({low:.3f} to {high:.3f})"


def paired(
    calls: Mapping[str, Callable[[], object]],
    warm_up: int,
    rounds: int,
    clock: Callable[[], float] = time.thread_time,
) -> dict[str, Timing]:
    """Every call once a round, in an order that turns; the first of `calls` is the reference.

    >>> times = paired({"a": lambda: sum(range(999)), "b": lambda: None}, warm_up=1, rounds=5)
    >>> times["a"].ratio
    (1.0, 1.0, 1.0)
    """
    table = turns(calls, warm_up, rounds, clock)
    reference = next(iter(table.values()))
    return {
        name: Timing(quartiles([1000 * value for value in values]), ratio(values, reference))
        for name, values in table.items()
    }


def turns(
    calls: Mapping[str, Callable[[], object]],
    warm_up: int,
    rounds: int,
    clock: Callable[[], float] = time.thread_time,
) -> dict[str, list[float]]:
    """Seconds of every call in every round."""
    names = list(calls)
    table: dict[str, list[float]] = {name: [] for name in names}
    for number in range(warm_up + rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            began = clock()
            calls[name]()
            elapsed = clock() - began
            if number >= warm_up:
                table[name].append(elapsed)
    return table


def ratio(values: list[float], reference: list[float]) -> Quartiles:
    """Quartiles of the ratios within a round."""
    return quartiles([value / base for value, base in zip(values, reference, strict=True)])


def quartiles(values: list[float]) -> Quartiles:
    """Lower quartile, median, upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def as_json(times: dict[str, Timing]) -> dict[str, dict[str, Quartiles]]:
    """Timings as plain JSON values."""
    return {name: asdict(timing) for name, timing in times.items()}
