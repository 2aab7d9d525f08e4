"""What composition knows about one node: a bound, and how it follows linearly from an earlier node."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from onelip.certificate.effects import Effect, up
from onelip.certificate.fusion import Fused
from onelip.certificate.graph import Node
from onelip.linear.interval import NormInterval


@dataclass(frozen=True, eq=False)
class Bound:
    """What is known about one node.

    constant: bound on its Lipschitz constant, infinite for the reason `why`. method: what gave it.
    norm: of the operator alone, where it has one. batch_axis: where its samples lie.
    """

    constant: float
    method: str
    effect: Effect
    batch_axis: int = 0
    why: str = ""
    norm: NormInterval | None = None


@dataclass(frozen=True, eq=False)
class Segment:
    """A node as a linear function of its base, the nearest node before it for which it is one.

    gain: product bound of that map. rounding: of evaluating it, relative to gain. steps: how many operators
    in it are no isometries.
    """

    base: Node
    gain: float = 1.0
    rounding: float = 0.0
    steps: int = 0
    fused: Fused | None = None


def copies_of(u: Node, node: Node) -> float:
    """How many entries of a broadcasting operator's output each entry of its input reaches."""
    return math.prod(node.shape) / max(math.prod(u.shape), 1)


def sum_up(values: list[float]) -> float:
    """Σv from above; a single value stays as it is."""
    return values[0] if len(values) == 1 else up(sum(values), len(values))


def least(bound: Bound, constant: float, method: str) -> Bound:
    """The bound, or a smaller constant with the method that gave it."""
    return replace(bound, constant=constant, method=method) if constant < bound.constant else bound
