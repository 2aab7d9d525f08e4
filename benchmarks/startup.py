"""What it costs to start: the library beside torch, the help, and a quick study beside its own training.

Imports are whole processes that take turns (paired.py), once by the clock and once by processor time, which
a busy machine lengthens less. A study's overhead is what its wall time holds beyond the training and the
measurements that its runs record: processes that start, data, sample grids, checkpoints, figures, the page;
what the measurements take stands beside it. It is measured on two short studies, a line through both says
what one of the preset's length takes. Their lengths differ by a multiple of every period, so that the line is
exact but for the noise of the clock.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.paired import as_json, paired
from onelip.study.presets import expand

EVERY_NAME = "import onelip\nfor name in [*onelip.__all__, 'transport']: getattr(onelip, name)"
COMMAND = "from onelip.cli import main\nmain()"
PROGRAMS = {
    "import torch": ("import torch",),
    "import onelip": ("import onelip",),
    "every public name of onelip": (EVERY_NAME,),
    "onelip --help": (COMMAND, "--help"),
}
WARM_UP, ROUNDS = 1, 7
STEPS = (50, 150)


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Imports and help relative to `import torch`, and the overhead of the quick study."""
    return {"processes": processes(say), "quick_study": study_overhead(say)}


def processes(say: Callable[[str], None]) -> dict[str, Any]:
    """Each program in a process of its own, in turns, by both clocks."""
    calls = {name: partial(_run, *arguments) for name, arguments in PROGRAMS.items()}
    times = {
        clock.__name__: paired(calls, WARM_UP, ROUNDS, clock)
        for clock in (time.perf_counter, children_seconds)
    }
    for clock, timings in times.items():
        for name, timing in timings.items():
            say(f"{clock:18s}{name:30s}{timing} × import torch")
    return {
        "method": f"{WARM_UP} warm-up and {ROUNDS} rounds of processes in turns; ratios within a round",
        **{clock: as_json(timings) for clock, timings in times.items()},
    }


def children_seconds() -> float:
    """Processor time of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def study_overhead(say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds of a quick study outside training and measurement: short, longer and, by a line, whole."""
    short, long = (_study(steps) for steps in STEPS)
    steps = next(iter(expand("quick").values())).steps
    full = {name: extrapolated(STEPS, (short[name], long[name]), steps) for name in short}
    shares = {name: seconds / sum(full.values()) for name, seconds in full.items()}
    for length, seconds in zip((*STEPS, steps), (short, long, full), strict=True):
        parts = ", ".join(f"{value:.1f} s {name}" for name, value in seconds.items())
        say(f"quick study of {length} steps: {parts}")
    say(f"of the whole study: {', '.join(f'{share:.1%} {name}' for name, share in shares.items())}")
    return {
        "method": "wall seconds; training and measurement as the runs record them, overhead is the rest; one "
        "worker; the preset's steps by a line",
        "steps": STEPS,
        "seconds": [short, long],
        "extrapolated": {"steps": steps, "seconds": full, "shares": shares},
    }


def extrapolated(at: tuple[int, int], values: tuple[float, float], to: int) -> float:
    """The line through two points, at a third.

    >>> extrapolated((1, 2), (10.0, 12.0), to=5)
    18.0
    """
    slope = (values[1] - values[0]) / (at[1] - at[0])
    return values[0] + slope * (to - at[0])


def _study(steps: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        _run(COMMAND, "study", "quick", "--workers", "1", "--steps", str(steps), "--out", folder)
        wall = time.perf_counter() - began
        lines = [
            line for path in Path(folder).glob("runs/*/metrics.jsonl") for line in path.open(encoding="utf-8")
        ]
    records = [json.loads(line) for line in lines]
    training, recorded = (sum(r[name] for r in records) for name in ("seconds", "elapsed_seconds"))
    return {"training": training, "measurement": recorded - training, "overhead": wall - recorded}


def _run(program: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, stdout=subprocess.DEVNULL)
