"""Reading a node's arguments by the names of ATen's schema, and the axes along which it acts."""

from __future__ import annotations

from typing import Any, cast

from onelip.certificate.graph import Node


def argument(node: Node, name: str) -> Any:
    """The value given for `name`, else the schema's default; None where the overload has no such argument."""
    for position, declared in enumerate(node.call._schema.arguments):  # type: ignore[union-attr]
        if declared.name == name:
            if position < len(node.args):
                return node.args[position]
            return node.kwargs.get(name, declared.default_value)
    return None


def axes_of(node: Node, name: str = "dim") -> tuple[int, ...]:
    """The axes given by an argument of the node, none meaning all of its first input's."""
    given = argument(node, name)
    rank = len(node.inputs[0].shape)
    if given is None or given == []:
        return tuple(range(rank))
    return tuple(axis % rank for axis in ([given] if isinstance(given, int) else given))


def order_of(node: Node) -> Any:
    """The p of a p-norm, 2 where none is given: a number, or a word such as 'fro'."""
    p = argument(node, "p" if node.operator == "norm" else "ord")
    return 2 if p is None else p


def is_data(value: object) -> bool:
    """Whether an argument depends on the network's input."""
    return isinstance(value, Node)


def only_first(node: Node) -> bool:
    """Whether the first argument, and no weight, depends on the input."""
    return len(node.uses) == 1 and is_data(node.args[0])


def per_axis(value: Any, axes: int) -> tuple[int, ...]:
    """One number an axis, from one for all of them or one each.

    >>> per_axis(3, 2), per_axis([1, 2], 2)
    ((3, 3), (1, 2))
    """
    values = (value,) if isinstance(value, int) else tuple(value)
    return cast(tuple[int, ...], values * axes if len(values) == 1 else values)
