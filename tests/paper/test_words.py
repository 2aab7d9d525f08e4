"""No number is typed: paper and poster have theirs by key, the README from results/ or for a reason."""

import json
import re
from pathlib import Path

import pytest

from documents.measured import StaleClaimsError, read_claims
from onelip.study.claims.evidence import digest, read_evidence
from paper.build import HERE, ROOT
from paper.numbers import as_tex, collect

PROSE = sorted([*HERE.glob("sections/*.tex"), HERE / "main.tex", HERE / "poster.tex"])
TEX = sorted({*PROSE, *HERE.glob("*.tex")})
MATH = re.compile(
    r"\$[^$]*\$|\\\[.*?\\\]|\\begin\{(equation\*?|align\*?|algorithmic)\}.*?\\end\{\1\}|\\formula\{[^\n]*",
    re.DOTALL,
)
COMMENT = re.compile(r"(?<!\\)%.*")
# Arguments that name, place or size something and are not read as text.
ARGUMENT = re.compile(
    r"\\(cite\w*|Cite\w*|[cC]ref|eqref|ref|label|url|href|input|includegraphics|val|begin|end|setlength|column"
    r"|cell|vspace|drawing|qrcode|fontsize|selectfont|texorpdfstring|texttt|usepackage|documentclass|onelipsamples|iffound)\*?"
    r"(\[[^\]]*\])*(\{[^{}]*\})*(\[[^\]]*\])?"
)
LENGTH = re.compile(r"-?[\d.]+\s*(mm|cm|pt|em|ex|in\b|\\linewidth|\\textwidth)")
YEAR = re.compile(r"\b1[6789]\d\d\b|\b20[012]\d\b")
ALLOWED = {
    "1-Lipschitz": "a name",
    r"\bC\d+\b": "the name of a claim",
    r"\bR[12]\b": "the name of a penalty",
    r"\\SI\{95\}": "the level of every interval, fixed before any run",
}


def body(path):
    """What LaTeX sets: without preamble and comments."""
    text = COMMENT.sub("", path.read_text())
    return text.partition(r"\begin{document}")[2] or text


def typed(text):
    """The words of a text that hold a digit which is neither read by key nor part of mathematics."""
    for pattern in (MATH, ARGUMENT, LENGTH, YEAR, *map(re.compile, ALLOWED)):
        text = pattern.sub(" ", text)
    return re.findall(r"\S*\d\S*", text)


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_no_number_is_typed(path):
    assert typed(body(path)) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It took 5 seeds.", ["5"]),
        ("a distance of 10.2", ["10.2"]),
        (r"\val{frechet/sn/mean} and $x^2$, in 1781, \cite[theorem~2.4]{a2009}", []),
        (r"\begin{equation}1\end{equation} 3.5 times", ["3.5"]),
        (r"\vspace{3mm} 0.5\linewidth of C11", []),
    ],
    ids=["integer", "decimal", "keys", "after an equation", "lengths"],
)
def test_what_counts_as_typed(text, found):
    assert typed(text) == found


@pytest.fixture(scope="module")
def numbers():
    return collect(read_evidence(ROOT / "results"))


@pytest.mark.parametrize("path", TEX, ids=lambda path: path.name)
def test_every_key_exists(path, numbers):
    keys = re.findall(r"\\val\{([^#}]*)\}", COMMENT.sub("", path.read_text()))
    assert [key for key in keys if key not in numbers] == []


def test_every_number_has_a_source_that_exists(numbers):
    sources = {value.source.partition(":")[0] for value in numbers.values()}
    patterns = {re.sub(r"\{.*\}", "*", source) for source in sources}
    assert [pattern for pattern in patterns if not list(ROOT.glob(pattern))] == []
    assert {pattern.split("/")[0] for pattern in patterns} == {"results"}


def test_keys_are_paths_in_lower_case_and_texts_are_one_line(numbers):
    assert [key for key in numbers if key != key.lower() or re.search(r"[\s_{}\\%#]", key)] == []
    lines = as_tex(numbers).splitlines()
    assert len(lines) == len(numbers)
    assert all(line.startswith(r"\onelipvalue{") and "}% results/" in line for line in lines)


def test_means_are_those_of_the_runs(numbers):
    for setting in ("clip", "gp", "sn"):
        found = read_evidence(ROOT / "results").of(setting, lambda run: run.summary["last"]["final/recall"])
        assert float(numbers[f"recall/{setting}/mean"].text) == pytest.approx(
            sum(found.values()) / len(found), rel=6e-3
        )
        assert int(numbers[f"recall/{setting}/seeds"].text) == len(found)


README_ALLOWED = {
    "3.11": "Python's version",
    "1.0": "a version",
    "2.13": "a version",
    "0.2": "an argument in code",
    "3.0": "a licence's version",
}
GENERATED = re.compile(r"<!-- generated.*?<!-- end -->", re.DOTALL)
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
LINK = re.compile(r"\]\([^)]*\)")
DEFAULTS = re.compile(r"^\| `[^|]*\|.*$", re.MULTILINE)  # the methods' defaults: tests/test_documents.py


def test_no_decimal_of_the_readme_is_typed():
    text = Path(ROOT / "README.md").read_text()
    text = GENERATED.sub("", DEFAULTS.sub("", text))
    text = LINK.sub("", CODE.sub("", text))
    assert sorted(set(re.findall(r"\d*\.\d+", text)) - README_ALLOWED.keys()) == []


def test_verdicts_of_other_results_stop_the_build(tmp_path):
    (tmp_path / "study" / "runs").mkdir(parents=True)
    (tmp_path / "claims.json").write_text(json.dumps({"inputs": digest(tmp_path), "claims": {"C1": {}}}))
    assert read_claims(tmp_path) == {"C1": {}}
    (tmp_path / "theory.json").write_text("{}")
    with pytest.raises(StaleClaimsError, match="onelip study claims"):
        read_claims(tmp_path)
