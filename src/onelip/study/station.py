"""The far end of a cluster's worker: trains in a folder of its node, and hands out what it has written."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from typing import NamedTuple

from onelip.study.jobs import Job, Outcome
from onelip.study.mirror import Mirror, Piece, put

SECONDS_BETWEEN_NEWS = 1.0


class News(NamedTuple):
    """What happened since the last news: files of the run and of the store, words, and the end."""

    run: Sequence[Piece] = ()
    store: Sequence[Piece] = ()
    said: str | None = None
    outcome: Outcome | None = None


class Station:
    """Trains one job on the node where it is made, from the files of a run folder.

    The folder is temporary: all that lasts travels, at most a second after it was written.
    """

    def __init__(self, job: Job, files: list[Piece]):
        self.news = SimpleQueue[News]()
        self.stopping = threading.Event()
        threading.Thread(target=self._work, args=(job, files), daemon=True).start()

    def take(self) -> list[News]:
        """News, as soon as there are any; none after a second without."""
        taken = []
        try:
            taken.append(self.news.get(timeout=SECONDS_BETWEEN_NEWS))
            while True:
                taken.append(self.news.get_nowait())
        except Empty:
            return taken

    def stop(self) -> None:
        """Save and end after the present step."""
        self.stopping.set()

    def _work(self, job: Job, files: list[Piece]) -> None:
        try:
            self.news.put(News(outcome=self._perform(job, files)))
        except Exception as error:
            self.news.put(News(said=traceback.format_exc()))
            self.news.put(News(outcome=Outcome(job, None, f"{type(error).__name__}: {error}")))

    def _perform(self, job: Job, files: list[Piece]) -> Outcome:
        from onelip.study.work import perform

        with TemporaryDirectory(prefix="onelip-") as folder:
            store = Path(folder) / "store"
            here = replace(job, path=Path(folder) / job.name, store=store if job.store else None)
            put(here.path, files)
            run, records = Mirror(here.path), Mirror(store)
            due = 0.0

            def should_stop() -> bool:
                nonlocal due
                if time.monotonic() >= due:
                    self.news.put(News(run.changes()))
                    due = time.monotonic() + SECONDS_BETWEEN_NEWS
                return self.stopping.is_set()

            outcome = perform(
                here, should_stop, lambda text: self.news.put(News(said=_named(text, here, job)))
            )
            self.news.put(News(run.changes(), records.changes()))
            return _elsewhere(outcome, here, job)


def _elsewhere(outcome: Outcome, here: Job, job: Job) -> Outcome:
    """The outcome of the job as the engine knows it: paths are those of its own folders."""
    result, error = outcome.result, outcome.error
    if result is not None:
        result = replace(result, message=_named(result.message, here, job))
    return Outcome(job, result, error and _named(error, here, job))


def _named(text: str, here: Job, job: Job) -> str:
    return text.replace(str(here.path), str(job.path)).replace(str(here.store), str(job.store))
