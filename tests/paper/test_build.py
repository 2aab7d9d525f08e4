"""What stops a build, and what a PDF says of the results that it was built from."""

import os
import shutil
import subprocess

import pytest

from paper import build
from paper.build import BuildError, digest, metadata, typeset
from paper.log import faults
from paper.numbers import as_tex
from paper.values import Value


@pytest.mark.parametrize(
    "line",
    [
        "Overfull \\hbox (0.01pt too wide) in paragraph at lines 3--4",
        "Overfull \\vbox (12.0pt too high) has occurred while \\output is active",
        "LaTeX Warning: Reference `fig:x' on page 1 undefined on input line 3.",
        "LaTeX Warning: Label `fig:x' multiply defined.",
        "Package natbib Warning: Citation `nobody2000' on page 1 undefined on input line 4.",
        "Missing character: There is no ĳ in font ec-lmr10!",
        "LaTeX Font Warning: Font shape `T1/lmr/bx/sc' undefined",
        "pdfTeX warning (ext4): destination with the same identifier (name{page.1}) has been already used",
        "Package hyperref Warning: Token not allowed in a PDF string (Unicode):",
        "LaTeX Warning: Float too large for page by 20.0pt on input line 9.",
        "Warning--empty journal in somebody2001",
        "./main.tex:12: Undefined control sequence.",
        "! Package onelip Error: results/ has no value for the key 'x'.",
    ],
)
def test_a_fault_is_seen(line):
    assert faults(f"This is pdfTeX\n{line}\nand so on\n{line}\n") == [line]


@pytest.mark.parametrize(
    "line",
    [
        "Underfull \\vbox (badness 1000) has occurred while \\output is active",
        "Package newunicodechar Warning: Redefining Unicode character on input line 8.",
        "LaTeX Font Warning: Size substitutions with differences",
        "LaTeX Font Info:    Trying to load font information for U+msa",
        "Package: infwarerr 2019/12/03 v1.5 Providing info/warning/error messages (HO)",
        "(there were 0 warnings)",
    ],
)
def test_what_does_not_matter_passes(line):
    assert faults(f"{line}\n") == []


def test_a_digest_sees_names_and_contents_and_no_order(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    first = digest(tmp_path)
    (tmp_path / "a").write_text("2")
    swapped = digest(tmp_path)
    (tmp_path / "b").write_text("1")
    assert len({first, swapped, digest(tmp_path)}) == 3
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    assert digest(tmp_path) == first
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "made").write_text("3")
    assert digest(tmp_path, ("build",)) == first != digest(tmp_path)
    (tmp_path / "b").rename(tmp_path / "c")
    assert digest(tmp_path, ("build",)) != first


def built_from(pdf):
    """The digest of the results that a PDF was built from."""
    return metadata(pdf.read_bytes(), "OnelipResults")


@pytest.mark.parametrize("name", list(build.DOCUMENTS))
def test_the_committed_pdfs_were_built_from_these_results(name):
    pdf = build.ROOT / f"{name}.pdf"
    assert pdf.exists(), "make paper"
    assert built_from(pdf) == digest(build.ROOT / "results"), "results/ has changed since: make paper"


@pytest.mark.parametrize(
    ("results", "sources", "rest", "found"),
    [
        ("a", "x", "", None),
        ("a", "x", "other bytes", None),
        ("a", "x", " /OnelipTexts (t)", "other texts"),
        ("a", "y", "", "other sources"),
        ("b", "x", "", "other results"),
        ("b", "y", "other bytes", "other results"),
    ],
)
def test_what_a_committed_pdf_lacks_of_a_new_one(results, sources, rest, found):
    new, old = (
        b"/OnelipResults (a) /OnelipSources (x)",
        f"/OnelipResults ({results}) /OnelipSources ({sources}){rest}".encode(),
    )
    said = build.difference(new, old)
    assert said is None if found is None else found in str(said)


def tool(name):
    """Skip, or fail where TeX is required, unless a program is there."""
    if shutil.which(name) is None:
        missing = pytest.fail if "tex" in os.environ.get("ONELIP_REQUIRE", "") else pytest.skip
        missing(f"{name} is not installed: make paper installs TeX")


def printed(command, pdf):
    tool(command[0])
    return subprocess.run([*command, str(pdf)], capture_output=True, text=True, check=True).stdout


def words(pdf):
    tool("pdftotext")
    return subprocess.run(["pdftotext", str(pdf), "-"], capture_output=True, text=True, check=True).stdout


@pytest.mark.tex
@pytest.mark.parametrize(("name", "least", "most"), [("paper", 10, 14), ("poster", 1, 1)])
def test_pages(name, least, most):
    said = printed(["pdfinfo"], build.ROOT / f"{name}.pdf")
    (pages,) = (int(line.split()[1]) for line in said.splitlines() if line.startswith("Pages:"))
    assert least <= pages <= most


@pytest.mark.tex
@pytest.mark.parametrize("name", list(build.DOCUMENTS))
def test_every_font_is_embedded(name):
    fonts = printed(["pdffonts"], build.ROOT / f"{name}.pdf").splitlines()[2:]
    assert fonts
    assert [font for font in fonts if font.split()[-5] != "yes" or "Type 3" in font] == []


@pytest.fixture
def document(tmp_path, monkeypatch):
    """Typesets a body that may use onelip.sty and one value; returns the PDF."""

    def make(body, values):
        tool("latexmk")
        source = tmp_path / "main.tex"
        source.write_text(
            "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{lmodern,onelip}"
            f"\\begin{{document}}{body}\\end{{document}}"
        )
        digests = {"results": "feed", "sources": "beef", "texts": "cafe"}
        names = "".join(f"\\newcommand*{{\\onelip{name}}}{{{text}}}\n" for name, text in digests.items())
        (tmp_path / "numbers.tex").write_text(
            names + as_tex({k: Value(v, "results/x") for k, v in values.items()})
        )
        monkeypatch.setitem(build.DOCUMENTS, "tiny", source)
        return typeset("tiny", tmp_path)

    return make


@pytest.mark.tex
def test_a_value_is_printed_and_the_digest_is_inside(document):
    pdf = document(r"\val{a/b}", {"a/b": r"\num{12345.678}"})
    assert built_from(pdf) == "feed"
    assert "12,345.678" in words(pdf)


@pytest.mark.tex
def test_a_missing_value_stops_the_build(document):
    with pytest.raises(BuildError, match="no value for the key 'a/c'"):
        document(r"\val{a/c}", {"a/b": "1"})


@pytest.mark.tex
def test_the_same_sources_give_the_same_bytes(document, tmp_path):
    first = document(r"\val{a}", {"a": "1"}).read_bytes()
    for left in tmp_path.glob("tiny.*"):
        left.unlink()
    assert document(r"\val{a}", {"a": "1"}).read_bytes() == first


@pytest.mark.tex
def test_remarks_stand_where_a_claim_did_not_simply_hold(document):
    verdicts = {"c1": "supported", "c2": "refuted", "c3": "depends", "c4": "undecided"}
    body = "".join(rf"\iffound{{{key}}}{{remark on {key}}} " for key in verdicts)
    said = words(document(body, {f"claims/{key}/verdict": verdict for key, verdict in verdicts.items()}))
    assert [key for key in verdicts if f"remark on {key}" in said] == ["c2", "c3"]
