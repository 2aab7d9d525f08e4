"""The numbers of README and docs are those of results/; `python -m tests.test_documents` renews them.

What stands between `<!-- generated: NAME -->` and `<!-- end -->` is written by the function of that name.
"""

import json
import re
from pathlib import Path

import matplotlib as mpl
import pytest

from benchmarks.goals_page import BLOCKS as GOALS
from benchmarks.performance_page import BLOCKS as PERFORMANCE
from benchmarks.scaling_page import BLOCKS as SCALING
from onelip.files import write_json
from onelip.gan.config import METHODS
from onelip.provenance import shown
from onelip.study import table
from onelip.study.claims import table as claims
from onelip.study.claims.evidence import digest
from onelip.study.coverage import markdown
from onelip.study.figures import STYLE, save_figure
from onelip.study.gallery import draw_all
from onelip.study.rounding import rounded
from onelip.study.store import read_records
from onelip.study.w1bench.published import COMPARABLE, published
from onelip.study.w1bench.records import by_pair
from onelip.study.w1bench.standing import pairs_ahead, runs_ahead_of_published, sizes_ahead_of_published
from paper.sentences import trimmed

ROOT = Path(__file__).parent.parent
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PICTURES = ROOT / "results" / "study" / "figures"
SHOWN = ("frechet_distance", "losses", "certified_interval", "cost")
REASON = 420  # letters of a verdict's condition in the table: `onelip study claims` prints all of them
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def results(name):
    return json.loads((ROOT / "results" / name).read_text())


def quick():
    """The quick study's table."""
    summary = results("quick/summary.json")
    (start,) = {json.dumps(run["starts"][0]) for run in summary["runs"].values()}
    where = json.loads(start)["machine"]
    return (
        f"{table.markdown(summary['runs'])}\n\n"
        f"Measured at commit {shown(json.loads(start)['commit'])} on {where['processor']}, {where['cores']} "
        f"cores, {where['memory_gib']} GiB, {where['system']}; two runs at a time, one thread each."
    )


def soundness():
    """How often the intervals were held against the truth."""
    layers = results("soundness.json")["layers"]
    zeros = layers["cases_per_method"]["zero map"]
    return (
        f"- Held against the dense matrix's SVD on {layers['count']:,} random layers of every type, stride, "
        f"padding and dtype ({zeros:,} of them zero maps): {layers['violations']} violations of "
        f"lower ≤ ‖A‖₂ ≤ upper (seed {layers['seed']}, commit {shown(layers['commit'])}; "
        "`python -m benchmarks.soundness_layers` repeats it)."
    )


def speed():
    """Time and width of our interval beside FFT+SVD in the same turns."""
    cases = results("norms.json")["cases"].values()
    ours = [next(m for m in case["methods"] if m["method"] == "onelip") for case in cases]
    half, double, single = (
        sorted(m["ratios"][n][1] for m in ours)
        for n in ("FFT+SVD float64, half", "FFT+SVD float64", "FFT+SVD")
    )
    widest = max(m["upper"] / m["lower"] - 1 for m in ours)
    return (
        f"- Proved in {half[0]:.0%} to {half[-1]:.0%} of the processor time of FFT+SVD in float64 at half of "
        f"the frequencies, all that a real kernel needs ({double[0]:.0%} to {double[-1]:.0%} at all of them, "
        f"{single[0]:.0%} to {single[-1]:.0%} of that in float32), which proves nothing, on four "
        f"convolutions and a dense layer; intervals at most {rounded(100 * widest, 3, 'upper'):.2f}% wide "
        "(`python benchmarks/test_norms.py`)."
    )


def criteria():
    """The claims and what decides them."""
    return claims.markdown()


def verdicts():
    """What results/ says of each claim: verdict, headline number, condition."""
    rows = ["| | claim | verdict | measured |", "|---|---|---|---|"]
    for key, claim in results("claims.json")["claims"].items():
        rows.append(f"| {key} | {claim['claim']} | **{claim['verdict']}** | {_measured(claim)} |")
    return "\n".join(rows)


def _measured(claim):
    if claim["missing"]:
        known = f"; {claim['known']}" if claim["known"] else ""
        return f"of {claim['sources']}, {len(claim['missing'])} are missing{known}"
    effect = claim["effect"]
    said = [trimmed(claim["reason"], REASON)] if claim["reason"] else []
    if effect is not None:
        interval = f"{effect['low']:.3g} to {effect['high']:.3g}"
        said.insert(0, f"{claim['effect_name']}: {effect['value']:.3g} ({interval}, {effect['seeds']} seeds)")
    return "; ".join(said)


def w1bench():
    """Every run of the best critic, beside the published best of the size and the sorting network."""
    rows = [
        "| D, N | seed | cos | L² | Ŵ₁/W₁ − 1 | steps | s | best published: cos / L² | better "
        "| sorting network on the same pair: cos / L² / error / s | better |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (dim, funnels, seed), critics in sorted(by_pair(results("w1bench.json")).items()):
        if "best" not in critics:
            continue
        ours, best = critics["best"], published(dim, funnels)
        cos, l2 = (f"{ours[name]:.3f} ± {ours['standard_errors'][name]:.3f}" for name in ("cos", "l2"))
        rows.append(
            f"| {dim}, {funnels} | {seed} | {cos} | {l2} | {ours['deviation']:.1%} | {ours['steps']:,} "
            f"| {ours['seconds']:.0f} | {best.cos:.3f} / {best.l2:.3f} "
            f"| {_better(ours, best.cos, best.l2) if dim >= COMPARABLE else '–'} "
            f"| {_rival(ours, critics.get('sorting-network'))} |"
        )
    return "\n".join(rows)


def w1standing():
    """How often our critic is ahead, as the points of a list."""
    pairs = by_pair(results("w1bench.json"))
    mean, single = (f(pairs, "best") for f in (sizes_ahead_of_published, runs_ahead_of_published))
    rerun = sizes_ahead_of_published(pairs, "sorting-network")
    ahead = pairs_ahead(pairs, "best", "sorting-network")
    return (
        f"- **Beside the published values**, D ≥ {COMPARABLE}: the mean over seeds is better in cos on "
        f"{mean.cos} and in L² on {mean.l2} of {mean.of} sizes, single runs on {single.cos} and {single.l2} "
        f"of {single.of}. They are for another pair of the size: the sorting network as published, run here, "
        f"is itself better than the best of them in cos on {rerun.cos} and in L² on {rerun.l2} of "
        f"{rerun.of} sizes.\n"
        f"- **On the same pair**, beside the sorting network with its 25,000 steps of 1,024 samples: better "
        f"in cos on {ahead.cos} and in L² on {ahead.l2} of {ahead.of} pairs."
    )


def exact_potential():
    """What the published evaluation gives f* itself."""
    rows = [
        "| D, N | cos of f* | L² of f* | samples with ∇f* = 0 | best published: cos / L² |",
        "|---|---|---|---|---|",
    ]
    for size in results("published_arithmetic.json")["sizes"]:
        best = published(size["dim"], size["funnels"])
        cos, l2 = (f"{min(size[key]):.3f} to {max(size[key]):.3f}" for key in ("cos", "l2"))
        zero = f"{min(size['zero']):.1%} to {max(size['zero']):.1%}"
        rows.append(
            f"| {size['dim']}, {size['funnels']} | {cos} | {l2} | {zero} | {best.cos:.3f} / {best.l2:.3f} |"
        )
    return "\n".join(rows)


def _rival(ours, theirs):
    if theirs is None:
        return "– | –"
    found = f"{theirs['cos']:.3f} / {theirs['l2']:.3f} / {theirs['deviation']:.1%} / {theirs['seconds']:.0f}"
    return f"{found} | {_better(ours, theirs['cos'], theirs['l2'])}"


def _better(record, cos, l2):
    wins = [name for name, won in (("cos", record["cos"] > cos), ("L²", record["l2"] < l2)) if won]
    return "both" if len(wins) == 2 else "".join(wins) or "none"


def coverage():
    """Modes of the study's runs beside the published ones."""
    return markdown(read_records(ROOT / "results" / "study").values())


BLOCKS = (
    quick,
    soundness,
    speed,
    criteria,
    verdicts,
    coverage,
    w1bench,
    w1standing,
    exact_potential,
    *SCALING,
    *PERFORMANCE,
    *GOALS,
)
WRITERS = {f.__name__: f for f in BLOCKS}


def with_current_numbers(text):
    return BLOCK.sub(lambda match: f"{match[1]}{WRITERS[match[2]]()}\n{match[3]}", text)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_numbers_are_those_of_the_committed_results(path):
    assert path.read_text() == with_current_numbers(path.read_text())


def test_our_certificates_are_as_near_to_one_as_the_page_says():
    ours = [
        critics["best"]["certified"]
        for critics in by_pair(results("w1bench.json")).values()
        if "best" in critics
    ]
    assert len(ours) > 0
    assert max(abs(certified - 1) for certified in ours) <= 1e-8


def test_every_writer_has_its_place():
    found = [name for path in DOCUMENTS for _, name, _ in BLOCK.findall(path.read_text())]
    assert sorted(found) == sorted(WRITERS)


def test_the_defaults_are_those_of_the_code():
    row = re.compile(r"^\| `([a-z0-9-]+)` \|.*?\| (\w+).*?\| ([\d.e-]+) \|", re.MULTILINE)
    rows = row.findall((ROOT / "README.md").read_text())
    assert {name: (METHODS[name]["optimizer"], METHODS[name]["critic_lr"]) for name in METHODS} == {
        name: (optimizer.lower(), float(rate)) for name, optimizer, rate in rows
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_picture_and_link_exists(path):
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def draw():
    """The README's pictures of the whole study, and what they were drawn from."""
    store = ROOT / "results" / "study"
    with mpl.rc_context(STYLE):
        drawn = draw_all(list(read_records(store).values()), store)
        for name in SHOWN:
            save_figure(drawn[name], PICTURES, name, ("png",))
    write_json(PICTURES / "source.json", digest(ROOT / "results"))


def test_the_pictures_are_of_the_committed_results():
    assert json.loads((PICTURES / "source.json").read_text()) == digest(ROOT / "results")


if __name__ == "__main__":
    draw()
    for document in DOCUMENTS:
        document.write_text(with_current_numbers(document.read_text()))
