"""Typed errors. Every message names the argument, its requirement, what was received, and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_DIVERGED = 1  # of `onelip train`; in a study a run that diverges is a finding
EXIT_INTERRUPTED = 130  # what a shell reports for a process that Ctrl-C ended


class OnelipError(Exception):
    """Base of all that onelip raises on purpose; the command turns it into one line and exit code 2."""


class ArgumentError(OnelipError, ValueError):
    """An argument does not meet its requirement.

    >>> raise ArgumentError("width", "a positive integer", -3, "pass --width 16")
    Traceback (most recent call last):
    onelip.errors.ArgumentError: width must be a positive integer, got -3: pass --width 16
    """

    def __init__(self, argument: str, requirement: str, received: object, remedy: str):
        super().__init__(argument, requirement, received, remedy)
        self.argument = argument

    def __str__(self) -> str:
        argument, requirement, received, remedy = self.args
        return f"{argument} must be {requirement}, got {received}: {remedy}"


def require_name(argument: str, received: str, known: Iterable[str]) -> None:
    """Raise ArgumentError with the nearest known name unless `received` is one of them.

    >>> require_name("loss", "hing", ("wasserstein", "hinge"))
    Traceback (most recent call last):
    onelip.errors.ArgumentError: loss must be one of wasserstein, hinge, got 'hing': did you mean hinge?
    """
    names = list(known)
    if received in names:
        return
    near = difflib.get_close_matches(str(received), names, n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]}?" if near else "choose one of these"
    raise ArgumentError(argument, "one of " + ", ".join(names), repr(received), remedy)


def one_line(error: BaseException) -> str:
    """What an exception of others says, in one line of at most 200 characters.

    >>> one_line(RuntimeError("The size of tensor a\\n  must match"))
    'The size of tensor a must match'
    """
    return " ".join(str(error).split())[:200]


def typed_line(error: BaseException) -> str:
    """The type of an exception of others and what it says, in one line.

    >>> typed_line(KeyError("weight"))
    "KeyError: 'weight'"
    """
    return f"{type(error).__name__}: {one_line(error)}"


def refusal(error: OSError, path: object = None) -> str:
    """What the system refuses, in one line: the file, else `path`, and why; some errors have no errno.

    >>> refusal(PermissionError(13, "Permission denied", "a.json")), refusal(TimeoutError("timed out"), "run")
    ('a.json: Permission denied', 'run: timed out')
    """
    why = error.strerror or one_line(error) or type(error).__name__
    where = error.filename or path
    return f"{where}: {why}" if where else why


class DataError(OnelipError, ValueError):
    """A data set is missing, damaged or of a form that cannot be used."""


class CheckpointError(OnelipError):
    """No usable checkpoint, or a run folder that belongs to another configuration."""


class NonFiniteError(OnelipError, ValueError):
    """A weight or an input holds NaN or infinity where only finite numbers have a meaning."""


class ContradictionError(OnelipError):
    """Two numbers of onelip's own that cannot both be right: a defect, and no result."""


class UnknownOperatorError(OnelipError, NotImplementedError):
    """A layer or an operator for which no sound rule is known: nothing is ever skipped silently."""
