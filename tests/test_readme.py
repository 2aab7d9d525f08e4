"""The README's numbers are those of results/. To update the table: `python -m tests.test_readme`."""

import json
import re
from pathlib import Path

from onelip.gan.config import METHODS
from onelip.study.table import markdown

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TABLE = re.compile(r"(<!-- table: quick -->\n).*?(<!-- end -->)", re.DOTALL)


SOUNDNESS = re.compile(r"(<!-- soundness -->\n).*?(<!-- end -->)", re.DOTALL)


def speed() -> str:
    """The line of results/norms.json: time and width of our interval beside FFT+SVD in the same turns."""
    cases = json.loads((ROOT / "results" / "norms.json").read_text())["cases"].values()
    ours = [next(m for m in case["methods"] if m["method"] == "onelip") for case in cases]
    double, single = (sorted(m["ratios"][n][1] for m in ours) for n in ("FFT+SVD float64", "FFT+SVD"))
    widest = max(m["upper"] / m["lower"] - 1 for m in ours)
    return (
        f"- Proved in {double[0]:.0%} to {double[-1]:.0%} of the processor time of FFT+SVD in float64 "
        f"({single[0]:.0%} to {single[-1]:.0%} of that in float32), which proves nothing, on four "
        f"convolutions and a dense layer; intervals at most {widest:.2%} wide "
        "(`python benchmarks/test_norms.py`).\n"
    )


def with_soundness(text: str) -> str:
    layers = json.loads((ROOT / "results" / "soundness.json").read_text())["layers"]
    zeros = layers["cases_per_method"]["zero map"]
    line = (
        f"- Held against the dense matrix's SVD on {layers['count']:,} random layers of every type, stride, "
        f"padding and dtype ({zeros:,} of them zero maps): {layers['violations']} violations of "
        f"lower ≤ ‖A‖₂ ≤ upper (seed {layers['seed']}, commit {layers['commit'][:7]}; "
        "`python benchmarks/soundness_layers.py` repeats it).\n"
    )
    return SOUNDNESS.sub(lambda match: match[1] + line + speed() + match[2], text)


def with_current_table(text: str) -> str:
    text = with_soundness(text)
    summary = json.loads((ROOT / "results" / "quick" / "summary.json").read_text())
    (start,) = {json.dumps(run["starts"][0]) for run in summary["runs"].values()}
    where = json.loads(start)["machine"]
    caption = (
        f"Measured at commit {json.loads(start)['commit'][:7]} on {where['processor']}, {where['cores']} "
        f"cores, {where['memory_gib']} GiB, {where['system']}; two runs at a time, one thread each."
    )
    return TABLE.sub(lambda match: f"{match[1]}{markdown(summary['runs'])}\n\n{caption}\n{match[2]}", text)


def test_the_numbers_are_those_of_the_committed_results():
    assert README.read_text() == with_current_table(README.read_text())


def test_the_defaults_are_those_of_the_code():
    row = re.compile(r"^\| `([a-z0-9-]+)` \|.*?\| (\w+).*?\| ([\d.e-]+) \|", re.MULTILINE)
    rows = row.findall(README.read_text())
    assert {name: (METHODS[name]["optimizer"], METHODS[name]["critic_lr"]) for name in METHODS} == {
        name: (optimizer.lower(), float(rate)) for name, optimizer, rate in rows
    }


def test_every_picture_and_link_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


if __name__ == "__main__":
    README.write_text(with_current_table(README.read_text()))
