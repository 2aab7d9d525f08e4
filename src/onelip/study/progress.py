"""Progress of many runs: bars with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

SECONDS_BETWEEN_LINES = 10.0


class Progress(ABC):
    """Where runs report how far they are; steps are generator steps."""

    def __enter__(self) -> Progress:
        return self

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abstractmethod
    def update(self, name: str, step: int) -> None:
        """The run `name` has completed `step` steps."""

    @abstractmethod
    def finish(self, name: str, how: str) -> None:
        """The run `name` has ended."""

    @abstractmethod
    def say(self, message: str) -> None:
        """Something that the user should know."""


def progress_for(totals: dict[str, int], console: Console) -> Progress:
    """Bars where the console is a terminal, lines where it is a file or a pipe."""
    return BarProgress(totals, console) if console.is_terminal else LineProgress(totals, console)


class RateColumn(TextColumn):
    """Steps a second over the last while."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} steps/s" if task.speed else "", style="progress.data.speed")


class BarProgress(Progress):
    def __init__(self, totals: dict[str, int], console: Console):
        self.bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            RateColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[how]}", markup=False),
            console=console,
        )
        self.tasks = {
            name: self.bars.add_task(name, total=total, start=False, how="") for name, total in totals.items()
        }
        self.bars.start()

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def update(self, name: str, step: int) -> None:
        task = self.tasks[name]
        if step and not self.bars.tasks[task].started:
            # Starting up, and what an earlier start has done, say nothing about the rate.
            self.bars.start_task(task)
            self.bars.reset(task, completed=step)
        self.bars.update(task, completed=step)

    def finish(self, name: str, how: str) -> None:
        self.bars.update(self.tasks[name], how=how)

    def say(self, message: str) -> None:
        self.bars.console.print(message, markup=False, highlight=False)


class LineProgress(Progress):
    def __init__(self, totals: dict[str, int], console: Console):
        self.totals = totals
        self.console = console
        self.first: dict[str, tuple[float, int]] = {}
        self.printed: dict[str, float] = {}

    def __exit__(self, *error: object) -> None: ...

    def update(self, name: str, step: int) -> None:
        if step == 0:
            return  # what a process needs to start says nothing about the rate
        now = time.monotonic()
        began, first_step = self.first.setdefault(name, (now, step))
        if step > first_step and now - self.printed.get(name, began) >= SECONDS_BETWEEN_LINES:
            self.printed[name] = now
            rate = (step - first_step) / (now - began)
            left = (self.totals[name] - step) / rate
            self.say(f"{name}: {step}/{self.totals[name]} steps, {rate:.1f} steps/s, {left:.0f} s left")

    def finish(self, name: str, how: str) -> None:
        self.say(f"{name}: {how}")

    def say(self, message: str) -> None:
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)
