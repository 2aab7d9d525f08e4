"""Imports go one way, the public names resolve, and the project speaks of itself alone."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import onelip

SOURCE = Path(onelip.__file__).parent
LEAVES = {"errors", "files", "named", "provenance", "rounding"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "files": set(),
    "named": {"errors"},
    "provenance": set(),
    "rounding": set(),
    "linear": LEAVES,
    "constraint": LEAVES | {"linear"},
    "certificate": LEAVES | {"linear"},
    "transport": LEAVES,
    "data": LEAVES,
    "metrics": LEAVES | {"transport"},
    "gan": LEAVES | {"linear", "constraint", "data"},
    "study": LEAVES | {"linear", "constraint", "certificate", "transport", "data", "metrics", "gan"},
    "options": {"gan", "study"},
    "cli": LEAVES
    | {"linear", "constraint", "certificate", "transport", "data", "metrics", "gan", "study", "options"},
}
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.stem in MAY_IMPORT)


def imported(path: Path) -> set[str]:
    """The parts of onelip that a file imports, wherever in the file."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {module.split(".")[1] for module in modules if module.startswith("onelip.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path):
    part = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    assert imported(path) <= MAY_IMPORT[part] | {part}


def test_the_public_names_resolve_and_are_few():
    assert 0 < len(onelip.__all__) <= 30
    for name in onelip.__all__:
        assert getattr(onelip, name) is not None
    assert set(onelip.__all__) <= set(dir(onelip))


def test_the_citation_is_of_this_version():
    """The package takes its own from __init__.py."""
    cited = re.search(r"^version: (.*)$", Path("CITATION.cff").read_text(), re.MULTILINE)
    assert cited is not None
    assert cited[1] == onelip.__version__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = onelip.nonsense


def test_importing_onelip_and_its_command_line_needs_no_torch():
    code = "import sys, onelip, onelip.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
