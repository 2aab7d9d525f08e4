"""The numbers of README and docs are those of results/: `make docs` renews them."""

import json
import re

import pytest

from documents.blocks import BLOCK, DOCUMENTS, STORE, WRITERS, current
from documents.measured import RESULTS, ROOT, w1_pairs
from onelip.gan.config import METHODS
from onelip.study.claims.evidence import digest


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_numbers_are_those_of_the_committed_results(path):
    assert path.read_text() == current(path.read_text())


def test_our_certificates_are_as_near_to_one_as_the_page_says():
    ours = [critics["best"]["certified"] for critics in w1_pairs().values() if "best" in critics]
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


def test_the_pictures_are_of_the_committed_results():
    assert json.loads((STORE / "figures" / "source.json").read_text()) == digest(RESULTS)
