"""Trace a network in eval mode with torch.export."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram, default_decompositions
from torch.nn.utils import parametrize

from onelip.certificate.graph import Graph
from onelip.certificate.reader import BATCH, Reader
from onelip.certificate.rewrites import simplify
from onelip.certificate.state import unchanged
from onelip.errors import ArgumentError, DataError, OnelipError, typed_line
from onelip.linear.autocast import on_cpu
from onelip.linear.layers import check_shape, evaluating

aten = torch.ops.aten


def trace(module: nn.Module | ExportedProgram, input_shape: tuple[int, ...]) -> Graph:
    """The graph of `module` in eval mode on inputs of `input_shape`, without the batch axis.

    Raises ArgumentError where torch.export cannot trace it, where it does not map one tensor to one
    tensor, or where it changes its own buffers; NonFiniteError for NaN or infinite weights; DataError for a
    damaged program.

    >>> [node.operator for node in trace(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), (3,)).nodes]
    ['input', 'linear', 'relu']
    """
    check_shape(input_shape)
    program = module if isinstance(module, ExportedProgram) else _export(module, input_shape)
    with torch.no_grad(), warnings.catch_warnings(), on_cpu(), _failures_named():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, from copying its tree specs
        if program is module or _edits_in_place(program) or len(_graphs(program)) > 1:
            program = _without_edits(copy.deepcopy(program))
        simplify(program.graph)
        return Reader(program, input_shape).read()


@contextmanager
def _failures_named() -> Iterator[None]:
    """A program that was tampered with fails in many ways: each becomes one line, and torch logs none."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    except OnelipError:
        raise
    except Exception as error:
        raise DataError(f"the traced program cannot be read: {typed_line(error)}") from error
    finally:
        logger.setLevel(level)


# They return views that edits reach, and their schemas do not say so: torch would lose the edits.
_AS_VIEWS: dict[Any, Any] = {
    aten.unsafe_chunk.default: aten.chunk.default,
    aten.unsafe_split.Tensor: aten.split.Tensor,
    aten.unsafe_split_with_sizes.default: aten.split_with_sizes.default,
}


def _without_edits(program: ExportedProgram) -> ExportedProgram:
    """The program without in-place operators, autocast and grad modes, otherwise the same."""
    edits = _edits_in_place(program)
    for node in _nodes(program):
        if node.target is aten.dropout.default and len(node.args) > 2 and node.args[2] is False:
            node.target, node.args = aten.alias.default, node.args[:1]  # in eval mode it returns its input
        node.target = _AS_VIEWS.get(node.target, node.target)
    views: Any = {aten.einsum.default: default_decompositions()[aten.einsum.default]}  # as those above
    try:
        return program.run_decompositions(views if edits else {})
    except RuntimeError as error:
        what, remedy = (
            ("in-place edits", "use operators that return a new tensor")
            if edits
            else ("contexts, as of autocast and torch.func,", "take them out of forward")
        )
        wanted = f"a network whose {what} torch can take out"
        raise ArgumentError("module", wanted, typed_line(error), remedy) from error


def _edits_in_place(program: ExportedProgram) -> bool:
    schemas = (getattr(node.target, "_schema", None) for node in _nodes(program))
    return any(schema is not None and schema.is_mutable for schema in schemas)


def _nodes(program: ExportedProgram) -> Iterator[fx.Node]:
    return chain.from_iterable(graph.nodes for graph in _graphs(program))


def _graphs(program: ExportedProgram) -> list[fx.Graph]:
    """The program's own, and those of what it calls under another context, as of autocast, or by choice."""
    modules = program.graph_module.modules()
    return [module.graph for module in modules if isinstance(module, fx.GraphModule)]


def _export(module: nn.Module, input_shape: tuple[int, ...]) -> ExportedProgram:
    if not isinstance(module, nn.Module):
        remedy = "pass the network itself"
        raise ArgumentError("module", "an nn.Module or an ExportedProgram", type(module).__name__, remedy)
    # Cached, parametrizations are evaluated once, before tracing: theirs may hold what cannot be traced.
    with (
        unchanged(module),
        evaluating(module),
        torch.no_grad(),
        parametrize.cached(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # tracing warns of what it then handles
        _require_no_inference(module)
        try:
            example = torch.zeros(BATCH, *input_shape, device="cpu").to(like_input(module))
            module(example)
        except (Exception, SystemExit) as error:  # a module raises what it likes
            remedy = "give the shape of one sample, without the batch axis"
            wanted = f"a shape that the network takes, tried as {(BATCH, *input_shape)}"
            raise ArgumentError("input_shape", wanted, typed_line(error), remedy) from error
        try:
            return torch.export.export(module, (example,))
        except (Exception, SystemExit) as error:  # so does torch.export
            remedy = "take out branches that depend on data"
            wanted = "a network that torch.export can trace"
            raise ArgumentError("module", wanted, typed_line(error), remedy) from error


def _require_no_inference(module: nn.Module) -> None:
    """Raise ArgumentError for a parameter made in inference mode: torch.export asks for its gradient."""
    for name, parameter in module.named_parameters():
        if parameter.is_inference() and parameter.requires_grad:
            wanted, received = "a parameter made outside of inference mode", "one made within"
            raise ArgumentError(name, wanted, received, "pass copy.deepcopy(module), or freeze it")


def like_input(network: nn.Module | ExportedProgram) -> Tensor:
    """A tensor in the format, and on the device, of the network's input."""
    if isinstance(network, ExportedProgram):
        signature = network.graph_signature.user_inputs
        return next(node.meta["val"] for node in network.graph.nodes if node.name in signature)
    stored = chain(network.parameters(), network.buffers())
    return next((tensor for tensor in stored if tensor.is_floating_point()), torch.zeros((), device="cpu"))
