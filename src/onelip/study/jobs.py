"""What an engine hands out: a run to train, how it ended, and what every worker can be asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onelip.gan.config import TrainConfig
from onelip.gan.run import RunResult


@dataclass(frozen=True)
class Job:
    """One run: where, and what; the store that it enters once it has ended; None threads: the fastest."""

    path: Path
    config: TrainConfig
    store: Path | None = None
    threads: int | None = 1

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with a result, or with the one line that says why there is none."""

    job: Job
    result: RunResult | None
    error: str | None = None


class Worker(ABC):
    """Somebody who trains one job, in another process or on another machine."""

    job: Job

    @abstractmethod
    def poll(self, say: Callable[[str], None]) -> Outcome | None:
        """The outcome once the job has ended; what the user should know meanwhile is said."""

    @abstractmethod
    def stop(self) -> None:
        """Ask for the state to be saved and the job to end; to ask again changes nothing."""


Start = Callable[[Job], Worker]
"""What an engine is: it finds a worker for a job."""
