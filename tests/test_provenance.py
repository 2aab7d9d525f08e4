import subprocess

import pytest

from onelip import provenance


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A repository that holds the module, a result and a script, all committed."""
    files = ("src/provenance.py", "results/runs.json", "script.py")
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / files[0]))
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "dirty"),
    [
        ([], False),
        (["results/runs.json"], False),
        (["results/new.json"], False),
        (["script.py"], True),
        (["src/provenance.py", "results/runs.json"], True),
    ],
)
def test_a_tree_is_dirty_where_what_makes_results_differs(module, changed, dirty):
    for name in changed:
        (module / name).write_text("2")
    head = provenance._git(module, "rev-parse", "HEAD")
    assert provenance.commit() == head + ("+dirty" if dirty else "")


def test_outside_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert provenance.commit() is None
