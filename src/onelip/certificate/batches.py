"""Which sample of the batch an entry belongs to: what an operator mixes across samples raises here."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from onelip.certificate.effects import Effect
from onelip.certificate.graph import Node
from onelip.errors import UnknownOperatorError


def numbers(shape: tuple[int, ...]) -> Tensor:
    """1, 2, 3, … in the given shape; zero is left for constants. Exact in float64 up to 2⁵³."""
    return torch.arange(1, math.prod(shape) + 1, dtype=torch.float64).reshape(shape)


def mixing(node: Node) -> UnknownOperatorError:
    """The error for an operator in which samples of a batch meet."""
    return UnknownOperatorError(
        f"{node.place} mixes the samples of a batch, so that no bound for one sample is meant: "
        "take it out, or export the module in eval mode"
    )


def most_copies(moved: Tensor) -> int:
    """How often the entry that is copied most often occurs among moved entry numbers.

    >>> most_copies(torch.tensor([[1.0, 2.0, 2.0, 0.0]]))
    2
    """
    found = moved.flatten().long()
    return int(torch.bincount(found[found > 0], minlength=1).max()) if len(found) else 0


def owners(moved: Tensor, shape: tuple[int, ...], batch_axis: int, batch: int) -> Tensor:
    """The sample that each moved entry number belongs to, for entries of `shape`; −1 for constants."""
    sample = torch.cat([torch.tensor([-1]), _samples_along(shape, batch_axis, batch).flatten()])
    return sample[moved.long()]


def _samples_along(shape: tuple[int, ...], axis: int, batch: int) -> Tensor:
    """Sample numbers of entries whose samples lie as equal blocks along one axis."""
    along = torch.arange(shape[axis]) * batch // shape[axis]
    return along.reshape(-1, *[1] * (len(shape) - axis - 1)).expand(shape)


def batch_axis_of_move(node: Node, kept_by: list[Tensor], batch: int) -> int:
    """The axis along which the samples lie behind a move. Raises UnknownOperatorError where there is none."""
    for axis, size in enumerate(node.shape):
        if size % batch == 0 and size > 0:
            wanted = _samples_along(node.shape, axis, batch)
            if all(bool(((owner == wanted) | (owner == -1)).all()) for owner in kept_by):
                return axis
    raise mixing(node)


def kept_batch_axis(node: Node, u: Node, effect: Effect, before: int) -> int:
    """Where u's batch axis lies behind an operator whose effect must leave it alone.

    Without axes of its own an operator broadcasts, so axes are counted from the last one. With as many axes
    as are lost it loses these: a mean over a stack.
    """
    rank = len(u.shape)
    axes = {axis % rank for axis in effect.axes}
    if not axes:
        return before + len(node.shape) - rank
    fewer = rank - len(node.shape)
    if before in axes or (fewer not in (0, len(axes)) and min(axes) < before):
        raise mixing(node)
    return before - (sum(axis < before for axis in axes) if fewer else 0)
