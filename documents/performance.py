"""The tables of docs/performance.md and the README's line of ratios, from results/benchmarks.json."""

from __future__ import annotations

from typing import Any

from benchmarks.powers import PowerFit
from documents.markdown import table, where
from documents.measured import part_of

LATE = 0.25  # of an exponent from two sizes alone: what noise of some percent moves it by
STUDIED = "critic 28×28, width 8", "64"  # the study's critic and batch


def ratios() -> str:
    """What constraints and training cost, in one sentence."""
    cost, loops = _critic_steps()[STUDIED], _beside_plain_loop().values()
    return (
        f"- A step of the study's critic takes {cost['onelip spectral']:.2f} × one without constraint under "
        f"`spectral`, {cost['onelip spectral-reshaped']:.2f} × under `spectral-reshaped`, "
        f"{cost['torch spectral_norm']:.2f} × under torch's `spectral_norm` and "
        f"{cost['gradient penalty']:.2f} × under the gradient penalty; training makes {min(loops):.2f} to "
        f"{max(loops):.2f} times the images a second of a plain loop (`make bench`; "
        "[the goals that this misses, too](docs/performance.md))."
    )


def goals() -> str:
    """What was aimed at on the CPU, with the figure that stands against it."""
    rows = [*_constraint_goals(), *_throughput_goals(), *_startup_goals(), *_growth_goals()]
    return table("goal | aim | reached | met", rows)


def _goal(what: str, aim: str, reached: str, met: bool) -> str:
    return f"{what} | {aim} | {reached} | {'yes' if met else '**no**'}"


def _constraint_goals() -> list[str]:
    steps = _critic_steps()
    cost = steps[STUDIED]["onelip spectral"]
    faster = sum(found["onelip spectral"] <= found["torch spectral_norm"] for found in steps.values())
    what = "step under `spectral` over one without, the study's critic"
    whom = "critics and batches where `spectral` costs no more than torch's reshaped norm"
    return [
        _goal(what, "≤ 1.03", f"{cost:.2f}", cost <= 1.03),
        _goal(whom, f"all {len(steps)}", str(faster), faster == len(steps)),
    ]


def _throughput_goals() -> list[str]:
    loops = _beside_plain_loop()
    narrow = min(ratio for (_, width), ratio in loops.items() if width <= 16)
    wide = min(ratio for (_, width), ratio in loops.items() if width == 64)
    what = "images a second over the plain loop's, the least at width"
    return [
        _goal(f"{what} 16 and below", "≥ 1.5", f"{narrow:.2f}", narrow >= 1.5),
        _goal(f"{what} 64", "≥ 1.15", f"{wide:.2f}", wide >= 1.15),
    ]


def _startup_goals() -> list[str]:
    part = part_of("startup")
    clock = part["processes"]["perf_counter"]
    imports, names = (clock[name]["ratio"][1] for name in ("import onelip", "every public name of onelip"))
    seconds = clock["onelip --help"]["milliseconds"][1] / 1000
    overhead = part["quick_study"]["extrapolated"]["shares"]["overhead"]
    lazy, share = "`import onelip`, which puts torch off", "share of the quick study outside training"
    return [
        _goal(f"{lazy}, over `import torch`", "≤ 1.2", f"{imports:.2f}", imports <= 1.2),
        _goal("every public name of onelip over `import torch`", "≤ 1.2", f"{names:.2f}", names <= 1.2),
        _goal("`onelip --help`, seconds", "< 0.5", f"{seconds:.2f}", seconds < 0.5),
        _goal(f"{share} and measurement", "< 10%", f"{overhead:.1%}", overhead < 0.1),
    ]


def _growth_goals() -> list[str]:
    """By the fits, and by the last two sizes alone: a late bend widens a fit's interval and hides there."""
    part = part_of("growth")
    fits = [law[what] for law in part["laws"].values() for what in ("time", "memory") if law[what]["fit"]]
    late = sum(fit["fit"]["last"] >= fit["theory"] + LATE for fit in fits)
    counts = {
        "whose fit grows faster than theory": len(part["worse"]),
        f"whose exponent between the last two sizes is {LATE} and more above theory's": late,
    }
    return [_goal(f"laws {what}", "none", str(n or "none"), n == 0) for what, n in counts.items()]


def _critic_steps() -> dict[tuple[str, str], dict[str, float]]:
    """By critic and batch: each method's step over that without constraint."""
    return {
        (critic, batch): {name: timing["ratio"][1] for name, timing in found["methods"].items()}
        for critic, batches in part_of("constraint")["results"].items()
        for batch, found in batches.items()
    }


def _beside_plain_loop() -> dict[tuple[str, int], float]:
    """By method and width: images a second over the plain loop's."""
    rows = part_of("throughput")["rows"]
    return {(row["method"], row["width"]): row["times"]["plain loop"]["ratio"][1] for row in rows}


def throughput() -> str:
    """Images a second beside the plain loop, and the share of the machine's matrix-product rate."""
    part = part_of("throughput")
    rows = [
        f"`{row['method']}` | {row['width']} | {row['images_per_second']:,.0f} "
        f"| {_ratio(row['times']['plain loop']['ratio'])} | {row['share_of_matrix_rate']['onelip']:.0%} "
        f"| {row['share_of_matrix_rate']['plain loop']:.0%}"
        for row in part["rows"]
    ]
    head = "method | width | images/s | × the plain loop | of the matrix product's rate | plain loop"
    return f"{table(head, rows)}\n\n{where(part)}"


def constraint() -> str:
    """Every method's critic step relative to the step without constraint."""
    part = part_of("constraint")
    rows, methods = [], []
    for name, batches in part["results"].items():
        for batch, found in batches.items():
            none, *others = found["methods"].values()
            methods = [method for method in found["methods"] if method != "none"]
            ratios = (_ratio(timing["ratio"]) for timing in others)
            rows.append(" | ".join([name, batch, f"{none['milliseconds'][1]:.1f}", *ratios]))
    head = " | ".join(["critic", "batch", "none, ms", *methods])
    return f"{table(head, rows)}\n\n{_like_for_like()} {where(part)}"


def _like_for_like() -> str:
    """What one power iteration costs here and in torch."""
    said = []
    for kind in ("spectral-reshaped", "spectral"):
        over = [
            found[f"onelip {kind}, 1 iteration"] / found["torch spectral_norm"]
            for found in _critic_steps().values()
        ]
        said.append(
            f"`{kind}` takes {min(over):.2f} to {max(over):.2f} times as long as torch's reshaped norm "
            f"and no longer on {sum(ratio <= 1 for ratio in over)} of {len(over)}"
        )
    return f"With one power iteration, which is what torch takes, a step under {', one under '.join(said)}."


def growth() -> str:
    """Fitted exponents beside what theory allows."""
    part = part_of("growth")
    rows = [
        f"{law['subject']} | {law['variable']} | {law['sizes'][0]} … {law['sizes'][-1]} "
        f"| {_exponent(law['time'])} | {_last(law['time'])} | {_exponent(law['memory'])} | {law['reason']}"
        for law in part["laws"].values()
    ]
    head = "cost of | against | sizes | time | last two | memory | theory's reason"
    return f"{table(head, rows)}\n\nWorse than theory: {'; '.join(part['worse']) or 'none'}. {where(part)}"


def startup() -> str:
    """Imports and help beside `import torch`, and the quick study's overhead."""
    part = part_of("startup")
    clock, processor = (part["processes"][name] for name in ("perf_counter", "children_seconds"))
    rows = [
        f"{f'`{name}`' if name.startswith(('import', 'onelip')) else name} "
        f"| {times['milliseconds'][1] / 1000:.2f} | {_ratio(times['ratio'])} "
        f"| {_ratio(processor[name]['ratio'])}"
        for name, times in clock.items()
    ]
    whole = part["quick_study"]["extrapolated"]
    return (
        f"{table('process | s | × `import torch`, by the clock | of the processor', rows)}\n\n"
        f"A quick study of {whole['steps']} steps spends {whole['shares']['training']:.1%} of its time in "
        f"training, {whole['shares']['measurement']:.1%} in what it measures of every critic and layer, and "
        f"{whole['shares']['overhead']:.1%} in all else, by a line through studies of "
        f"{' and '.join(map(str, part['quick_study']['steps']))} steps. {where(part)}"
    )


def _ratio(quartiles: list[float]) -> str:
    low, middle, high = quartiles
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def _exponent(quantity: dict[str, Any]) -> str:
    if quantity["fit"] is None:
        return "too small to measure"
    fit = PowerFit(**quantity["fit"])
    mark = " **worse**" if quantity["worse"] else ""
    return f"{fit.exponent:.2f} ± {fit.standard_error:.2f} (≤ {quantity['theory']:.3g}){mark}"


def _last(quantity: dict[str, Any]) -> str:
    return "–" if quantity["fit"] is None else f"{quantity['fit']['last']:.2f}"
