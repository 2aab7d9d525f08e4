"""How many threads a run is fastest with: measured at its start, for no rule of thumb holds.

More threads can be slower than one, by far where other processes use the cores too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median

import torch

from onelip.data import load
from onelip.gan.config import TrainConfig
from onelip.gan.players import build_players, run_device
from onelip.gan.step import train_step

ROUNDS = 3
MORE_MUST_GAIN = 0.05  # more threads than needed are taken from other work on the machine
SHORT = 50  # generator steps below which the calibration would cost more than it gains


def candidates(cores: int) -> list[int]:
    """One thread, its doublings, and all.

    >>> candidates(1), candidates(6)
    ([1], [1, 2, 4, 6])
    """
    return sorted({*(2**i for i in range(cores.bit_length()) if 2**i <= cores), cores})


def choose(seconds: dict[int, float]) -> int:
    """The fewest threads that are within 5 % of the fastest.

    >>> choose({1: 1.0, 2: 0.97, 4: 1.3}), choose({1: 1.0, 2: 0.6, 4: 0.58})
    (1, 2)
    """
    enough = (1 + MORE_MUST_GAIN) * min(seconds.values())
    return min(threads for threads, value in seconds.items() if value <= enough)


def hopeless(count: int, seconds: dict[int, list[float]]) -> bool:
    """Whether two steps with `count` threads, or more, all took over twice as long as some other.

    Not one: the first step of all pays for what is set up once.

    >>> hopeless(1, {1: [0.5], 2: [0.2]}), hopeless(1, {1: [0.5, 0.6], 2: [0.2]})
    (False, True)
    """
    fastest = min((time for times in seconds.values() for time in times), default=0.0)
    return len(seconds[count]) > 1 and min(seconds[count]) > 2 * fastest


def fastest_threads(config: TrainConfig, say: Callable[[str], None] = lambda message: None) -> int:
    """The number of threads for this run's steps; what was measured is said.

    Steps of throwaway players, counts in turns, by the clock: it is the clock that a user waits for. One
    thread, unmeasured, for a run on a GPU and for a short one.
    """
    counts = candidates(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if len(counts) == 1 or config.steps < SHORT or run_device(config).type != "cpu":
        return 1
    before = torch.get_num_threads()
    data = load(config.data, config.data_dir)
    players = build_players(config, data.sample_shape)
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    try:
        for step in range(1, ROUNDS + 2):
            for count in counts:
                torch.set_num_threads(count)
                if hopeless(count, seconds):
                    continue
                began = time.perf_counter()
                train_step(players, data, config, step)
                seconds[count].append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    medians = {count: median(times[1:] or times) for count, times in seconds.items()}
    chosen = choose(medians)
    times = ", ".join(f"{1000 * value:.0f} ms a step with {count}" for count, value in medians.items())
    say(f"{chosen} of {counts[-1]} threads ({times})")
    return chosen
