"""A study from start to finish: train what is missing, then summary, figures and report."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from onelip.errors import OnelipError
from onelip.files import write_atomically, write_json
from onelip.gan.config import TrainConfig
from onelip.gan.run import RunFolder
from onelip.provenance import provenance
from onelip.study.engine import Job, Outcome, run_jobs
from onelip.study.figures import write_figures
from onelip.study.progress import Progress
from onelip.study.report import report_html
from onelip.study.store import read_run, summarize


def run_study(configs: dict[str, TrainConfig], out: Path, workers: int, progress: Progress) -> list[Outcome]:
    """Train every run in OUT/runs that is not finished there. Refuses a folder of other configurations.

    Every folder is claimed before anything is trained, so that a conflict costs nothing.
    """
    jobs = [Job(out / "runs" / name, config) for name, config in configs.items()]
    for job in jobs:
        RunFolder(job.path).claim(job.config)
    return run_jobs(jobs, workers, progress)


def write_results(title: str, configs: dict[str, TrainConfig], out: Path) -> Path:
    """Summary, figures and report of the runs in OUT; returns the report's path."""
    runs = [read_run(out / "runs" / name) for name in configs]
    if not any(run.curves for run in runs):
        raise OnelipError(f"no run in {out} recorded a step: there is nothing to draw")
    summary = {"provenance": provenance(), "runs": {run.name: summarize(run) for run in runs}}
    write_json(out / "summary.json", summary)
    figures = write_figures(runs, out / "figures")
    page = report_html(title, summary, {run.name: dataclasses.asdict(run.config) for run in runs}, figures)
    write_atomically(out / "report.html", page.encode())
    return out / "report.html"
