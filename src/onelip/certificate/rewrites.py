"""Rewrites of a traced graph: shared calls, activations written out, and extrema of two as a sort.

(a, b) ↦ (min, max) permutes its entries, so it is 1-Lipschitz jointly, which MaxMin and GroupSort
networks rely on (Anil, Lucas, Grosse, "Sorting out Lipschitz function approximation", ICML 2019); the
bound of each output alone cannot see that. Once written as one sort, the general rules do.
"""

from __future__ import annotations

import operator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx

_aten = torch.ops.aten
_SIDES: dict[Any, int] = {
    _aten.minimum.default: 0,
    _aten.min.other: 0,
    _aten.maximum.default: 1,
    _aten.max.other: 1,
}


def simplify(graph: fx.Graph) -> None:
    """All rewrites, in an order in which each sees what the one before it made, in place."""
    for rewrite in (_plain_copies, _free_views, _share, _whole_activations, _no_switch, _sort_pairs):
        rewrite(graph)


def _plain_copies(graph: fx.Graph) -> None:
    """copy(a, b), which is b in the shape of a, as an expansion of b, in place: copy has no derivative.

    Between floating types alone: into integers it rounds, and is left as it is, without a rule.
    """
    for node in graph.find_nodes(op="call_function", target=_aten.copy.default):
        kinds = [_dtype(operand) for operand in node.args[:2]]
        if not all(kind is not None and kind.is_floating_point for kind in kinds):
            continue
        node.target, node.args = _aten.expand_as.default, (node.args[1], node.args[0])


def _dtype(operand: Any) -> torch.dtype | None:
    value = operand.meta.get("val") if isinstance(operand, fx.Node) else operand
    return value.dtype if isinstance(value, Tensor) else None


def _free_views(graph: fx.Graph) -> None:
    """Views as reshapes, in place: whether memory allows a view is no concern of the function."""
    for target in (_aten.view.default, _aten._unsafe_view.default):
        for node in graph.find_nodes(op="call_function", target=target):
            node.target = _aten.reshape.default


def _whole_activations(graph: fx.Graph) -> None:
    """x·sigmoid(x) as silu and x/(1 + |x|) as softsign, in place: as products they would have no bound."""
    for node in graph.find_nodes(op="call_function", target=_aten.mul.Tensor):
        for x, gate in (node.args, node.args[::-1]):
            if _is_call(gate, _aten.sigmoid.default, x):
                node.target, node.args = _aten.silu.default, (x,)
    for node in graph.find_nodes(op="call_function", target=_aten.div.Tensor):
        x, divisor = node.args[:2]
        plus_one = _is_call(divisor, _aten.add.Tensor) and 1 in divisor.args
        if plus_one and any(_is_call(part, _aten.abs.default, x) for part in divisor.args):
            node.target, node.args = F.softsign, (x,)


def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(βx))/β at every x, where torch's jumps by exp(−threshold)/β to x itself."""
    return torch.logaddexp(beta * x, torch.zeros_like(x)) / beta


def _no_switch(graph: fx.Graph) -> None:
    """Softplus without its switch to x, in place, where that is for rounding's sake alone."""
    for node in graph.find_nodes(op="call_function", target=_aten.softplus.default):
        threshold = node.args[2] if len(node.args) > 2 else 20.0
        if isinstance(threshold, int | float) and threshold >= 20:
            node.target = softplus


def _is_call(value: Any, target: Any, *args: Any) -> bool:
    called = isinstance(value, fx.Node) and value.target is target and not value.kwargs
    return called and (not args or value.args == args)


def _share(graph: fx.Graph) -> None:
    """Compute equal calls on equal arguments once, in place: a functional graph has no side effects."""
    known: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function" or torch.Tag.nondeterministic_seeded in getattr(
            node.target, "tags", ()
        ):
            continue
        key = (node.target, repr(node.args), repr(node.kwargs))  # nodes have unique names
        if key in known:
            node.replace_all_uses_with(known[key])
            graph.erase_node(node)
        else:
            known[key] = node


def _sort_pairs(graph: fx.Graph) -> None:
    """Replace maximum(a, b), minimum(a, b), and extrema along an axis of length 2, by one sort a pair."""
    sorted_pairs: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        replacement = _of_two_tensors(graph, node, sorted_pairs) or _along_an_axis(graph, node, sorted_pairs)
        if replacement is not None:
            replacement.meta["val"] = node.meta.get("val")  # a later rewrite asks for its shape
            node.replace_all_uses_with(replacement)
            graph.erase_node(node)
    graph.eliminate_dead_code()


def _of_two_tensors(graph: fx.Graph, node: fx.Node, known: dict[Any, fx.Node]) -> fx.Node | None:
    side = _SIDES.get(node.target)
    if side is None:
        return None
    a, b = sorted(cast(Any, node.args), key=str)
    if not (isinstance(a, fx.Node) and isinstance(b, fx.Node) and _shape(a) == _shape(b)):
        return None
    if (a, b) not in known:
        with graph.inserting_before(node):
            pair = _call(graph, node, _aten.stack.default, [a, b], -1)
            ordered = _call(graph, node, _aten.sort.default, pair, -1)
            known[a, b] = _call(graph, node, operator.getitem, ordered, 0)
    with graph.inserting_before(node):
        return _call(graph, node, _aten.select.int, known[a, b], -1, side)


def _along_an_axis(graph: fx.Graph, node: fx.Node, known: dict[Any, fx.Node]) -> fx.Node | None:
    found = _extremum(node)
    if found is None:
        return None
    x, axis, keepdim, side = found
    if not isinstance(axis, int) or _shape(x)[axis] != 2:
        return None
    axis %= len(_shape(x))
    if (x, axis) not in known:
        with graph.inserting_before(node):
            ordered = _call(graph, node, _aten.sort.default, x, axis)
            known[x, axis] = _call(graph, node, operator.getitem, ordered, 0)
    with graph.inserting_before(node):
        chosen = _call(graph, node, _aten.select.int, known[x, axis], axis, side)
        return _call(graph, node, _aten.unsqueeze.default, chosen, axis) if keepdim else chosen


def _extremum(node: fx.Node) -> tuple[fx.Node, Any, bool, int] | None:
    """(x, axis, keepdim, 0 for the minimum or 1 for the maximum) of amax, amin, max and min along an axis."""
    arguments: Any = node.args
    side = {_aten.amin.default: 0, _aten.amax.default: 1}.get(cast(Any, node.target))
    if side is not None:
        axes = arguments[1] if len(arguments) > 1 else []
        keepdim = len(arguments) > 2 and bool(arguments[2])
        return (arguments[0], axes[0], keepdim, side) if len(axes) == 1 else None
    if node.target is not operator.getitem or node.args[1] != 0:
        return None
    call: Any = node.args[0]
    side = {_aten.min.dim: 0, _aten.max.dim: 1}.get(call.target)
    if side is None:
        return None
    return (call.args[0], call.args[1], len(call.args) > 2 and bool(call.args[2]), side)


def _shape(node: fx.Node) -> tuple[Any, ...]:
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _call(graph: fx.Graph, at: fx.Node, target: Any, *args: Any) -> fx.Node:
    made = graph.call_function(target, args)
    made.meta["nn_module_stack"] = at.meta.get("nn_module_stack", {})
    return made
