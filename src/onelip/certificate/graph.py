"""A network as a small graph of the operators that touch its input.

A graph means the exact-arithmetic function of the numbers that it holds: constants are float64, casts
between floating types are identities, and evaluation is in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True, eq=False)
class Node:
    """One tensor that depends on the input: `call(*args, **kwargs)`, with nodes in place of tensors.

    operator: ATen's name without its overload, or "input". item: which output of a call that has several.
    shape: with the batch axis. dtype: not floating where numbers were compared or rounded. layer: the module
    that made the call, by qualified name.
    """

    name: str
    operator: str
    layer: str = ""
    call: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    item: int | None = None
    shape: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float64

    @cached_property
    def uses(self) -> tuple[Node, ...]:
        """The nodes among the arguments, as often as they are there, in order."""
        leaves = tree_leaves((self.args, self.kwargs))
        return tuple(leaf for leaf in leaves if isinstance(leaf, Node))

    @cached_property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes among the arguments, each once, in order."""
        return tuple(dict.fromkeys(self.uses))

    def evaluate(self, values: dict[Node, Tensor], dtype: torch.dtype = torch.float64) -> Any:
        """The value of this node from the values of its inputs, with its constants in `dtype`."""
        assert self.call is not None, "the input has no call"
        args = [_filled(argument, values, dtype) for argument in self.args]
        kwargs = {name: _filled(argument, values, dtype) for name, argument in self.kwargs.items()}
        result = self.call(*args, **kwargs)
        return result if self.item is None else result[self.item]

    @property
    def place(self) -> str:
        """Where the node stands, for messages."""
        return f"{self.operator} in {self.layer!r}" if self.layer else f"{self.operator} at the top level"


def _filled(argument: Any, values: dict[Node, Tensor], dtype: torch.dtype) -> Any:
    """An argument with values for nodes, and with its constants and casts in `dtype`."""
    if isinstance(argument, Node):
        return values[argument]
    if isinstance(argument, Tensor):
        return argument.to(dtype) if argument.is_floating_point() else argument
    if isinstance(argument, torch.dtype):
        return dtype if argument.is_floating_point else argument
    return (
        [_filled(part, values, dtype) for part in argument]
        if isinstance(argument, list | tuple)
        else argument
    )


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in the order of evaluation, the input first.

    batch: how many samples the trace holds. casts: floating formats that the network casts to on the way.
    """

    nodes: tuple[Node, ...]
    output: Node
    batch: int
    casts: frozenset[torch.dtype]

    @property
    def input(self) -> Node:
        return self.nodes[0]

    def run(
        self, x: Float[Tensor, "batch *input_shape"], each: Callable[[Tensor], Tensor] = lambda value: value
    ) -> Float[Tensor, "*output_shape"]:
        """The network on exactly `self.batch` samples, in the precision of x and differentiable in it.

        each: what is done to the value of every node, the input's too, before others take it.
        """
        values = {self.input: each(x)}
        for node in self.nodes[1:]:
            values[node] = each(node.evaluate(values, x.dtype))
        return values[self.output].to(x.dtype)  # positions and comparisons are numbers too
