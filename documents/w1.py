"""The tables of docs/w1-benchmark.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from documents.measured import exact_potential as exact
from documents.measured import w1_pairs, w1_standings
from onelip.study.w1bench.published import COMPARABLE, Published, published

Record = Mapping[str, Any]


def w1bench() -> str:
    """Every run of the best critic, beside the published best of the size and the sorting network."""
    rows = [
        "| D, N | seed | cos | L² | Ŵ₁/W₁ − 1 | steps | s | best published: cos / L² | better "
        "| sorting network on the same pair: cos / L² / error / s | better |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (dim, funnels, seed), critics in sorted(w1_pairs().items()):
        if "best" not in critics:
            continue
        ours, best = critics["best"], _published(dim, funnels)
        cos, l2 = (f"{ours[name]:.3f} ± {ours['standard_errors'][name]:.3f}" for name in ("cos", "l2"))
        rows.append(
            f"| {dim}, {funnels} | {seed} | {cos} | {l2} | {ours['deviation']:.1%} | {ours['steps']:,} "
            f"| {ours['seconds']:.0f} | {best.cos:.3f} / {best.l2:.3f} "
            f"| {_better(ours, best.cos, best.l2) if dim >= COMPARABLE else '–'} "
            f"| {_rival(ours, critics.get('sorting-network'))} |"
        )
    return "\n".join(rows)


def _rival(ours: Record, theirs: Record | None) -> str:
    if theirs is None:
        return "– | –"
    found = f"{theirs['cos']:.3f} / {theirs['l2']:.3f} / {theirs['deviation']:.1%} / {theirs['seconds']:.0f}"
    return f"{found} | {_better(ours, theirs['cos'], theirs['l2'])}"


def _better(record: Record, cos: float, l2: float) -> str:
    wins = [name for name, won in (("cos", record["cos"] > cos), ("L²", record["l2"] < l2)) if won]
    return "both" if len(wins) == 2 else "".join(wins) or "none"


def w1standing() -> str:
    """How often our critic is ahead, as the points of a list."""
    found = w1_standings(w1_pairs())
    mean, single, rerun, ahead = (found[name] for name in ("better", "runs", "rerun", "sorting"))
    return (
        f"- **Beside the published values**, D ≥ {COMPARABLE}: the mean over seeds is better in cos on "
        f"{mean.cos} and in L² on {mean.l2} of {mean.of} sizes, single runs on {single.cos} and {single.l2} "
        f"of {single.of}. They are for another pair of the size: the sorting network as published, run here, "
        f"is itself better than the best of them in cos on {rerun.cos} and in L² on {rerun.l2} of "
        f"{rerun.of} sizes.\n"
        f"- **On the same pair**, beside the sorting network with its 25,000 steps of 1,024 samples: better "
        f"in cos on {ahead.cos} and in L² on {ahead.l2} of {ahead.of} pairs."
    )


def exact_potential() -> str:
    """What the published evaluation gives f* itself."""
    rows = [
        "| D, N | cos of f* | L² of f* | samples with ∇f* = 0 | best published: cos / L² |",
        "|---|---|---|---|---|",
    ]
    for (dim, funnels), found in exact("dim", "funnels").items():
        best = _published(dim, funnels)
        cos, l2 = (f"{low:.3f} to {high:.3f}" for low, high in (found["cos"], found["l2"]))
        zero = "{:.1%} to {:.1%}".format(*found["zero"])
        rows.append(f"| {dim}, {funnels} | {cos} | {l2} | {zero} | {best.cos:.3f} / {best.l2:.3f} |")
    return "\n".join(rows)


def _published(dim: int, funnels: int) -> Published:
    found = published(dim, funnels)
    assert found is not None, "every size of results/ is one that was published"
    return found
