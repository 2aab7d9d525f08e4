"""What was aimed at and what was reached, and the README's line of ratios, from results/benchmarks.json."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.performance_page import part_of
from benchmarks.scaling_page import markdown_table

LATE = 0.25  # of an exponent from two sizes alone: what noise of some percent moves it by
STUDIED = "critic 28×28, width 8", "64"  # the study's critic and batch


class Goal(NamedTuple):
    what: str
    aim: str
    reached: str
    met: bool


def goals() -> str:
    """Every goal for the CPU with the figure that stands against it."""
    rows = [*constraint_goals(), *throughput_goals(), *startup_goals(), *growth_goals()]
    cells = [(goal.what, goal.aim, goal.reached, "yes" if goal.met else "**no**") for goal in rows]
    return markdown_table(("goal", "aim", "reached", "met"), cells)


def ratios() -> str:
    """What constraints and training cost, in one sentence."""
    cost, loops = critic_steps()[STUDIED], beside_plain_loop().values()
    return (
        f"- A step of the study's critic takes {cost['onelip spectral']:.2f} × one without constraint under "
        f"`spectral`, {cost['onelip spectral-reshaped']:.2f} × under `spectral-reshaped`, "
        f"{cost['torch spectral_norm']:.2f} × under torch's `spectral_norm` and "
        f"{cost['gradient penalty']:.2f} × under the gradient penalty; training makes {min(loops):.2f} to "
        f"{max(loops):.2f} times the images a second of a plain loop (`make bench`; "
        "[the goals that this misses, too](docs/performance.md))."
    )


def constraint_goals() -> list[Goal]:
    steps = critic_steps()
    cost = steps[STUDIED]["onelip spectral"]
    faster = sum(found["onelip spectral"] <= found["torch spectral_norm"] for found in steps.values())
    whom = "critics and batches where `spectral` costs no more than torch's reshaped norm"
    return [
        Goal(
            "step under `spectral` over one without, the study's critic",
            "≤ 1.03",
            f"{cost:.2f}",
            cost <= 1.03,
        ),
        Goal(whom, f"all {len(steps)}", str(faster), faster == len(steps)),
    ]


def throughput_goals() -> list[Goal]:
    loops = beside_plain_loop()
    narrow = min(ratio for (_, width), ratio in loops.items() if width <= 16)
    wide = min(ratio for (_, width), ratio in loops.items() if width == 64)
    what = "images a second over the plain loop's, the least at width"
    return [
        Goal(f"{what} 16 and below", "≥ 1.5", f"{narrow:.2f}", narrow >= 1.5),
        Goal(f"{what} 64", "≥ 1.15", f"{wide:.2f}", wide >= 1.15),
    ]


def startup_goals() -> list[Goal]:
    part = part_of("startup")
    clock = part["processes"]["perf_counter"]
    imports, names = (
        clock[process]["ratio"][1] for process in ("import onelip", "every public name of onelip")
    )
    seconds = clock["onelip --help"]["milliseconds"][1] / 1000
    overhead = part["quick_study"]["extrapolated"]["shares"]["overhead"]
    what = "share of the quick study outside training and measurement"
    return [
        Goal(
            "`import onelip`, which puts torch off, over `import torch`",
            "≤ 1.2",
            f"{imports:.2f}",
            imports <= 1.2,
        ),
        Goal("every public name of onelip over `import torch`", "≤ 1.2", f"{names:.2f}", names <= 1.2),
        Goal("`onelip --help`, seconds", "< 0.5", f"{seconds:.2f}", seconds < 0.5),
        Goal(what, "< 10%", f"{overhead:.1%}", overhead < 0.1),
    ]


def growth_goals() -> list[Goal]:
    """By the fits, and by the last two sizes alone: a late bend widens a fit's interval and hides there."""
    growth = part_of("growth")
    fits = [law[what] for law in growth["laws"].values() for what in ("time", "memory") if law[what]["fit"]]
    counts = {
        "whose fit grows faster than theory": len(growth["worse"]),
        f"whose exponent between the last two sizes is {LATE} and more above theory's": sum(
            fit["fit"]["last"] >= fit["theory"] + LATE for fit in fits
        ),
    }
    return [Goal(f"laws {what}", "none", str(n or "none"), n == 0) for what, n in counts.items()]


def critic_steps() -> dict[tuple[str, str], dict[str, float]]:
    """By critic and batch: each method's step over that without constraint."""
    return {
        (critic, batch): {name: timing["ratio"][1] for name, timing in found["methods"].items()}
        for critic, batches in part_of("constraint")["results"].items()
        for batch, found in batches.items()
    }


def beside_plain_loop() -> dict[tuple[str, int], float]:
    """By method and width: images a second over the plain loop's."""
    rows = part_of("throughput")["rows"]
    return {(row["method"], row["width"]): row["times"]["plain loop"]["ratio"][1] for row in rows}


BLOCKS = (goals, ratios)
