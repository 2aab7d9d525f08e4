"""C1: is spectral normalization cheaper than a gradient penalty?"""

from __future__ import annotations

from onelip.study.claims.evidence import Evidence, Measure, Needs
from onelip.study.claims.measures import mixed_machines, seconds
from onelip.study.claims.statistics import Numbers, SeedEstimate, ratio
from onelip.study.claims.verdict import Claim, State, Verdict, below, combine, every
from onelip.study.presets import PRESETS
from onelip.study.runs import StoredRun

MEMORY_MARGIN = 1.02
METHODS = ("gp", "sn", "sn-operator")
SIZES = tuple(
    name.removesuffix("gp") for name in PRESETS["paper"].groups["cost"].settings if name.endswith("-gp")
)
# What each size is called, by the prefix of its settings; those that are trained in full have none.
NAMES = {"": "main"} | {size: size.removesuffix("-") for size in SIZES}


def judge(evidence: Evidence) -> Verdict:
    mixed = {name: mixed_machines(evidence, tuple(size + m for m in METHODS)) for size, name in NAMES.items()}
    if any(mixed.values()):
        return Verdict("undecided", "; ".join(f"{name}: {why}" for name, why in mixed.items() if why))
    numbers: Numbers = {}
    states: dict[str, State] = {}
    for size, name in NAMES.items():
        time, memory = (_over_gp(evidence, size, "sn", measure) for measure in (seconds, _memory))
        quick, small = below(time, 1.0), below(memory, MEMORY_MARGIN)
        # Where a size is decided by memory alone, the verdict says so.
        alone = quick == "holds" and small != "holds"
        states[f"{name} (memory)" if alone else name] = every((quick, small))
        numbers |= {f"time, {name}": time, f"memory, {name}": memory}
        numbers[f"time of sn-operator, {name}"] = _over_gp(evidence, size, "sn-operator", seconds)
    title = "seconds a generator step, sn over gp, main"
    return Verdict.of(combine(states), numbers, headline="time, main", title=title)


def _over_gp(evidence: Evidence, size: str, method: str, measure: Measure) -> SeedEstimate:
    return ratio(evidence.of(size + method, measure), evidence.of(f"{size}gp", measure))


def _memory(run: StoredRun) -> float:
    return run.summary["peak_memory_mib"]


COST = Claim(
    "C1",
    "Spectral normalization is computationally cheaper than the gradient penalty.",
    "Parts, the full trainings and every width and batch of the cost runs, convolutional and MLP: it is "
    "cheaper, the interval of sn/gp, paired by seed, below 1 for processor seconds a generator step (of the "
    f"clock on a GPU) and below {MEMORY_MARGIN} for the peak memory of the process, its libraries and the "
    "measuring of layers included. All hold: supported; none: refuted; some: depends; an interval that holds "
    "the limit and no contradiction: undecided.",
    Needs({"main": ("gp", "sn", "sn-operator"), "cost": tuple(s + m for s in SIZES for m in METHODS)}),
    judge,
)
