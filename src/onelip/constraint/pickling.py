"""Pickle a parametrized module whole, and copy it into a class of its own.

torch gives each parametrized module a class of its own, made at run time, which no other process can
import, and lets pickle refuse it. A copy would share that class, and lose its weight where the constraint is
taken off the original. What is needed to make the class again is the one that it extends and the names of
the parametrized tensors; the rest is the module's state.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from onelip.linear.layers import plain_class


def make_picklable(module: nn.Module) -> None:
    """Let pickle, and so torch.save of the whole module, and deepcopy work on a parametrized module."""
    type(module).__reduce_ex__ = _reduce  # pyright: ignore[reportAttributeAccessIssue]
    type(module).__deepcopy__ = _copy  # pyright: ignore[reportAttributeAccessIssue]


def _reduce(module: nn.Module, _: object) -> tuple[Any, ...]:
    names = tuple(parametrizations(module))
    return _restore, (plain_class(module), names), module.__dict__.copy()


def _copy(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    copied = _restore(plain_class(module), tuple(parametrizations(module)))
    memo[id(module)] = copied  # for what refers to it from inside
    copied.__dict__.update(copy.deepcopy(module.__dict__, memo))
    return copied


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
