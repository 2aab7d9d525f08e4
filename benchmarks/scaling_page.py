"""The tables of docs/scaling.md: counts, and arithmetic on what results/ holds."""

from __future__ import annotations

import io
import json
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.large_critic import FLOAT, activation_bytes, layers, meta_critic, step_flops
from onelip.constraint.apply import constrain
from onelip.data import load
from onelip.gan.config import TrainConfig
from onelip.gan.players import build_players
from onelip.gan.step import train_step
from onelip.provenance import shown
from onelip.study.presets import expand

RESULTS = Path(__file__).parents[1] / "results"
STORE = RESULTS / "study" / "runs"
RUNS, MACHINES, CORES = 1_000, 100, 2
GPUS, PICTURES = 64, 2 * 32  # real and generated, a GPU
FLOPS, LINK = 1e14, 25e9  # what a GPU sustains, and what it sends, a second: assumed
KINDS = {"operator": "`spectral`", "reshaped": "`spectral-reshaped`"}


def scaling_measured() -> str:
    """Runs an hour of both engines, once `python -m benchmarks scaling` has been run."""
    path = RESULTS / "benchmarks.json"
    found = json.loads(path.read_text()).get("scaling") if path.exists() else None
    if found is None:
        return "Not measured yet: `python -m benchmarks scaling`."
    rows = [
        (
            row["engine"],
            row["workers"],
            f"{row['runs_an_hour']:.0f}",
            f"{row['ratio'][1]:.2f}",
            f"{row['seconds_besides_steps']:.1f}",
            f"{row['connect_seconds']:.1f}",
        )
        for row in found["rows"]
    ]
    titles = ("engine", "workers", "runs an hour", "× one process", "s a run besides steps", "s to connect")
    courier, machine = found["courier"], found["provenance"]["machine"]
    sent = courier["checkpoint_bytes"] + courier["record_bytes"] + courier["other_bytes"]
    return (
        f"{markdown_table(titles, rows)}\n\n"
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
        ("one run, median of the store's", f"{seconds:.0f} s by a worker's clock"),
        (f"{RUNS:,} runs", f"{RUNS * seconds / 3600:.0f} hours of a worker"),
        (f"on {MACHINES} machines of {CORES} cores", f"{rounds} rounds, {rounds * seconds / 60:.0f} min"),
        ("a checkpoint", f"{checkpoint / 1e6:.2f} MB, {count} a run"),
        ("checkpoints that reach the engine", f"{RUNS * count * checkpoint / 1e9:.1f} GB"),
        ("of these in each second", f"{workers * count * checkpoint / seconds / 1e6:.1f} MB"),
        ("kept in run folders, two a run", f"{2 * RUNS * checkpoint / 1e9:.1f} GB"),
        ("messages in each second", f"{workers}"),
        ("flushed checkpoints in each second", f"{workers * count / seconds:.1f}"),
        ("the store", f"{RUNS * record / 1e6:.1f} MB in {RUNS:,} files"),
        ("lost with a machine, at most", f"{CORES * seconds / count:.0f} s of a worker"),
    ]
    return markdown_table(("", f"{len(like)} stored runs on digits, {config.steps:,} steps"), rows)


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
        (_, v), (*_, into) = layer.vector_floats("operator"), layer.maps["operator"].in_shape
        rows.append(
            (
                f"`{layer.name}`",
                "×".join(map(str, layer.maps["operator"].weight.shape)),
                into,
                f"{FLOAT * layer.weights / 1e6:.2f}",
                f"{layer.forward_flops / 1e9:.2f}",
                f"{layer.iteration_flops('operator') / 1e9:.2f}",
                f"{layer.iteration_flops('reshaped') / 1e9:.3f}",
                f"{FLOAT * v / 1e6:.2f}",
            )
        )
    titles = (
        "layer",
        "weight",
        "side",
        "MB",
        "GFLOP a picture",
        "GFLOP, operator",
        "GFLOP, reshaped",
        "v, MB",
    )
    return markdown_table(titles, rows)


def scaling_step() -> str:
    """One critic step on every GPU, and what either kind of spectral normalization adds."""
    all_layers = layers()
    parameters = FLOAT * sum(p.numel() for p in meta_critic().parameters())
    work, sent = step_flops(PICTURES), 2 * (GPUS - 1) / GPUS * parameters
    rows = [
        ("weights", f"{parameters / 1e6:.0f} MB"),
        ("forward and backward", f"{work / 1e12:.2f} TFLOP, {1e3 * work / FLOPS:.0f} ms"),
        ("kept for the backward", f"{activation_bytes(PICTURES) / 1e9:.2f} GB"),
        ("gradients, all-reduced", f"{sent / 1e6:.0f} MB sent, {1e3 * sent / LINK:.0f} ms"),
        ("Adam's state", f"{2 * parameters / 1e6:.0f} MB"),
        ("a checkpoint without constraint", f"{3 * parameters / 1e6:.0f} MB"),
    ]
    for kind, title in KINDS.items():
        flops = sum(layer.iteration_flops(kind) for layer in all_layers)
        vectors = [layer.vector_floats(kind) for layer in all_layers]
        u, v = (FLOAT * sum(each) for each in zip(*vectors, strict=True))
        weights = FLOAT * sum(layer.weights for layer in all_layers)
        state = FLOAT * sum(layer.state_floats(kind) for layer in all_layers)
        rows += [
            (f"{title}: an iteration", f"{flops / 1e9:.2f} GFLOP, {flops / work:.2%} of the step"),
            (f"{title}: read by it", f"{(3 * weights + 3 * (u + v)) / 1e6:.0f} MB"),
            (f"{title}: state", f"{state / 1e6:.0f} MB"),
            (f"{title}: more in a checkpoint", f"{(weights + u + 2 * v) / 1e6:.0f} MB"),
            (f"{title}: buffers that DDP broadcasts", f"{(u + 2 * v) / 1e6:.1f} MB a forward"),
            (f"{title}: all-reduced if sharded by rows", f"{v / 1e6:.1f} MB an iteration"),
        ]
    rows.append(("waits for the GPU, a layer and change", f"{host_waits()}"))
    titles = ("a critic step", f"on each of {GPUS} GPUs, {PICTURES} pictures")
    return markdown_table(titles, rows)


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


def markdown_table(titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """A table in Markdown, all columns but the first flush right."""
    lines = [titles, ("---", *["--:"] * (len(titles) - 1)), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


BLOCKS = (scaling_measured, scaling_sweep, scaling_layers, scaling_step)
