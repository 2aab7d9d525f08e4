"""What each subcommand of the command line takes: a field an option, its docstring the help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from onelip.gan.config import TrainConfig
from onelip.study.w1bench.run import W1Bench


@dataclass(frozen=True)
class Train(TrainConfig):
    """Train one generator and critic; the same command again continues an interrupted run.

    Exit code 1 where a weight or a measurement became NaN or infinite; what was recorded is kept.
    """

    out: Path | None = None
    """Run folder (default: runs/<data>-<method>-<seed>)."""
    threads: int | None = None
    """Threads on the CPU; by default as many as a few steps at the start find fastest."""
    dry_run: bool = False
    """Print the resolved configuration and stop."""


@dataclass(frozen=True)
class Sample:
    """Draw samples from a finished or running run, from its folder alone."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder, as `onelip train` and `onelip study` write it."""
    count: int = 64
    """How many samples."""
    out: Path | None = None
    """File to write (default: samples.png, or samples.npz with --format npz)."""
    format: Literal["png", "npz"] | None = None
    """png: a picture grid; npz: the array `samples`. By default what the file's name ends in."""
    seed: int = 0
    """Seed of the noise."""


@dataclass(frozen=True)
class Study:
    """Train every run of a preset that is missing, and write figures and a report. Resumes where it stopped.

    quick: clip, gp and sn side by side on MNIST in minutes. paper: the whole study, about 11 hours of one
    worker. merge A B ...: put the runs of several stores into one. claims: what the results say of every
    claim.
    """

    preset: Annotated[str, tyro.conf.Positional] = "quick"
    """quick, paper, merge, or claims."""
    stores: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """merge: the stores to read, or study folders that have one in them."""
    into: Path = Path("results/study")
    """merge: the store to write."""
    results: Path = Path("results")
    """claims: the folder of study/ and theory.json."""
    json: Path | None = None
    """claims: file for the verdicts (default: claims.json in that folder)."""
    out: Path | None = None
    """Folder of the study (default: runs/<preset>)."""
    store: Path | None = None
    """Folder of the small files that remain, one a run; what it holds is not trained (default: OUT/store)."""
    groups: str | None = None
    """Groups of the preset in place of all, with commas between them: main,losses."""
    only: str = "*"
    """Pattern of the names of the runs to train: 'sn*-0'."""
    workers: int = 2
    """Runs at a time, each in a process of its own with one thread."""
    engine: Literal["local", "ray"] = "local"
    """local: workers on this machine. ray: on a Ray cluster, whose nodes need to share no disk."""
    ray_address: str = "auto"
    """auto: the cluster of $RAY_ADDRESS or of this machine, else one of its own here; local: one of its own;
    or HOST:PORT."""
    seeds: str | None = None
    """3, 0-4 or 0,2,5. quick: in place of its seed; paper: which of its seeds."""
    steps: int | None = None
    """Generator steps in place of the preset's."""
    width: int | None = None
    """Network width in place of the preset's."""
    data: str | None = None
    """Data set in place of the preset's."""
    data_dir: str | None = None
    """Folder of the data."""
    device: str | None = None
    """Device in place of the preset's: cpu, cuda, or auto."""
    dry_run: bool = False
    """Print what is missing and the time that it will take, from a short calibration, and stop."""


@dataclass(frozen=True)
class Theory:
    """Run the theory as experiments: disjoint supports, duality, the Lipschitz product, power iteration."""

    out: Path = Path("runs/theory")
    """Folder of theory.json; the figures go into its theory/."""
    only: tuple[str, ...] = ()
    """Experiments in place of all: disjoint, duality, product, power."""
    workers: int = 2
    """Experiments at a time, each in a process of its own with one thread."""
    data_dir: str | None = None
    """Folder of MNIST."""


@dataclass(frozen=True)
class Evaluate:
    """Measure a finished run's generator: image metrics or mode coverage, beside what real samples reach."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder, as `onelip train` and `onelip study` write it."""
    samples: int | None = None
    """How many samples (default: 10,000 images, 26,000 stacked digits, 2,500 points in the plane)."""
    features: str | None = None
    """In place of the digit classifier: package.module:name of what maps images [B, C, H, W] to [B, d]."""
    device: str = "auto"
    """cpu, cuda, or auto: a GPU where there is one."""
    seed: int = 0
    """Seed of the noise."""
    data_dir: str | None = None
    """Folder of the data in place of the run's."""
    json: Path | None = None
    """File for the numbers (default: evaluation.json in the run folder)."""


@dataclass(frozen=True)
class Audit:
    """Certify the Lipschitz constant of a network, layer by layer; exit code 1 where it is too large."""

    input_shape: str
    """Shape of one sample, without the batch axis: 1,28,28."""
    file: Annotated[Path | None, tyro.conf.Positional] = None
    """A torch.export program (.pt2). No pickle in it is ever executed."""
    factory: str | None = None
    """In place of a file: package.module:function that returns the network."""
    weights: Path | None = None
    """safetensors file to load into what the factory returns."""
    json: Path | None = None
    """File for the certificate as JSON."""
    max_lipschitz: float | None = None
    """Exit with code 1 when the proved upper bound exceeds this."""


@dataclass(frozen=True)
class Report:
    """Write one page that shows a study: self-contained, interactive, offline."""

    study: Annotated[Path, tyro.conf.Positional]
    """Folder that `onelip study` wrote, or a store of runs such as results/study."""
    out: Path | None = None
    """File to write (default: report.html in that folder)."""
    claims: Path | None = None
    """File of verdicts (default: claims.json in that folder or beside it, where there is one)."""
    w1bench: Path | None = None
    """File of the W₁ benchmark (default: w1bench.json in that folder or beside it, where there is one)."""


Command = (
    Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Sample, tyro.conf.subcommand("sample")]
    | Annotated[Study, tyro.conf.subcommand("study")]
    | Annotated[Theory, tyro.conf.subcommand("theory")]
    | Annotated[W1Bench, tyro.conf.subcommand("w1bench")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Audit, tyro.conf.subcommand("audit")]
    | Annotated[Report, tyro.conf.subcommand("report")]
)
