"""The linear operators between two nodes as one matrix, column by column."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from onelip.certificate.effects import Effect, linear_part
from onelip.certificate.graph import Graph, Node


def assemble(graph: Graph, base: Node, node: Node, effects: Mapping[Node, Effect]) -> torch.Tensor | None:
    """The matrix [entries of node, entries of base] on one sample, in float64.

    Both must hold their samples along axis 0. None where the samples of a batch are treated differently:
    a constant with a batch axis then makes the matrix one of several.
    """
    path = nodes_between(graph, base, node)
    batch = graph.batch
    rows, size = math.prod(node.shape) // batch, math.prod(base.shape) // batch
    columns = torch.empty(size, rows, dtype=torch.float64)
    for i, entry in enumerate(torch.eye(size, dtype=torch.float64)):
        values = {base: torch.cat([entry.reshape(base.shape[0] // batch, *base.shape[1:])] * batch)}
        for step in path:
            values[step] = linear_part(effects[step], [values[u] for u in step.inputs], step.shape)
        samples = values[node].reshape(batch, -1)
        if not torch.equal(samples, samples[:1].expand_as(samples)):
            return None
        columns[i] = samples[0]
    return columns.T.contiguous()


def nodes_between(graph: Graph, base: Node, node: Node) -> list[Node]:
    """What has to be evaluated, in order, to get from base to node, base left out."""
    needed: set[Node] = set()
    todo = [node]
    while todo:
        step = todo.pop()
        if step is not base and step not in needed:
            needed.add(step)
            todo.extend(step.inputs)
    return [step for step in graph.nodes if step in needed]
