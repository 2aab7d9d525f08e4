"""Train and score cells: in this process, or several at a time in processes of their own."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Generator, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import nn

from onelip.errors import OnelipError
from onelip.gan.random import Stream, derived_seed, generator_for
from onelip.study.w1bench.critics import build, frozen
from onelip.study.w1bench.scoring import record
from onelip.study.w1bench.settings import Cell
from onelip.study.w1bench.training import Tick, draw, train
from onelip.transport import FunnelPair, funnel_pair, load_pair

Record = dict[str, Any]
Work = Callable[[Cell, Tick], Record]  # picklable where it goes to other processes
SELECTION = 2**15  # samples of each law that choose among starts


def measure(cell: Cell, tick: Tick, *, stored: Path | None, w1_samples: int) -> Record:
    """Train and score one critic, the best of its starts; its record. stored: file of a pair not drawn."""
    pair = load_pair(stored) if stored is not None else funnel_pair(cell.dim, cell.funnels, cell.seed)
    generator = generator_for(cell.seed, 0, Stream.TRAINING)
    began = time.process_time()
    critics = [trained(cell, start, pair, generator, tick) for start in range(cell.starts)]
    critic = farthest_apart(critics, pair, cell, generator)
    seconds = time.process_time() - began
    return record(frozen(critic, cell), pair, cell, seconds, w1_samples)


def trained(
    cell: Cell, start: int, pair: FunnelPair, generator: torch.Generator, tick: Tick
) -> nn.Sequential:
    """The critic of one start; `tick` hears of the steps of all starts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(cell.seed, start, Stream.INITIALIZATION))
        critic = build(cell)
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
    cells: Sequence[Cell], work: Work, workers: int, update: Callable[[str, int], None]
) -> Generator[tuple[Cell, Record]]:
    """Each cell with its record, as it ends. `update` hears its name and how many steps are done.

    workers: at a time; one is this process, with torch's threads as they are, several are processes of one
    thread each. There no further cell begins after an error, which is raised when those that have begun are
    done.
    """
    if workers > 1:
        yield from _in_processes(list(cells), work, workers, update)
        return
    for cell in cells:
        yield cell, work(cell, partial(update, cell.name))


def _in_processes(
    waiting: list[Cell], work: Work, workers: int, update: Callable[[str, int], None]
) -> Generator[tuple[Cell, Record]]:
    active: dict[Connection, tuple[Cell, BaseProcess]] = {}
    failure: Exception | None = None
    try:
        while waiting or active:
            while waiting and len(active) < workers:
                cell = waiting.pop(0)
                connection, process = _start(cell, work)
                active[connection] = cell, process
            for connection in wait(list(active)):
                assert isinstance(connection, Connection)
                cell, process = active[connection]
                message = _message(connection, cell, process)
                if isinstance(message, int):
                    update(cell.name, message)
                    continue
                del active[connection]
                if isinstance(message, Exception):
                    failure = failure or message
                    waiting.clear()
                else:
                    yield cell, message
    finally:
        for _, process in active.values():
            process.terminate()  # there is nothing to save: a cell is finished or it is missing
    if failure is not None:
        raise failure


def _start(cell: Cell, work: Work) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(cell, work, theirs), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _message(connection: Connection, cell: Cell, process: BaseProcess) -> int | Record | Exception:
    try:
        return connection.recv()
    except EOFError:
        process.join()
        return OnelipError(f"{cell.name}: its process ended with code {process.exitcode}")


def _work(cell: Cell, work: Work, messages: Connection) -> None:
    """Body of a process: the steps done, and in the end the record, or what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the first process decides
    torch.set_num_threads(1)
    try:
        try:
            messages.send(work(cell, messages.send))
        except OnelipError as error:
            messages.send(error)
    except BrokenPipeError:
        pass  # nobody is there to hear it
