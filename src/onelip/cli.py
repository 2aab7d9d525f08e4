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
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from onelip.errors import (
    EXIT_DIVERGED,
    EXIT_INTERRUPTED,
    ArgumentError,
    OnelipError,
    one_line,
    refusal,
    require_name,
)
from onelip.files import require_place
from onelip.gan.config import TrainConfig, require_seed, require_threads
from onelip.options import Audit, Command, Evaluate, Report, Sample, Study, Theory, Train
from onelip.study.w1bench.run import W1Bench
from onelip.study.w1bench.run import run as w1bench

if TYPE_CHECKING:
    from onelip.study.jobs import Outcome
    from onelip.study.progress import Progress


def train(options: Train) -> int:
    fields = {f.name: getattr(options, f.name) for f in dataclasses.fields(TrainConfig)}
    config = TrainConfig(**fields).resolved()
    if options.threads is not None:
        require_threads(options.threads)
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
    code = _exit_code(outcomes, 1)
    if code == 0 and any(o.result is not None and o.result.status == "diverged" for o in outcomes):
        _say(f"the run diverged: what it recorded is in {job.path}")
        return EXIT_DIVERGED
    return code or _say(f"the run is in {job.path}")


def sample(options: Sample) -> int:
    if options.count < 1:
        raise ArgumentError("count", "positive", options.count, "pass --count 64")
    require_seed(options.seed)
    out = options.out or Path(f"samples.{options.format or 'png'}")
    ending = out.suffix.removeprefix(".")
    kind = options.format or ending
    if kind not in ("png", "npz"):
        raise ArgumentError("out", "a name that ends in .png or .npz", out, "or pass --format png")
    if ending in ("png", "npz") and ending != kind:
        raise ArgumentError("out", f"a name that ends in .{kind}", out, "leave --out or --format out")
    from onelip.gan.run import RunFolder
    from onelip.gan.sampling import write_samples

    run = RunFolder(options.run)
    run.config()  # no folder is made for what is no run
    require_place(out)
    step = write_samples(run, options.count, options.seed, out, kind, _say)
    print(f"{options.count} samples of step {step} in {out}")
    return 0


def study(options: Study) -> int:
    from onelip.study.presets import PRESETS, expand

    require_name("preset", options.preset, (*PRESETS, *_OWN))
    _refuse_what_is_of_another(options)
    if options.preset == "merge":
        return _merge(options)
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
        outcomes = run_study(missing, out, options.workers, progress, store, start)
    code = _exit_code(outcomes, len(missing))
    if code == EXIT_INTERRUPTED:
        return code
    report = write_results(f"onelip study: {options.preset}", configs, out, store)
    failed = sum(outcome.result is None for outcome in outcomes)
    _say(f"{len(configs) - failed} runs and their figures in {time.monotonic() - began:.0f} s: open {report}")
    return code


# Options of `onelip study` that only one of its words takes.
_OWN = {"merge": {"stores", "into"}, "claims": {"results", "json"}}


def _refuse_what_is_of_another(options: Study) -> None:
    """An option that would change nothing is a misunderstanding: better said than ignored."""
    own, of_any = _OWN.get(options.preset), set[str]().union(*_OWN.values())
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        taken = field.name not in of_any if own is None else field.name in own
        if not taken and field.name != "preset" and value != field.default:
            requirement = f"left out of study {options.preset}"
            raise ArgumentError(field.name, requirement, value, "see onelip study --help")
    if options.engine == "local" and options.ray_address != "auto":
        address, requirement = options.ray_address, "left out where the engine is local"
        raise ArgumentError("ray_address", requirement, address, "pass --engine ray with it")


def _plan(options: Study, configs: dict[str, TrainConfig], missing: set[str]) -> int:
    import torch
    from rich.console import Console

    from onelip.study.forecast import plan

    torch.set_num_threads(1)
    Console().print(plan(options.preset, options.groups, configs, missing))
    return 0


def _merge(options: Study) -> int:
    from onelip.study.merging import merge

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
    run = RunFolder(settings.pop("run"))
    run.config()  # no folder is made for what is no run
    require_place(out)
    result = evaluate_run(run, **settings)
    write_json(out, result)
    Console().print(table(result))
    return _say(f"written to {out}")


def audit(options: Audit) -> int:
    from onelip.certificate.audit import run_audit

    try:
        return run_audit(
            options.file,
            options.input_shape,
            factory=options.factory,
            weights=options.weights,
            json_out=options.json,
            max_lipschitz=options.max_lipschitz,
        )
    except (OnelipError, OSError, KeyboardInterrupt):
        raise
    except BaseException as error:  # user code may raise anything, and 1 would say that a bound is exceeded
        said = one_line(error)
        return _fail(f"no certificate: {type(error).__name__}{': ' if said else ''}{said}")


def report(options: Report) -> int:
    from onelip.study.report.page import write_report
    from onelip.study.report.read import read_study

    runs = read_study(options.study)
    out = options.out or options.study / "report.html"
    require_place(out)
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
    _print_what_the_terminal_can(sys.stdout, sys.stderr)
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
    except SystemExit as error:  # of a user's code: its code would say that the command was done
        code = _fail(f"ended by SystemExit({error.code!r})")
    except OSError as error:
        code = _fail(refusal(error))
    sys.exit(code)


def _print_what_the_terminal_can(*streams: object) -> None:
    """Letters that an encoding lacks, and names of files that are no text, are replaced, not refused."""
    for stream in streams:
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def _fail(message: str) -> int:
    print(f"onelip: {message}", file=sys.stderr)
    return 2
