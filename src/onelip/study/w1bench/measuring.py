"""Train and score cells: in this process, or several at a time in processes of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from onelip.errors import OnelipError
from onelip.gan.random import Stream, derived_seed, generator_for
from onelip.provenance import provenance
from onelip.study.pool import Work, in_processes
from onelip.study.w1bench.critics import as_scored, untrained
from onelip.study.w1bench.scoring import record
from onelip.study.w1bench.settings import Cell
from onelip.study.w1bench.training import Tick, draw, train
from onelip.transport import FunnelPair, funnel_pair, load_pair

Record = dict[str, Any]
SELECTION = 2**15  # samples of each law that choose among starts


def measure(cell: Cell, tick: Tick, *, stored: Path | None, w1_samples: int) -> Record:
    """Train and score one critic, the best of its starts; its record. stored: file of a pair not drawn.

    Training has one thread of torch's, whatever the caller's number is, so that its seconds compare.
    """
    pair = load_pair(stored) if stored is not None else funnel_pair(cell.dim, cell.funnels, cell.seed)
    generator = generator_for(cell.seed, 0, Stream.TRAINING)
    origin = provenance()
    with _one_thread():
        began = time.process_time()
        critics = [trained(cell, start, pair, generator, tick) for start in range(cell.starts)]
        critic = farthest_apart(critics, pair, cell, generator)
        seconds = time.process_time() - began
    return record(as_scored(critic, cell), pair, cell, seconds, w1_samples) | {"provenance": origin}


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def trained(
    cell: Cell, start: int, pair: FunnelPair, generator: torch.Generator, tick: Tick
) -> nn.Sequential:
    """The critic of one start; `tick` hears of the steps of all starts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(cell.seed, start, Stream.INITIALIZATION))
        critic = untrained(cell)
    train(critic, pair, cell, generator, lambda step: tick(start * cell.steps + step))
    return critic


@torch.no_grad()
def farthest_apart(
    critics: list[nn.Sequential], pair: FunnelPair, cell: Cell, generator: torch.Generator
) -> nn.Sequential:
    """The critic with the largest E_P f − E_Q f on fresh samples, the same for all: the goal of training."""
    if len(critics) == 1:
        return critics[0]
    x, y = draw(pair.to(dtype=torch.float64 if cell.double else torch.float32), generator, SELECTION)
    return max(critics, key=lambda critic: (critic(x).mean() - critic(y).mean()).item())


def measured(
    cells: Sequence[Cell], work: Work[Cell], workers: int, update: Callable[[str, int], None]
) -> Generator[tuple[Cell, Record]]:
    """Each cell with its record, as it ends. `update` hears its name and how many steps are done.

    workers: at a time; one is this process, several are processes of one thread each. There no further cell
    begins after an error, which is raised when those that have begun are done.
    """
    if workers == 1:
        for cell in cells:
            yield cell, work(cell, partial(update, cell.name))
        return
    by_name = {cell.name: cell for cell in cells}
    failure: OnelipError | None = None
    with closing(in_processes(by_name, work, workers, update, until_error=True)) as results:
        for name, result in results:
            if isinstance(result, OnelipError):
                failure = failure or result
            else:
                yield by_name[name], result
    if failure is not None:
        raise failure
