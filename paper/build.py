"""`python -m paper.build [paper] [poster]`: numbers, tables and figures from results/, then the PDFs.

The same results and sources give the same bytes. What the log has against a PDF stops the build.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from documents.measured import StaleClaimsError
from onelip.files import write_atomically
from onelip.study.claims.evidence import read_evidence
from paper.figures import write_figures
from paper.log import faults
from paper.numbers import as_tex, collect
from paper.parts import render_parts
from paper.poster import write as write_poster
from paper.tables import render

HERE = Path(__file__).parent
ROOT = HERE.parent
BUILD = HERE / "build"
DOCUMENTS = {"paper": HERE / "main.tex", "poster": HERE / "poster.tex"}
SHOWN = 16  # digits of the digest in print; the metadata has all


class BuildError(Exception):
    """A PDF could not be made, or is not as it should be."""


def digest(folder: Path, left_out: tuple[str, ...] = ()) -> str:
    """SHA-256 over the relative path and the content of every file, in order of paths.

    left_out: folders at any depth that do not count.
    """
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        if not set(name.parts) & set(left_out):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"{name.as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def sources() -> str:
    """The digest of what stands in paper/: text, style, references, and the code there that fills them."""
    return digest(HERE, (BUILD.name, "__pycache__"))


def generate(results: Path, build: Path) -> None:
    """numbers.tex, tables/, parts/ and figures/ in the build folder."""
    evidence, found = read_evidence(results), digest(results)
    table, figures = collect(evidence), write_figures(evidence, build / "figures")
    texts = {"numbers.tex": as_tex(table)} | render(evidence, table) | render_parts(evidence, figures)
    filled = hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()
    names = {"results": found, "digest": found[:SHOWN], "sources": sources(), "texts": filled}
    words = "".join(rf"\newcommand*{{\onelip{name}}}{{{text}}}" + "\n" for name, text in names.items())
    texts["numbers.tex"] = words + texts["numbers.tex"]
    for name, text in texts.items():
        (build / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(build / name, text.encode())
    write_poster(evidence, build / "poster")


def typeset(document: str, build: Path) -> Path:
    """The PDF of a document in the build folder; BuildError with what the log has against it."""
    source = DOCUMENTS[document]
    paths = f".:{build}:"
    fixed = {"SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1", "max_print_line": "10000"}
    environment = os.environ | fixed | {"TEXINPUTS": paths, "BIBINPUTS": paths, "BSTINPUTS": paths}
    command = ["latexmk", "-pdf", "-halt-on-error", "-interaction=nonstopmode", "-file-line-error"]
    command += [f"-jobname={document}", f"-output-directory={build}", source.name]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True)
    log = build / f"{document}.log"
    said = log.read_text(errors="replace") if log.exists() else ""
    bibliography = build / f"{document}.blg"
    said += bibliography.read_text(errors="replace") if bibliography.exists() else ""
    found = faults(said)
    if done.returncode != 0 and not found:
        found = [*said.splitlines()[-20:], f"latexmk ended with code {done.returncode}: see {log}"]
    if found:
        raise BuildError("\n".join([f"{document}: the log {log} says", *found]))
    return build / f"{document}.pdf"


def metadata(pdf: bytes, key: str) -> str | None:
    """What a PDF says under a key of onelip.sty: OnelipResults, OnelipSources, OnelipTexts; None else."""
    _, found, rest = pdf.partition(f"/{key} (".encode())
    return rest.partition(b")")[0].decode() if found else None


def difference(new: bytes, old: bytes) -> str | None:
    """What a committed PDF lacks of a new build; None where both were made from the same.

    Bytes are no measure: another release of TeX, or another processor's last digits, change them.
    """
    for what in ("Results", "Sources", "Texts"):
        if metadata(new, f"Onelip{what}") != metadata(old, f"Onelip{what}"):
            return f"was built from other {what.lower()}"
    return None


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m paper.build", description=__doc__)
    parser.add_argument("documents", nargs="*", metavar="document", help="paper, poster; all by default")
    parser.add_argument("--check", action="store_true", help="compare with what is there, replace nothing")
    options = parser.parse_args(arguments)
    chosen = options.documents or list(DOCUMENTS)
    if unknown := [name for name in chosen if name not in DOCUMENTS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(DOCUMENTS)}")
    if shutil.which("latexmk") is None:
        sys.exit("latexmk is missing: `make paper` installs TeX, or names the packages")
    try:
        generate(ROOT / "results", BUILD)
        for name in chosen:
            finish(typeset(name, BUILD), ROOT / f"{name}.pdf", options.check)
    except (BuildError, StaleClaimsError) as error:
        sys.exit(str(error))


def finish(built: Path, place: Path, check: bool) -> None:
    """Put a PDF into its place; or with `check` hold the one that is there against it."""
    if not check:
        shutil.copyfile(built, place)
    elif lacking := difference(built.read_bytes(), place.read_bytes() if place.exists() else b""):
        raise BuildError(f"{place.name} {lacking}: make paper")
    print(f"{place.name}: {built.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
