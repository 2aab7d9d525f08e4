"""`onelip w1bench`: train what is missing, score it, and show it beside the published values."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from onelip.errors import ArgumentError

if TYPE_CHECKING:
    from onelip.study.w1bench.settings import Cell
    from onelip.transport import FunnelPair


@dataclass(frozen=True)
class W1Bench:
    """Train critics on pairs of laws whose W₁ is known, and score them; the same command fills gaps."""

    dim: tuple[int, ...] = ()
    """Dimensions D of the pairs (default: 16)."""
    funnels: tuple[int, ...] = ()
    """Numbers N of funnels of the pairs (default: 4)."""
    pair: Path | None = None
    """A stored pair in place of drawn ones: a torch or safetensors file of centers [N, D] and bias [N]."""
    critic: tuple[str, ...] = ()
    """Critics in place of the preset's: clip-, gp-, lp-, spectral- or spectral-reshaped- with relu or maxmin;
    orthogonal-maxmin, orthogonal-fullsort, sorting-network, best."""
    preset: Literal["published", "best"] = "best"
    """best: the critic that comes closest. published: the published protocol, sorting network included."""
    seeds: str = "0"
    """Seeds of pair, weights and samples: 3, 0-2 or 0,2,5."""
    steps: int | None = None
    """Training steps in place of the critic's setting."""
    batch: int | None = None
    """Samples of each law a step in place of the critic's setting."""
    width: int | None = None
    """Width of the hidden layers in place of the critic's setting."""
    lr: float | None = None
    """Learning rate in place of the critic's setting."""
    w1_samples: int = 10**6
    """Samples behind Ŵ₁, W₁ and their difference."""
    workers: int = 1
    """Runs at a time; several are processes of one thread each."""
    json: Path = Path("runs/w1bench.json")
    """File of the finished runs, read first; what it lacks is trained and added."""


def run(options: W1Bench) -> int:
    """Run every cell of `options` that the file lacks; print the table; 0 as the process's exit code.

    KeyboardInterrupt passes on: what was finished stays, and the same call trains the rest.
    """
    from rich.console import Console

    from onelip.files import require_place
    from onelip.study.progress import progress_for
    from onelip.study.w1bench.measuring import measure, measured
    from onelip.study.w1bench.records import add_record, find, read_records
    from onelip.study.w1bench.table import WIDTH, table

    cells = plan(options)
    found = read_records(options.json)
    require_place(options.json)  # what cannot be written should not be trained
    missing = [cell for cell in cells if find(found, cell, options.w1_samples) is None]
    work = partial(measure, stored=options.pair, w1_samples=options.w1_samples)
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH  # a pipe has none of its own, and 80 would break every row
    with (
        progress_for({cell.name: cell.all_steps for cell in missing}, console) as progress,
        closing(measured(missing, work, options.workers, progress.update)) as results,
    ):
        for cell, record in results:
            add_record(options.json, record)
            progress.finish(cell.name, f"cos {record['cos']:.3f}, L² {record['l2']:.3f}")
    records = read_records(options.json)
    shown = [record for cell in cells if (record := find(records, cell, options.w1_samples))]
    console.print(table(shown))
    console.print(f"{len(cells)} runs, {len(missing)} of them new, in {options.json}")
    return 0


def plan(options: W1Bench) -> list[Cell]:
    """The cells that `options` ask for, each once. Raises ArgumentError for what cannot be."""
    from onelip.study.presets import parse_seeds
    from onelip.study.w1bench.settings import PRESETS, cell_of

    if options.w1_samples < 2:
        raise ArgumentError("w1_samples", "at least 2", options.w1_samples, "pass --w1-samples 1000000")
    if options.workers < 1:
        raise ArgumentError("workers", "positive", options.workers, "pass --workers 1")
    changes = {name: getattr(options, name) for name in ("steps", "batch", "width", "lr")}
    cells = (
        cell_of(critic, dim, funnels, seed, digest, **changes)
        for dim, funnels, digest in _sizes(options)
        for critic in options.critic or PRESETS[options.preset]
        for seed in parse_seeds(options.seeds)
    )
    return list(dict.fromkeys(cells))


def _sizes(options: W1Bench) -> list[tuple[int, int, str | None]]:
    """(D, N, digest of a stored pair) of every pair."""
    from onelip.transport import load_pair

    if options.pair is None:
        return [(dim, funnels, None) for dim in options.dim or (16,) for funnels in options.funnels or (4,)]
    pair = load_pair(options.pair)
    funnels, dim = pair.centers.shape
    for name, given, found in (("dim", options.dim, dim), ("funnels", options.funnels, funnels)):
        if given not in ((), (found,)):
            raise ArgumentError(name, f"that of the stored pair, {found}", given, f"leave --{name} out")
    return [(dim, funnels, _digest(pair))]


def _digest(pair: FunnelPair) -> str:
    numbers = pair.centers.numpy().tobytes() + pair.bias.numpy().tobytes()
    return hashlib.sha256(numbers).hexdigest()[:16]
