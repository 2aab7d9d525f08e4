"""Read an exported program node by node: constants are evaluated, what depends on the input becomes a Graph.

Everything that depends on parameters and buffers alone is evaluated here, once, in the precision in
which the network stores it: the weight that a parametrization returns *is* the weight in use.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, OutputKind
from torch.utils._pytree import tree_leaves, tree_map_only

from onelip.certificate.effects import no_rule
from onelip.certificate.graph import Graph, Node
from onelip.certificate.state import refuse_changes
from onelip.errors import ArgumentError, NonFiniteError, UnknownOperatorError
from onelip.linear.layers import require_dense

# A sample must not be told from its neighbour by luck: two samples, unless the program fixes another number.
BATCH = 2
_SHAPE_ONLY = {
    "zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty",
    "sym_size",
}  # fmt: skip
_MAY_HOLD_INFINITY = {"where", "masked_fill", "maximum", "minimum", "clamp"}
_TAKE_OUT = "take it out of forward, or certify the parts around it"
_REAL = "compute with real and imaginary parts in tensors of their own"


class Reader:
    """Reads an exported program node by node: constants are evaluated, the rest becomes a Graph."""

    def __init__(self, program: ExportedProgram, input_shape: tuple[int, ...]):
        self.program = program
        self.input_shape = tuple(input_shape)
        self.read_values: dict[fx.Node, Any] = {}
        self.casts: set[torch.dtype] = set()
        self.examples: dict[Node, Any] = {}  # float64 values of one run, from which shapes are known

    def read(self) -> Graph:
        self._refuse_mutation()
        self._read_placeholders()
        for fx_node in self.program.graph.nodes:
            if fx_node.op == "call_function":
                self.read_values[fx_node] = self._call(fx_node)
            elif fx_node.op == "get_attr" and fx_node.users:  # a graph, of one branch for instance
                caller = next(iter(fx_node.users))
                raise no_rule(f"{_operator_name(caller)} in {_layer(caller)!r}", _TAKE_OUT)
            elif fx_node.op not in ("placeholder", "get_attr", "output"):
                what = f"a graph node of kind {fx_node.op} ({fx_node.name})"
                raise no_rule(what, "export the module with torch.export.export")
        return Graph(tuple(self.examples), self._output(), self.input.shape[0], frozenset(self.casts))

    def _refuse_mutation(self) -> None:
        harmless = (OutputKind.USER_OUTPUT, OutputKind.USER_INPUT_MUTATION)
        specs = self.program.graph_signature.output_specs
        changed = [str(spec.target) for spec in specs if spec.kind not in harmless]
        if changed:
            refuse_changes(changed)

    def _read_placeholders(self) -> None:
        placeholders = [node for node in self.program.graph.nodes if node.op == "placeholder"]
        inputs = []
        for node, spec in zip(placeholders, self.program.graph_signature.input_specs, strict=True):
            if spec.kind is InputKind.USER_INPUT:
                inputs.append(node)
            elif node.users:
                self.read_values[node] = self._stored(spec)
        if len(inputs) != 1 or not isinstance(inputs[0].meta.get("val"), Tensor):
            remedy = "wrap the module so that forward takes the one input in question"
            raise ArgumentError("module", "a function of one tensor", f"{len(inputs)} inputs", remedy)
        self.input = self._input(inputs[0])
        self.dtype = inputs[0].meta["val"].dtype
        self.read_values[inputs[0]] = self.input

    def _stored(self, spec: InputSpec) -> Any:
        """A parameter, buffer or constant. Constants may hold infinity, as masks do; see _finite."""
        known = spec.target in self.program.state_dict
        value = (self.program.state_dict if known else self.program.constants)[spec.target or ""]
        if not isinstance(value, Tensor):
            raise no_rule(f"{spec.target}, a {type(value).__name__}", _TAKE_OUT)
        weight = spec.kind in (InputKind.PARAMETER, InputKind.BUFFER)
        if weight and value.is_floating_point() and not value.isfinite().all():
            raise NonFiniteError(f"{spec.target} holds NaN or infinity: restore it first")
        return value.detach()

    def _input(self, fx_node: fx.Node) -> Node:
        if not fx_node.meta["val"].is_floating_point():
            remedy = "certify the part behind the embedding"
            raise ArgumentError("module", "a function of real numbers", fx_node.meta["val"].dtype, remedy)
        traced = tuple(fx_node.meta["val"].shape)
        batch = traced[0] if traced and isinstance(traced[0], int) else BATCH
        fits = len(traced) == len(self.input_shape) + 1 and all(
            not isinstance(size, int) or size == wanted
            for size, wanted in zip(traced[1:], self.input_shape, strict=True)
        )
        if not fits:
            sizes = ",".join(str(size) for size in traced[1:])
            remedy = "give the shape of one sample, without the batch axis"
            raise ArgumentError("input_shape", f"({sizes}), as exported", self.input_shape, remedy)
        node = Node(fx_node.name, "input", shape=(batch, *self.input_shape))
        generator = torch.Generator().manual_seed(0)
        self.examples[node] = torch.randn(node.shape, dtype=torch.float64, generator=generator)
        return node

    def _call(self, fx_node: fx.Node) -> Any:
        args, kwargs = tree_map_only(fx.Node, self.read_values.__getitem__, (fx_node.args, fx_node.kwargs))
        name = _operator_name(fx_node)
        leaves = tree_leaves((args, kwargs))
        if torch.Tag.nondeterministic_seeded in getattr(fx_node.target, "tags", ()) and _draws(name, args):
            raise UnknownOperatorError(
                f"{name} in {_layer(fx_node)!r} is random: export the module in eval mode"
            )
        if any(isinstance(leaf, _Several) for leaf in leaves):
            return self._item(fx_node, args)
        if not any(isinstance(leaf, Node) for leaf in leaves):
            return fx_node.target(*args, **kwargs)  # type: ignore[operator]
        if name in _SHAPE_ONLY:
            like = tree_map_only(Node, lambda node: torch.zeros(node.shape, dtype=self.dtype), (args, kwargs))
            return fx_node.target(*like[0], **like[1])  # type: ignore[operator]
        args, kwargs = self._exact(args, name, fx_node), self._exact(kwargs, name, fx_node)
        made = Node(fx_node.name, name, _layer(fx_node), fx_node.target, args, kwargs)  # type: ignore[arg-type]
        return self._add(made)

    def _add(self, node: Node) -> Any:
        value = node.evaluate(self.examples)
        if not isinstance(value, Tensor):
            return _Several(node)
        if value.is_complex():
            raise no_rule(f"complex numbers, as {node.place} makes them", _REAL)
        node = replace(node, shape=tuple(value.shape), dtype=value.dtype)
        self.examples[node] = value
        return node

    def _item(self, fx_node: fx.Node, args: tuple[Any, ...]) -> Any:
        if fx_node.target is not operator.getitem:
            several = next(leaf for leaf in tree_leaves(args) if isinstance(leaf, _Several))
            raise no_rule(f"numbers read from tensors, as {several.node.place} does", _TAKE_OUT)
        several, index = args
        return self._add(replace(several.node, name=fx_node.name, item=index))

    def _exact(self, arguments: Any, name: str, fx_node: fx.Node) -> Any:
        """Constants in float64 on the CPU, and floating casts to float64: exact arithmetic rounds nowhere."""

        def exact(leaf: Any) -> Any:
            if isinstance(leaf, Tensor):
                require_dense(leaf, f"a weight of {name} in {_layer(fx_node)!r}")
                return self._finite(leaf.detach().cpu(), name, fx_node)
            if isinstance(leaf, float) and math.isnan(leaf):
                raise NonFiniteError(f"a number that {name} in {_layer(fx_node)!r} is given is NaN")
            if isinstance(leaf, torch.dtype) and leaf.is_floating_point:
                self.casts.add(leaf)
                return torch.float64
            return torch.device("cpu") if isinstance(leaf, torch.device) else leaf

        return tree_map_only((Tensor, float, torch.dtype, torch.device), exact, arguments)

    def _finite(self, constant: Tensor, name: str, fx_node: fx.Node) -> Tensor:
        if constant.is_complex():
            raise no_rule(f"a complex weight of {name} in {_layer(fx_node)!r}", _REAL)
        if not constant.is_floating_point():
            return constant
        if name not in _MAY_HOLD_INFINITY and not constant.isfinite().all():
            raise NonFiniteError(f"a weight of {name} in {_layer(fx_node)!r} holds NaN or infinity")
        return constant.double()

    def _output(self) -> Node:
        returned = tree_leaves(self.program.graph.output_node().args)
        specs = self.program.graph_signature.output_specs
        outputs = [
            self.read_values.get(value, value)
            for value, spec in zip(returned, specs, strict=True)
            if spec.kind is OutputKind.USER_OUTPUT
        ]
        if len(outputs) == 1 and isinstance(outputs[0], Node):
            return outputs[0]
        what = (
            f"{len(outputs)} outputs" if len(outputs) != 1 else "an output that does not depend on the input"
        )
        remedy = "wrap the module so that forward returns the one output in question"
        raise ArgumentError("module", "a function to one tensor", what, remedy)


@dataclass(frozen=True, eq=False)
class _Several:
    """A call with several outputs, waiting to be indexed."""

    node: Node


def _operator_name(fx_node: fx.Node) -> str:
    """ATen's name of what a node calls, without its overload; one of another library keeps its namespace."""
    target = fx_node.target
    if not isinstance(target, OpOverload):
        return getattr(target, "__name__", str(target))
    name = target.overloadpacket.__name__
    return name if target.namespace == "aten" else f"{target.namespace}::{name}"


def _layer(fx_node: fx.Node) -> str:
    stack = list(fx_node.meta.get("nn_module_stack", {}).values())
    return stack[-1][0] if stack else ""


def _draws(name: str, args: tuple[Any, ...]) -> bool:
    """Whether a random operator really is one: dropout and its like may be called in eval mode."""
    if name in ("lstm", "gru", "rnn_tanh", "rnn_relu", "scaled_dot_product_attention"):
        return False  # no bound holds for them, with dropout or without
    training = {"rrelu": 3, "dropout": 2, "alpha_dropout": 2, "feature_dropout": 2}.get(name)
    return training is None or (len(args) > training and args[training] is not False)
