"""The command: thin, one function per subcommand, nothing heavy imported before it is needed.

Whatever onelip raises on purpose, and whatever the system refuses, is one line and exit code 2.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from onelip.errors import ArgumentError, OnelipError
from onelip.gan.config import TrainConfig
from onelip.study.w1bench.run import W1Bench
from onelip.study.w1bench.run import run as w1bench

if TYPE_CHECKING:
    from onelip.study.jobs import Outcome
    from onelip.study.progress import Progress

EXIT_INTERRUPTED = 130  # what a shell reports for a process that Ctrl-C ended


@dataclass(frozen=True)
class Train(TrainConfig):
    """Train one generator and critic; the same command again continues an interrupted run."""

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
    out: Path = Path("samples.png")
    """File to write."""
    format: Literal["png", "npz"] | None = None
    """png: a picture grid; npz: the array `samples`. By default what the file's name ends in."""
    seed: int = 0
    """Seed of the noise."""


@dataclass(frozen=True)
class Study:
    """Train every run of a preset that is missing, and write figures and a report. Resumes where it stopped.

    quick: clip, gp and sn side by side on MNIST in minutes. paper: the whole study, half a day of one core.
    merge A B ...: put the runs of several stores into one. claims: what the results say of every claim.
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
    """Folder of theory.json and of the figures."""
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


def train(options: Train) -> int:
    fields = {f.name: getattr(options, f.name) for f in dataclasses.fields(TrainConfig)}
    config = TrainConfig(**fields).resolved()
    if options.threads is not None and options.threads < 1:
        raise ArgumentError("threads", "positive", options.threads, "leave it out for the fastest number")
    if options.dry_run:
        print(json.dumps(dataclasses.asdict(config), indent=1))
        return 0
    from onelip.gan.run import RunFolder
    from onelip.study.engine import run_jobs
    from onelip.study.jobs import Job

    path = options.out or Path("runs") / f"{config.data}-{config.method}-{config.seed}"
    job = Job(path, config, threads=options.threads)
    RunFolder(job.path).claim(config)
    with _progress({job.name: config.steps}) as progress:
        outcomes = run_jobs([job], workers=1, progress=progress)
    return _exit_code(outcomes, 1) or _say(f"the run is in {job.path}")


def sample(options: Sample) -> int:
    if options.count < 1:
        raise ArgumentError("count", "positive", options.count, "pass --count 64")
    from onelip.gan.run import RunFolder
    from onelip.gan.sampling import write_samples

    kind = options.format or ("npz" if options.out.suffix == ".npz" else "png")
    step = write_samples(RunFolder(options.run), options.count, options.seed, options.out, kind)
    print(f"{options.count} samples of step {step} in {options.out}")
    return 0


def study(options: Study) -> int:
    from onelip.study.presets import expand

    if options.preset == "merge":
        return _merge(options)
    if options.stores:
        received = " ".join(map(str, options.stores))
        raise ArgumentError("stores", "left out except for merge", received, "see onelip study --help")
    if options.preset == "claims":
        from onelip.study.claims.run import run_claims

        return _say(run_claims(options.results, options.json or options.results / "claims.json"))
    out = options.out or Path("runs") / options.preset
    store = options.store or out / "store"
    if options.workers < 1:
        raise ArgumentError("workers", "positive", options.workers, "pass --workers 2")
    changed = {name: getattr(options, name) for name in ("steps", "width", "data", "data_dir", "device")}
    overrides = {name: value for name, value in changed.items() if value is not None}
    configs = expand(options.preset, options.seeds, overrides, options.groups, options.only)
    from onelip.study.engine import engine
    from onelip.study.study import missing_runs, run_study, write_results

    missing = missing_runs(configs, store)
    if options.dry_run:
        return _plan(options, configs, set(missing))
    began = time.monotonic()
    totals = {name: config.steps for name, config in missing.items()}
    with engine(options.engine, options.ray_address, options.workers) as start, _progress(totals) as progress:
        outcomes = run_study(configs, out, options.workers, progress, store, start)
    code = _exit_code(outcomes, len(missing))
    if code == EXIT_INTERRUPTED:
        return code
    report = write_results(f"onelip study: {options.preset}", configs, out, store)
    _say(f"{len(configs)} runs and their figures in {time.monotonic() - began:.0f} s: open {report}")
    return code


def _plan(options: Study, configs: dict[str, TrainConfig], missing: set[str]) -> int:
    import torch
    from rich.console import Console

    from onelip.study.calibrate import plan

    torch.set_num_threads(1)
    Console().print(plan(options.preset, options.groups, configs, missing))
    return 0


def _merge(options: Study) -> int:
    from onelip.study.records import merge

    if not options.stores:
        raise ArgumentError("stores", "one or more folders", "none", "onelip study merge A B --into C")
    inside = [path / "store" if (path / "store").is_dir() else path for path in options.stores]
    copied = merge(inside, options.into)
    return _say(f"{copied} runs copied into {options.into}")


def theory(options: Theory) -> int:
    from onelip.study.theory.run import experiments, run_theory

    configs = experiments(options.only or None)
    with _progress({name: config.units for name, config in configs.items()}) as progress:
        outcomes = run_theory(configs, options.out, progress, options.workers, options.data_dir)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in failed:
        _fail(f"{outcome.name}: {outcome.error}")
    return 2 if failed else _say(f"{len(outcomes)} experiments in {options.out}")


def evaluate(options: Evaluate) -> int:
    from rich.console import Console

    from onelip.files import write_json
    from onelip.gan.run import RunFolder
    from onelip.study.evaluate import evaluate_run, table

    settings = {f.name: getattr(options, f.name) for f in dataclasses.fields(Evaluate)}
    out = settings.pop("json") or options.run / "evaluation.json"
    result = evaluate_run(RunFolder(settings.pop("run")), **settings)
    write_json(out, result)
    Console().print(table(result))
    return _say(f"written to {out}")


def audit(options: Audit) -> int:
    from onelip.certificate.audit import run_audit

    return run_audit(
        options.file,
        options.input_shape,
        factory=options.factory,
        weights=options.weights,
        json_out=options.json,
        max_lipschitz=options.max_lipschitz,
    )


def report(options: Report) -> int:
    from onelip.study.report.page import write_report
    from onelip.study.report.read import read_study

    runs = read_study(options.study)
    out = options.out or options.study / "report.html"
    title = f"onelip study: {options.study.resolve().name}"
    write_report(title, runs, out, options.study, options.claims, options.w1bench)
    return _say(f"{len(runs)} runs: open {out}")


def _progress(totals: dict[str, int]) -> Progress:
    from rich.console import Console

    from onelip.study.progress import progress_for

    return progress_for(totals, Console())


def _exit_code(outcomes: list[Outcome], expected: int) -> int:
    """Say what the user must know of runs that did not finish; the process's exit code."""
    failed = [outcome for outcome in outcomes if outcome.result is None]
    for outcome in failed:
        _fail(f"{outcome.job.name}: {outcome.error}")
    stopped = [o for o in outcomes if o.result is not None and o.result.status == "interrupted"]
    if stopped or len(outcomes) < expected:
        return _interrupted()
    return 2 if failed else 0


def _interrupted() -> int:
    _say(f"stopped. To continue: {shlex.join(['onelip', *sys.argv[1:]])}")
    return EXIT_INTERRUPTED


def _say(message: str) -> int:
    print(message)
    return 0


_RUN: dict[type, Callable[..., int]] = {
    Train: train,
    Sample: sample,
    Study: study,
    Theory: theory,
    W1Bench: w1bench,
    Evaluate: evaluate,
    Audit: audit,
    Report: report,
}


def main() -> None:
    """Entry point of the command `onelip`."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    options = tyro.cli(
        Command,
        prog="onelip",
        description="1-Lipschitz GAN critics you can prove, and the study that tests the claims about them.",
        config=(tyro.conf.OmitSubcommandPrefixes,),
    )
    try:
        code = _RUN[type(options)](options)
    except KeyboardInterrupt:
        code = _interrupted()
    except OnelipError as error:
        code = _fail(str(error))
    except OSError as error:
        code = _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    sys.exit(code)


def _fail(message: str) -> int:
    print(f"onelip: {message}", file=sys.stderr)
    return 2
