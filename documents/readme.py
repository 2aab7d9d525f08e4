"""What the README says of results/."""

from __future__ import annotations

import json
from typing import Any

from documents.measured import Ends, norms, read, read_claims, trimmed
from onelip.provenance import shown
from onelip.rounding import rounded
from onelip.study import table

REASON = 420  # letters of a verdict's condition in the table: `onelip study claims` prints all of them


def quick() -> str:
    """The quick study's table."""
    runs = read("quick/summary.json")["runs"]
    (start,) = {json.dumps(run["starts"][0]) for run in runs.values()}
    where = json.loads(start)["machine"]
    return (
        f"{table.markdown(runs)}\n\n"
        f"Measured at commit {shown(json.loads(start)['commit'])} on {where['processor']}, {where['cores']} "
        f"cores, {where['memory_gib']} GiB, {where['system']}; two runs at a time, one thread each."
    )


def soundness() -> str:
    """How often the intervals were held against the truth."""
    layers = read("soundness.json")["layers"]
    zeros = layers["cases_per_method"]["zero map"]
    return (
        f"- Held against the dense matrix's SVD on {layers['count']:,} random layers of every type, stride, "
        f"padding and dtype ({zeros:,} of them zero maps): {layers['violations']} violations of "
        f"lower ≤ ‖A‖₂ ≤ upper (commit {shown(layers['provenance']['commit'])}; `python -m benchmarks "
        f"soundness_layers --count {layers['count']} --seed {layers['seed']}` repeats it)."
    )


def speed() -> str:
    """Time and width of our interval beside FFT+SVD in the same turns."""
    found = norms()
    half, double, single = (
        _percents(found.times[name]) for name in ("FFT+SVD float64, half", "FFT+SVD float64", "FFT+SVD")
    )
    return (
        f"- Proved in {half} of the processor time of FFT+SVD in float64 at half of "
        f"the frequencies, all that a real kernel needs ({double} at all of them, "
        f"{single} of that in float32), which proves nothing, on four "
        f"convolutions and a dense layer; intervals at most {rounded(100 * found.width, 3, 'upper'):.2f}% "
        "wide (`python -m benchmarks norms`)."
    )


def _percents(ends: Ends) -> str:
    return " to ".join(f"{end:.0%}" for end in ends)


def verdicts() -> str:
    """What results/ says of each claim: verdict, headline number, condition."""
    rows = ["| | claim | verdict | measured |", "|---|---|---|---|"]
    for key, claim in read_claims().items():
        rows.append(f"| {key} | {claim['claim']} | **{claim['verdict']}** | {_measured(claim)} |")
    return "\n".join(rows)


def _measured(claim: dict[str, Any]) -> str:
    if claim["missing"]:
        known = f"; {claim['known']}" if claim["known"] else ""
        return f"of {claim['sources']}, {len(claim['missing'])} are missing{known}"
    effect = claim["effect"]
    said = [trimmed(claim["reason"], REASON)] if claim["reason"] else []
    if effect is not None:
        interval = f"{effect['low']:.3g} to {effect['high']:.3g}"
        said.insert(0, f"{claim['effect_name']}: {effect['value']:.3g} ({interval}, {effect['seeds']} seeds)")
    return "; ".join(said)
