"""The poster: few words, its numbers and colours from the results, one page A0 in type that carries."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onelip.study.claims.evidence import Evidence, read_evidence
from onelip.study.figures import METHOD_COLORS
from onelip.study.theory.figures import LOSS_COLORS
from paper import poster
from paper.numbers import collect
from tests.paper.test_build import printed

ROOT = Path(__file__).parents[2]
SOURCES = {path.name: path.read_text() for path in sorted((ROOT / "paper").glob("poster*.tex"))}
PDF = ROOT / "poster.pdf"
MOST_WORDS = 60
SMALLEST = 28  # points, of everything but scripts of mathematics
SMALLEST_SCRIPT = 21


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return read_evidence(ROOT / "results")


@pytest.fixture(scope="module")
def written(evidence: Evidence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build") / "poster"
    poster.write(evidence, folder)
    return folder


def blocks(source: str) -> list[str]:
    """The second arguments of all \\block{}{…}."""
    found = []
    for start in (match.end() for match in re.finditer(r"\\block\{[^}]*\}\{", source)):
        depth, end = 1, start
        while depth:
            depth += {"{": 1, "}": -1}.get(source[end], 0)
            end += 1
        found.append(source[start : end - 1])
    return found


def words(tex: str) -> list[str]:
    """What a reader reads: a formula is a word, and so is a number by its key; names of commands are none."""
    text = re.sub(r"(?<!\\)%.*", "", tex)
    text = re.sub(r"\\(input|begin|end|setlength|vspace|fontsize|qrcode)(\[.*?\])?(\{[^{}]*\})+", " ", text)
    text = re.sub(r"\\cell(\[.*?\])?\{[^}]*\}|\\color\{[^}]*\}|\\drawing\[.*?\]", " ", text)
    text = re.sub(r"\$[^$]*\$|\\val\{[^}]*\}|\\formula\{.*", " formula ", text)
    return re.findall(r"[^\W\d_][\w'-]*", re.sub(r"\\[a-zA-Z]+", " ", text))


def arguments(text: str, macro: str) -> list[list[str]]:
    """The arguments of each line of a generated macro."""
    return [
        re.findall(r"\{([^{}]*)\}", line) for line in text.splitlines() if line.startswith(rf"\{macro}{{")
    ]


def test_words_counts_what_is_read():
    tex = r"\cell{20mm}{\heading{Two words}\prose{and $x^2$ is \val{a/b}. % not this" + "\n}}"
    assert words(tex) == ["Two", "words", "and", "formula", "is", "formula"]


def test_no_block_of_text_is_long():
    found = blocks(SOURCES["poster.tex"])
    assert len(found) == SOURCES["poster.tex"].count(r"\block{")
    counts = [len(words(block)) for block in found]
    assert max(counts) <= MOST_WORDS, counts
    assert sum(counts) > 100, "the counter sees the text"


def test_no_claim_is_long(written: Path):
    claims = arguments((written / "verdicts.tex").read_text(), "verdict")
    assert len(claims) >= 11
    assert all(len(sentence.split()) <= 25 for *_, sentence in claims)


def test_every_bar_has_its_number(written: Path, evidence: Evidence):
    """The keys that hold a method's name; test_words looks for all others."""
    known = collect(evidence)
    names = [name for _, name, _ in arguments((written / "methods.tex").read_text(), "method")]
    bars = re.findall(r"\\meanbar\{\d+\}\{(\w+)\}", SOURCES["poster-evidence.tex"])
    assert len(bars) == 2
    assert [key for bar in bars for name in names if (key := f"{bar}/{name}/mean") not in known] == []


def test_every_file_that_is_read_is_written(written: Path):
    names = {name for source in SOURCES.values() for name in re.findall(r"\\input\{poster/(\w+)\}", source)}
    assert names == {path.stem for path in written.glob("*.tex")}


def test_colours_are_the_figures_alone():
    defined = dict(re.findall(r"\\definecolor\{([\w-]+)\}\{HTML\}\{(\w{6})\}", poster.colors()))
    palette = {f"method-{k}": v for k, v in METHOD_COLORS.items()}
    palette |= {f"loss-{k}": v for k, v in LOSS_COLORS.items()}
    assert {name: f"#{color}" for name, color in defined.items()} == palette
    assert not [name for name, source in SOURCES.items() if re.search(r"\\definecolor\{|HTML|rgb", source)]


@pytest.mark.parametrize("bar", ["cost", "distance"])
def test_bars_are_shares_of_the_longest(written: Path, bar: str):
    rows = arguments((written / "methods.tex").read_text(), bar)
    ends = np.array([[float(end) for end in row[2:]] for row in rows])
    mean, low, high = ends.T
    assert (low <= mean).all()
    assert (mean <= high).all()
    assert high.max() == 1


def test_a_constant_is_drawn_of_each_seed(written: Path, evidence: Evidence):
    rows = arguments((written / "constants.tex").read_text(), "constant")
    runs = [run for _, group in poster.rows(evidence) for run in group]
    bounds = [run.summary["last"][f"certificate/{end}"] for run in runs for end in ("lower", "upper")]
    assert [float(end) for row in rows for end in row[2:]] == pytest.approx(bounds, rel=1e-5)
    heights = [float(row[0]) for row in rows]
    assert heights == sorted(heights), "seeds of a method lie together, in the order of methods"


def test_the_plan_moves_each_point_once(written: Path, evidence: Evidence):
    drawing = evidence.theory["duality"]["result"]["drawing"]
    moves = arguments((written / "plan.tex").read_text(), "moved")
    for end, samples in enumerate((drawing["x"], drawing["y"])):
        drawn = sorted(tuple(map(float, move[end].split(","))) for move in moves)
        assert np.allclose(drawn, sorted(map(tuple, samples)), atol=1e-3)


def test_samples_are_ink_on_white(written: Path):
    pictures = sorted(written.glob("digits-*.png"))
    assert len(pictures) >= 5
    for picture in pictures:
        with Image.open(picture) as image:
            assert image.width == 8 * image.height
            assert np.median(np.asarray(image)) > 200, picture.name


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("", "a tool. The authors, 1.2."),
        ("repository-code: https://example.org/a\n", "https://example.org/a"),
    ],
    ids=["no address", "address"],
)
def test_the_code_names_the_repository_or_what_to_cite(tmp_path: Path, extra: str, said: str):
    source = tmp_path / "CITATION.cff"
    source.write_text('title: "a tool"\nauthors:\n  - name: "The authors"\nversion: 1.2\n' + extra)
    assert poster.citation(source) == said


@pytest.mark.tex
def test_the_page_is_a0_upright():
    size = re.search(r"^Page size: +([\d.]+) x ([\d.]+) pts", printed(["pdfinfo"], PDF), re.MULTILINE)
    assert size is not None
    assert [float(length) * 25.4 / 72 for length in size.groups()] == pytest.approx([841, 1189], abs=0.5)


@pytest.mark.tex
def test_type_carries():
    said = printed(["pdftohtml", "-xml", "-i", "-stdout", "-zoom", "1"], PDF)
    sizes = {name: int(size) for name, size in re.findall(r'fontspec id="(\d+)" size="(\d+)"', said)}
    texts = re.findall(r'<text [^>]*font="(\d+)">(.*?)</text>', said)
    small = [re.sub("<.*?>", "", text) for name, text in texts if sizes[name] < SMALLEST]
    assert len(texts) > len(small) > 0
    assert [text for text in small if re.search("[A-Za-z]{4}", text)] == [], "only scripts are small"
    assert min(sizes.values()) >= SMALLEST_SCRIPT
