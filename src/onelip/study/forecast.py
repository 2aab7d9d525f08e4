"""How long a study will take: seconds of one core, from a few steps of each kind of run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from statistics import median

import torch
from rich import box
from rich.table import Table

from onelip.data import load
from onelip.data.sets import DataSet
from onelip.gan.config import TrainConfig
from onelip.gan.observe import observe_layers
from onelip.gan.players import build_players
from onelip.gan.random import Stream, generator_for
from onelip.gan.step import critic_step, generator_step, train_step
from onelip.study.observers import SAMPLES, StudyObserver
from onelip.study.presets import RunName, chosen_groups
from onelip.study.yardstick import yardstick

REPEATS = 3
# The fields that decide how long a step takes.
_TIMED = ("method", "loss", "data", "data_dir", "batch", "width", "latent", "optimizer", "device")
_ITERATED = ("power_iterations", "tolerance")


def expected_seconds(configs: dict[str, TrainConfig]) -> dict[str, float]:
    """Seconds of one core that each run will take, its measurements and its process's start included."""
    start = time.process_time()  # of this process so far: interpreter, libraries
    return {name: start + _run_seconds(config) for name, config in configs.items()}


def plan(preset: str, groups: str | None, configs: dict[str, TrainConfig], missing: set[str]) -> Table:
    """A row a group: its runs, the missing ones, and the time that these will take; below, those by setting.

    A run of several groups is counted in the first.
    """
    seconds = expected_seconds({name: config for name, config in configs.items() if name in missing})
    table = Table("group", "runs", "missing", "seconds a run", "core-hours", box=box.SIMPLE, pad_edge=False)
    left = dict(configs)
    for group, content in chosen_groups(preset, groups).items():
        names = [name for name in left if RunName.of(name).setting in content.settings]
        times = {name: seconds[name] for name in names if name in missing}
        table.add_row(group, str(len(names)), str(len(times)), *_spent(times.values()), style="bold")
        for setting in content.settings:
            ours = {name: t for name, t in times.items() if RunName.of(name).setting == setting}
            if ours:
                seeds = ", ".join(RunName.of(name).seed for name in ours)
                table.add_row(f"  {setting}", "", f"seeds {seeds}", *_spent(ours.values()))
        left = {name: config for name, config in left.items() if name not in names}
    table.add_section()
    table.add_row("all", str(len(configs)), str(len(seconds)), "", _spent(seconds.values())[1], style="bold")
    return table


def _spent(times: Iterable[float]) -> tuple[str, str]:
    """Least and most seconds of a run, core-hours of all."""
    times = list(times)
    least, most = (f"{f(times):.0f}" if times else "–" for f in (min, max))
    return least if least == most else f"{least} … {most}", f"{sum(times) / 3600:.2f}"


def _run_seconds(config: TrainConfig) -> float:
    timed = {name: getattr(config, name) for name in _TIMED + _ITERATED}
    critic, generator, layers = _step_seconds(TrainConfig(**timed).resolved())
    total = config.steps * (config.critic_steps * critic + generator)
    total += config.steps / config.layers_every * layers
    every = max(config.evaluate_every, config.certify_every)
    if every:
        observation, final = _observation_seconds(config.data, config.data_dir, config.width)
        total += config.steps / every * observation + final
    return total


@cache
def _step_seconds(config: TrainConfig) -> tuple[float, float, float]:
    """Of a critic step, of a generator step, of measuring the critic's layers."""
    data = _data(config.data, config.data_dir)
    players = build_players(config, data.sample_shape)
    random = generator_for(0, 1, Stream.TRAINING)
    train_step(players, data, config, 1)
    return (
        _seconds(lambda: critic_step(players, data.batch(random, config.batch), config, random)),
        _seconds(lambda: generator_step(players, data, config, random)),
        _seconds(lambda: observe_layers(players.critic, data.sample_shape), 1),
    )


@cache
def _observation_seconds(name: str, data_dir: str | None, width: int) -> tuple[float, float]:
    """Of an evaluation with a certificate during the training, and of the one at its end."""
    config = TrainConfig(method="gp", data=name, data_dir=data_dir, width=width, device="cpu").resolved()
    data = _data(name, data_dir)
    players = build_players(config, data.sample_shape)
    observe = StudyObserver(replace(config, steps=1000, evaluate_every=1, certify_every=1), data)
    observe(players, 1)
    during = _seconds(lambda: observe(players, 2), 1)
    return during, during * yardstick(name, data_dir).samples / SAMPLES


@cache
def _data(name: str, data_dir: str | None) -> DataSet:
    return load(name, data_dir)


def _seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median over a few calls; waiting for other processes does not count, except for a GPU."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    times = []
    for _ in range(repeats):
        began = clock()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(clock() - began)
    return median(times)
