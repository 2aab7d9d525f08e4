"""The tables of docs/scaling.md: counts, and arithmetic on what results/ holds."""

from __future__ import annotations

import io
import json
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.large_critic import FLOAT, activation_bytes, layers, meta_critic, step_flops
from documents.markdown import table
from documents.measured import RESULTS, part_of
from onelip.constraint.apply import constrain
from onelip.data import load
from onelip.gan.config import TrainConfig
from onelip.gan.players import build_players
from onelip.gan.step import train_step
from onelip.provenance import shown
from onelip.study.presets import expand

STORE = RESULTS / "study" / "runs"
RUNS, MACHINES, CORES = 1_000, 100, 2
GPUS, PICTURES = 64, 2 * 32  # real and generated, a GPU
FLOPS, LINK = 1e14, 25e9  # what a GPU sustains, and what it sends, a second: assumed
KINDS = {"operator": "`spectral`", "reshaped": "`spectral-reshaped`"}


def scaling_measured() -> str:
    """Runs an hour of both engines."""
    found = part_of("scaling")
    rows = [
        f"{row['engine']} | {row['workers']} | {row['runs_an_hour']:.0f} | {row['ratio'][1]:.2f} "
        f"| {row['seconds_besides_steps']:.1f} | {row['connect_seconds']:.1f}"
        for row in found["rows"]
    ]
    head = "engine | workers | runs an hour | × one process | s a run besides steps | s to connect"
    courier, machine = found["courier"], found["provenance"]["machine"]
    sent = courier["checkpoint_bytes"] + courier["record_bytes"] + courier["other_bytes"]
    return (
        f"{table(head, rows)}\n\n"
        f"Measured at commit {shown(found['provenance']['commit'])} on {machine['processor']}, "
        f"{machine['cores']} cores. A run of these sends {sent / 1e6:.1f} MB through Ray "
        f"({courier['checkpoint_bytes'] / sent:.0%} of it checkpoints), and the engine spends "
        f"{courier['milliseconds_a_second']:.2f} ms of each second on one worker: it is busy with "
        f"{1000 / courier['milliseconds_a_second']:,.0f} of them."
    )


def scaling_sweep() -> str:
    """A thousand runs of the kind that the study's store holds most of."""
    stored = [json.loads(path.read_text()) for path in sorted(STORE.glob("*.json"))]
    config = next(iter(expand("paper", groups="main", seeds="0", only="sn-0").values()))
    like = [r for r in stored if r["config"]["data"] == "mnist" and r["config"]["steps"] == config.steps]
    seconds = median(r["summary"]["seconds"] for r in like)
    record = median((STORE / f"{r['name']}.json").stat().st_size for r in like)
    checkpoint, count = checkpoint_bytes(config), config.steps // config.checkpoint_every
    workers = MACHINES * CORES
    rounds = -(-RUNS // workers)
    rows = [
        f"one run, median of the store's | {seconds:.0f} s by a worker's clock",
        f"{RUNS:,} runs | {RUNS * seconds / 3600:.0f} hours of a worker",
        f"on {MACHINES} machines of {CORES} cores | {rounds} rounds, {rounds * seconds / 60:.0f} min",
        f"a checkpoint | {checkpoint / 1e6:.2f} MB, {count} a run",
        f"checkpoints that reach the engine | {RUNS * count * checkpoint / 1e9:.1f} GB",
        f"of these in each second | {workers * count * checkpoint / seconds / 1e6:.1f} MB",
        f"kept in run folders, two a run | {2 * RUNS * checkpoint / 1e9:.1f} GB",
        f"messages in each second | {workers}",
        f"flushed checkpoints in each second | {workers * count / seconds:.1f}",
        f"the store | {RUNS * record / 1e6:.1f} MB in {RUNS:,} files",
        f"lost with a machine, at most | {CORES * seconds / count:.0f} s of a worker",
    ]
    return table(f" | {len(like)} stored runs on digits, {config.steps:,} steps", rows)


def checkpoint_bytes(config: TrainConfig) -> int:
    """Of a run's whole state after its first step."""
    data = load(config.data)
    players = build_players(config, data.sample_shape)
    train_step(players, data, config, 1)
    buffer = io.BytesIO()
    torch.save(players.state_dict(), buffer)
    return buffer.tell()


def scaling_layers() -> str:
    """The layers of the large critic, and what one power iteration costs in each."""
    rows = []
    for layer in layers():
        (_, v), map = layer.vector_floats("operator"), layer.maps["operator"]
        rows.append(
            f"`{layer.name}` | {'×'.join(str(n) for n in map.weight.shape)} | {map.in_shape[-1]} "
            f"| {FLOAT * layer.weights / 1e6:.2f} | {layer.forward_flops / 1e9:.2f} "
            f"| {layer.iteration_flops('operator') / 1e9:.2f} "
            f"| {layer.iteration_flops('reshaped') / 1e9:.3f} | {FLOAT * v / 1e6:.2f}"
        )
    head = "layer | weight | side | MB | GFLOP a picture | GFLOP, operator | GFLOP, reshaped | v, MB"
    return table(head, rows)


def scaling_step() -> str:
    """One critic step on every GPU, and what either kind of spectral normalization adds."""
    all_layers = layers()
    parameters = FLOAT * sum(p.numel() for p in meta_critic().parameters())
    work, sent = step_flops(PICTURES), 2 * (GPUS - 1) / GPUS * parameters
    rows = [
        f"weights | {parameters / 1e6:.0f} MB",
        f"forward and backward | {work / 1e12:.2f} TFLOP, {1e3 * work / FLOPS:.0f} ms",
        f"kept for the backward | {activation_bytes(PICTURES) / 1e9:.2f} GB",
        f"gradients, all-reduced | {sent / 1e6:.0f} MB sent, {1e3 * sent / LINK:.0f} ms",
        f"Adam's state | {2 * parameters / 1e6:.0f} MB",
        f"a checkpoint without constraint | {3 * parameters / 1e6:.0f} MB",
    ]
    for kind, title in KINDS.items():
        flops = sum(layer.iteration_flops(kind) for layer in all_layers)
        vectors = [layer.vector_floats(kind) for layer in all_layers]
        u, v = (FLOAT * sum(each) for each in zip(*vectors, strict=True))
        weights = FLOAT * sum(layer.weights for layer in all_layers)
        state = FLOAT * sum(layer.state_floats(kind) for layer in all_layers)
        rows += [
            f"{title}: an iteration | {flops / 1e9:.2f} GFLOP, {flops / work:.2%} of the step",
            f"{title}: read by it | {(3 * weights + 3 * (u + v)) / 1e6:.0f} MB",
            f"{title}: state | {state / 1e6:.0f} MB",
            f"{title}: more in a checkpoint | {(weights + u + 2 * v) / 1e6:.0f} MB",
            f"{title}: buffers that DDP broadcasts | {(u + 2 * v) / 1e6:.1f} MB a forward",
            f"{title}: all-reduced if sharded by rows | {v / 1e6:.1f} MB an iteration",
        ]
    rows.append(f"waits for the GPU, a layer and change | {host_waits()}")
    return table(f"a critic step | on each of {GPUS} GPUs, {PICTURES} pictures", rows)


class _Waits(TorchDispatchMode):
    """Counts the operators that need a number from the device."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func._schema.name in ("aten::_local_scalar_dense", "aten::equal")
        return func(*args, **(kwargs or {}))


def host_waits() -> int:
    """How often one layer makes the processor wait for the GPU where its weight has changed."""
    layer = constrain(nn.Sequential(nn.Linear(4, 4)), "spectral", input_shape=(4,), iterations=1)
    with torch.no_grad():
        layer.get_parameter("0.parametrizations.weight.original").mul_(2)
    layer.train()
    with _Waits() as waits:
        layer(torch.zeros(1, 4))
    return waits.count
