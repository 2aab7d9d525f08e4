"""A study from start to finish: train what is missing, then summary, figures and report."""

from __future__ import annotations

from pathlib import Path

from onelip.errors import OnelipError
from onelip.files import require_place, write_json
from onelip.gan.config import TrainConfig
from onelip.gan.run import RunFolder
from onelip.provenance import provenance
from onelip.study.engine import run_jobs
from onelip.study.gallery import write_figures
from onelip.study.jobs import Job, Outcome, Start
from onelip.study.processes import ProcessWorker
from onelip.study.progress import Progress
from onelip.study.report.page import write_report
from onelip.study.runs import StoredRun, read_run
from onelip.study.store import is_stored, read_record, with_all_steps


def missing_runs(configs: dict[str, TrainConfig], store: Path) -> dict[str, TrainConfig]:
    """Those that the store does not hold. Raises CheckpointError where it holds others under their names."""
    return {name: config for name, config in configs.items() if not is_stored(store, name, config)}


def run_study(
    missing: dict[str, TrainConfig],
    out: Path,
    workers: int,
    progress: Progress,
    store: Path | None = None,
    start: Start = ProcessWorker,
) -> list[Outcome]:
    """Train in OUT/runs what `missing_runs` found that the store (OUT/store) lacks.

    Refuses a folder of other configurations, or in another process's hands, and OUT or a store where nothing
    can be written: all is tried before anything is trained, so that a conflict costs nothing.
    """
    store = out / "store" if store is None else store
    for place in (store / "runs" / "record.json", out / "report.html"):
        require_place(place)
    jobs = [Job(out / "runs" / name, config, store) for name, config in missing.items()]
    for job in jobs:
        RunFolder(job.path).claim(job.config)
    return run_jobs(jobs, workers, progress, start)


def write_results(title: str, configs: dict[str, TrainConfig], out: Path, store: Path | None = None) -> Path:
    """Summary, figures and report of the runs, as far as they have come; returns the report's path."""
    store = out / "store" if store is None else store
    runs = [_stored(name, config, out, store) for name, config in configs.items()]
    if not any(run.curves for run in runs):
        raise OnelipError(f"no run in {out} recorded a step: there is nothing to draw")
    summary = {"provenance": provenance(), "runs": {run.name: run.summary for run in runs}}
    write_json(out / "summary.json", summary)
    write_figures(runs, out / "figures", store)
    write_report(title, runs, out / "report.html", store)
    return out / "report.html"


def _stored(name: str, config: TrainConfig, out: Path, store: Path) -> StoredRun:
    """The run as the store has it, with every step where its folder is here; unstored, as far as it came."""
    folder = out / "runs" / name
    if not is_stored(store, name, config):
        return read_run(folder)
    return with_all_steps(read_record(store, name), folder)
