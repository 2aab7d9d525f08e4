"""What a network keeps between calls: parameters and buffers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from onelip.errors import ArgumentError
from onelip.linear.layers import require_dense


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """Put back what forward changes, and raise ArgumentError that names it, or what holds no numbers."""
    for name, tensor in _stored(module).items():
        require_dense(tensor, name)
    before = {name: (tensor, tensor.detach().clone()) for name, tensor in _stored(module).items()}
    try:
        yield
    finally:
        after = _stored(module)
        changed = [name for name, (at, value) in before.items() if not _same(after.get(name), at, value)]
        for name in changed:
            _put_back(module, name, *before[name])
    if changed:
        refuse_changes(changed)


def refuse_changes(names: list[str]) -> None:
    remedy = "export module.eval(), or take the state out of forward"
    raise ArgumentError("module", "a function of its input alone", f"one that changes {names}", remedy)


def _stored(module: nn.Module) -> dict[str, Tensor]:
    """By every name: of two names of one tensor, one alone may get another."""
    parameters = module.named_parameters(remove_duplicate=False)
    return dict(parameters) | dict(module.named_buffers(remove_duplicate=False))


def _same(now: Tensor | None, at: Tensor, value: Tensor) -> bool:
    """The same tensor with the same numbers, NaN among them."""
    return now is at and bool(((now == value) | ((now != now) & (value != value))).all())


@torch.no_grad()
def _put_back(module: nn.Module, name: str, at: Tensor, value: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    at.copy_(value)
    held = owner._parameters if isinstance(at, nn.Parameter) else owner._buffers
    held[leaf] = at  # type: ignore[assignment]
