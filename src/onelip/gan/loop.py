"""The training loop, top to bottom: restore, step, observe, record, checkpoint."""

from __future__ import annotations

import json
import math
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onelip.data import load
from onelip.data.sets import DataSet
from onelip.errors import CheckpointError
from onelip.gan.checkpoint import load_newest, save_checkpoint
from onelip.gan.config import TrainConfig
from onelip.gan.flat import flatten
from onelip.gan.observe import MakeObserver, Observer, no_observer, observe_gradients, observe_layers
from onelip.gan.players import Players, build_players, run_device
from onelip.gan.run import RunFolder, RunResult
from onelip.gan.sampling import GRID_COUNT, generate, write_grid
from onelip.gan.step import train_step
from onelip.gan.tensorboard import scalar_writer
from onelip.gan.weights import export_weights, fitted
from onelip.provenance import provenance


def train(
    config: TrainConfig,
    path: Path,
    should_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda message: None,
    make_observer: MakeObserver = no_observer,
) -> RunResult:
    """Train one pair of players in the folder `path`, or continue where it stopped.

    A finished run returns its result at once. On the CPU an interrupted run, continued with as many
    threads, ends with the weights and metrics of one that was never interrupted, bit for bit. `should_stop`
    is asked after every step; `say` receives what the user should know; `make_observer` makes what measures
    beside the loop. Raises CheckpointError for another configuration's folder, or one that another process
    holds.
    """
    config = config.resolved()
    run = RunFolder(path)
    with run.claimed(config):
        result = run.result()
        return result if result is not None else _train(config, run, should_stop, say, make_observer)


def _train(
    config: TrainConfig,
    run: RunFolder,
    should_stop: Callable[[], bool],
    say: Callable[[str], None],
    make_observer: MakeObserver,
) -> RunResult:
    data = load(config.data, config.data_dir)
    observe = make_observer(config, data)
    players = build_players(config, data.sample_shape)
    done = _restore(players, data.sample_shape, config, run, say)
    run.begin(done + 1, data.sample_shape, {"threads": torch.get_num_threads()} | provenance())
    if done == 0:
        _write_samples(run, 0, _samples(players, config))
    with run.metrics_path.open("a") as metrics, scalar_writer(run.path, done + 1, say) as write_scalars:
        for step in range(done + 1, config.steps + 1):
            record = _measured_step(players, data, config, step, observe)
            broken = [name for name, value in flatten(record).items() if not math.isfinite(value)]
            drawing = not broken and (step % config.samples_every == 0 or step == config.steps)
            drawn = _samples(players, config) if drawing else None
            if drawn is not None and not drawn.isfinite().all():
                broken = ["samples"]
            if broken:
                return run.finish(RunResult("diverged", step, f"{' and '.join(broken)} not finite"))
            metrics.write(json.dumps(record) + "\n")
            metrics.flush()
            write_scalars(record)
            if drawn is not None:
                _write_samples(run, step, drawn)
            stopping = step < config.steps and should_stop()
            if stopping or step % config.checkpoint_every == 0 or step == config.steps:
                os.fsync(metrics.fileno())  # never a checkpoint of steps whose records a power cut took
                saved = save_checkpoint(run.checkpoints_path, step, players.state_dict())
                if stopping:
                    return RunResult("interrupted", step, f"saved {saved}")
    export_weights(players, run)
    return run.finish(RunResult("finished", config.steps))


def _restore(
    players: Players,
    sample_shape: tuple[int, ...],
    config: TrainConfig,
    run: RunFolder,
    say: Callable[[str], None],
) -> int:
    """Load the newest whole checkpoint and return its step, 0 where there is none."""
    step, state, warnings = load_newest(run.checkpoints_path, run_device(config))
    for warning in warnings:
        say(f"{warning}; continuing from step {step}")
    if step:
        _require_shape(run, sample_shape)
        fitted(players, state, run)
        began, now = run.threads(), torch.get_num_threads()
        if began not in (None, now):
            say(f"threads: {began} when the run began, {now} now: it may not end with the same bits")
    return step


def _require_shape(run: RunFolder, now: tuple[int, ...]) -> None:
    """A folder of pictures may hold others than when the run began, for which its players are not made."""
    began = run.sample_shape() if run.starts() else now
    if began != now:
        said = f"{run.path} was trained on samples of {began}, and the data are of {now} now"
        raise CheckpointError(f"{said}: put the data back, or choose another --out")


def _measured_step(
    players: Players, data: DataSet, config: TrainConfig, step: int, observe: Observer
) -> dict[str, Any]:
    """One training step and the measurements that are due, as a record of plain numbers.

    seconds, cpu_seconds: of the training alone. elapsed_seconds: with the measurements.
    """
    began, cpu_began = time.perf_counter(), time.process_time()
    values = train_step(players, data, config, step)
    record: dict[str, Any] = {"step": step} | _to_floats(values)
    record["seconds"] = time.perf_counter() - began
    record["cpu_seconds"] = time.process_time() - cpu_began
    record["peak_memory_mib"] = _peak_memory_mib(run_device(config))

    def due(every: int) -> bool:
        return step % every == 0 or step in (1, config.steps)

    if not _weights_are_finite(players):
        record["weights"] = math.nan
    elif all(map(math.isfinite, record.values())):
        if due(config.gradients_every):
            record["input_gradient"] = observe_gradients(players, data, config, step)
        if due(config.layers_every):
            record["layers"] = observe_layers(players.critic, data.sample_shape)
        record |= observe(players, step)
    record["elapsed_seconds"] = time.perf_counter() - began
    return record


def _weights_are_finite(players: Players) -> bool:
    """Running statistics count: a generator whose statistics are not finite trains on and draws nothing."""
    state = [t for m in (players.generator, players.critic) for t in (*m.parameters(), *m.buffers())]
    state = [t for t in state if t.is_floating_point()]
    # The norm is quick, but its squares overflow where weights are merely large.
    norm = torch.nn.utils.get_total_norm(state)
    return bool(norm.isfinite()) or all(bool(t.isfinite().all()) for t in state)


def _to_floats(values: dict[str, Tensor]) -> dict[str, float]:
    """All values in one transfer: a synchronisation a step, not one a number."""
    return dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True))


def _peak_memory_mib(device: torch.device) -> float:
    """Largest memory so far: of tensors on a GPU, of the whole process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _samples(players: Players, config: TrainConfig) -> Tensor:
    """From noise that is the same at every step."""
    return generate(players.generator, config.latent, GRID_COUNT, config.seed)


def _write_samples(run: RunFolder, step: int, samples: Tensor) -> None:
    write_grid(run.samples_path / f"step-{step:08d}.png", samples)
