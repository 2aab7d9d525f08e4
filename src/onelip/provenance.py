"""Where a number comes from: commit, versions and machine, recorded beside every result."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

PACKAGES = ("onelip", "torch", "numpy", "scipy")


def provenance() -> dict[str, object]:
    """Commit, library versions and machine as plain JSON values.

    >>> sorted(provenance())
    ['commit', 'machine', 'python', 'versions']
    """
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "machine": machine(),
    }


def commit() -> str | None:
    """The commit of the source tree, '+dirty' where tracked files differ; None outside a repository.

    But for results/: a study writes there while it runs, and no result is made of what it replaces.
    """
    source = Path(__file__).parent
    try:
        inside = _git(source, "ls-files", "--error-unmatch", "provenance.py")
        tracked = ("status", "--porcelain", "--untracked-files=no", "--")
        changed = _git(source, *tracked, ":(top)", ":(top,exclude)results")
        head = _git(source, "rev-parse", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return None
    assert inside
    return head + ("+dirty" if changed else "")


def shown(commit: str | None) -> str:
    """A recorded commit in a few characters, and whether the tree differed from it.

    >>> shown("0123456789abcdef+dirty"), shown(None)
    ('0123456+dirty', 'none')
    """
    if commit is None:
        return "none"
    head, plus, dirty = commit.partition("+")
    return head[:7] + plus + dirty


def machine() -> dict[str, object]:
    """Processor, cores, memory, system and accelerator."""
    import torch

    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
