"""Pickle a parametrized module whole.

torch gives each parametrized module a class of its own, made at run time, which no other process can
import, and lets pickle refuse it. What is needed to make that class again is the one that it extends and the
names of the parametrized tensors; the rest is the module's state.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from onelip.linear.layers import plain_class


def make_picklable(module: nn.Module) -> None:
    """Let pickle, and so torch.save of the whole module, work on a parametrized module."""
    type(module).__reduce_ex__ = _reduce  # pyright: ignore[reportAttributeAccessIssue]


def _reduce(module: nn.Module, _: object) -> tuple[Any, ...]:
    names = tuple(parametrizations(module))
    return _restore, (plain_class(module), names), module.__dict__.copy()


def parametrizations(module: nn.Module) -> nn.ModuleDict:
    """The parametrizations of a module, by the name of the tensor."""
    assert isinstance(module.parametrizations, nn.ModuleDict)
    return module.parametrizations


def _restore(plain: type[nn.Module], names: tuple[str, ...]) -> nn.Module:
    module = plain.__new__(plain)
    parametrize._inject_new_class(module)
    for name in names:
        parametrize._inject_property(module, name)
    make_picklable(module)
    return module
