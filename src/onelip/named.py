"""What a user names as "package.module:name" on the command line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from onelip.errors import ArgumentError, typed_line


def named(argument: str, name: str) -> Any:
    """The attribute that `name` names, found from the current folder too.

    argument: what an error calls it. Raises ArgumentError for a name of another form, and with whatever the
    module raises when it is imported.

    >>> named("factory", "math:tau")
    6.283185307179586
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        remedy = "put a colon before the name"
        raise ArgumentError(argument, "package.module:name", repr(name), remedy)
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        received = f"{name}: {typed_line(error)}"
        remedy = "check the name, and run from the folder that holds the module"
        raise ArgumentError(argument, "importable", received, remedy) from error
