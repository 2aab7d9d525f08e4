"""Composition: from what each operator does to a bound on what all of them do.

Every node carries a bound on its Lipschitz constant with respect to the network's input. In series
bounds multiply, over branches that are summed they add, over concatenated branches their squares add.
Three things make them tighter, and the least bound wins:

- moved entries are followed: a split that is concatenated again has norm 1, not √2, and so it has where its
  pieces went through different activations (blocks.py);
- a linear layer takes in the padding before it and the batch norm behind it before its norm is taken;
- the linear operators between two nonlinear ones are assembled as one matrix where that is small, and
  ellipsoids are carried from matrix to matrix through activations (ellipsoid.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

from onelip.certificate import ellipsoid
from onelip.certificate.assemble import assemble
from onelip.certificate.batches import (
    batch_axis_of_move,
    kept_batch_axis,
    mixing,
    most_copies,
    numbers,
    owners,
)
from onelip.certificate.blocks import Piece, ancestry, joint_piece, nearest_common
from onelip.certificate.bounds import Bound, Segment, copies_of, least, sum_up
from onelip.certificate.effects import (
    Copies,
    Effect,
    Elementwise,
    Linear,
    Lipschitz,
    Scales,
    Sums,
    Unbounded,
    root_sum_of_squares,
    times,
    up,
)
from onelip.certificate.ellipsoid import Ellipsoid, Matrix
from onelip.certificate.fusion import Fused, with_padding, with_scaling
from onelip.certificate.graph import Graph, Node
from onelip.certificate.linear_rules import ASSEMBLED_ENTRIES, RTOL
from onelip.certificate.rules import effect_of
from onelip.linear.cholesky import growth
from onelip.linear.interval import NormInterval
from onelip.linear.maps import Dense
from onelip.linear.norm import operator_norm

Combine = Callable[[list[float]], float]
NARROW = 1024  # the smaller side of an assembled matrix: the order of what is factorised


@dataclass
class Composition:
    """Walks a graph once, in order; afterwards `bounds` holds one Bound a node."""

    graph: Graph
    bounds: dict[Node, Bound] = field(default_factory=dict)
    _segments: dict[Node, Segment] = field(default_factory=dict)
    _moves: dict[Node, tuple[Node, torch.Tensor]] = field(default_factory=dict)
    _blocks: dict[Node, tuple[Node, Piece]] = field(default_factory=dict)
    _closed: set[Node] = field(default_factory=set)
    _matrices: dict[Node, Matrix | None] = field(default_factory=dict)
    _ellipsoids: dict[Node, Ellipsoid] = field(default_factory=dict)

    def run(self) -> Bound:
        """The bound of the graph's output."""
        source = self.graph.input
        self._set(source, Bound(1.0, "input", Effect()), Segment(source))
        for node in self.graph.nodes[1:]:
            self._visit(node, effect_of(node))
        return self._close(self.graph.output)

    def _visit(self, node: Node, effect: Effect) -> None:
        unbounded = next((self.bounds[u] for u in node.inputs if self.bounds[u].constant == math.inf), None)
        if unbounded is not None:
            self._set(node, replace(unbounded, effect=effect, norm=None), Segment(node))
        elif isinstance(effect, Unbounded):
            why = f"{node.place}: {effect.why}"
            self._set(node, Bound(math.inf, "unbounded", effect, why=why), Segment(node))
        elif isinstance(effect, Copies):
            self._copies(node, effect)
        elif isinstance(effect, Sums):
            self._sums(node, effect)
        elif isinstance(effect, Scales):
            self._scales(node, effect)
        elif isinstance(effect, Linear):
            self._linear(node, effect, effect.norm, with_padding(node, effect))
        else:
            assert isinstance(effect, Elementwise | Lipschitz), effect
            self._nonlinear(node, effect)

    def _set(self, node: Node, bound: Bound, segment: Segment) -> None:
        self.bounds[node], self._segments[node] = bound, segment

    def _copies(self, node: Node, effect: Copies) -> None:
        """Entry numbers are moved in place of entries: who was copied, how often, and to whose sample."""
        sources = [self._moves.get(u) or (u, numbers(u.shape)) for u in node.inputs]
        origins = tuple(dict.fromkeys(origin for origin, _ in sources))
        copies, kept_by, entries = [], [], []
        for origin in origins:
            moved = effect.apply(*(at if of is origin else torch.zeros_like(at) for of, at in sources))
            copies.append(most_copies(moved))
            entries.append(moved)
            kept_by.append(owners(moved, origin.shape, self.bounds[origin].batch_axis, self.graph.batch))
            if len(origins) == 1:
                self._moves[node] = (origin, moved)
        gains = [up(math.sqrt(most)) if most > 1 else float(most) for most in copies]
        segment = self._joined(node, origins, root_sum_of_squares, gains, isometry=copies in ([0], [1]))
        constant = root_sum_of_squares(self._reached(origins, gains))
        norm = NormInterval(0.0, gains[0], "copies of an entry") if copies not in ([0], [1]) else None
        axis = batch_axis_of_move(node, kept_by, self.graph.batch)
        bound = Bound(constant, "copies", effect, axis, norm=norm)
        if len(origins) > 1:
            pieces = [Piece(at, gain) for at, gain in zip(entries, gains, strict=True)]
            bound = least(bound, self._as_blocks(node, origins, pieces), "blocks of one tensor")
        self._set(node, bound, segment)

    def _as_blocks(self, node: Node, origins: Sequence[Node], pieces: Sequence[Piece]) -> float:
        """The constant of a join of origins as pieces of the nearest node that they all depend on."""
        chains = [
            ancestry(origin, piece, self.bounds, self._moves, self._blocks)
            for origin, piece in zip(origins, pieces, strict=True)
        ]
        common = nearest_common(chains)
        if common is None:
            return math.inf
        whole = joint_piece([chain[common] for chain in chains], math.prod(common.shape))
        self._blocks[node] = common, whole
        return times(whole.constant, self._close(common).constant)

    def _sums(self, node: Node, effect: Sums) -> None:
        expansions = [copies_of(u, node) for u in node.inputs]
        gains = [
            1.0 if abs(weight) == copies == 1 else up(abs(weight) * math.sqrt(copies), 3)
            for weight, copies in zip(effect.weights, expansions, strict=True)
        ]
        axes = {kept_batch_axis(node, u, effect, self.bounds[u].batch_axis) for u in node.inputs}
        if len(axes) != 1:
            raise mixing(node)
        segment = self._joined(node, node.inputs, sum_up, gains, isometry=gains == [1.0])
        constant = sum_up(self._reached(node.inputs, gains))
        norm = NormInterval(0.0, gains[0], "largest factor") if len(gains) == 1 else None
        self._set(node, Bound(constant, "sum of branches", effect, axes.pop(), norm=norm), segment)

    def _reached(self, inputs: Sequence[Node], gains: Sequence[float]) -> list[float]:
        return [times(gain, self.bounds[u].constant) for gain, u in zip(gains, inputs, strict=True)]

    def _scales(self, node: Node, effect: Scales) -> None:
        """√ of the largest, over input entries, sum of squared factors of the entries it is copied to."""
        (u,) = node.inputs
        largest = effect.factor.abs().max().item() if effect.factor.numel() else 0.0
        norm = up(largest, 4)
        if node.shape != u.shape and largest > 0:
            squares = ((effect.factor / largest).expand(node.shape) ** 2).flatten()
            where = numbers(u.shape).expand(node.shape).flatten().long()
            sums = torch.zeros(math.prod(u.shape) + 1, dtype=torch.float64).index_add_(0, where, squares)
            norm = times(norm, up(math.sqrt(sums.max().item()), len(squares)))
        fused = with_scaling(self._segments[u].fused, node, effect)
        self._linear(node, effect, NormInterval(0.0, norm, "largest factor"), fused)

    def _linear(self, node: Node, effect: Effect, norm: NormInterval, fused: Fused | None) -> None:
        (u,) = node.inputs
        axis = kept_batch_axis(node, u, effect, self.bounds[u].batch_axis)
        bound = Bound(times(norm.upper, self.bounds[u].constant), "product", effect, axis, norm=norm)
        if fused is not None and fused.source is not u:
            whole = up(operator_norm(fused.map, rtol=RTOL, name=node.place).upper + fused.error)
            constant = times(whole, self.bounds[fused.source].constant)
            if constant < bound.constant:
                bound = replace(bound, constant=constant, method="merged with the layer before")
        segment = self._joined(node, (u,), sum_up, [norm.upper], isometry=False)
        self._set(node, bound, replace(segment, fused=fused))

    def _nonlinear(self, node: Node, effect: Elementwise | Lipschitz) -> None:
        (u,) = node.inputs
        constant = (
            effect.constant if isinstance(effect, Lipschitz) else self._entrywise_constant(node, effect)
        )
        axis = kept_batch_axis(node, u, effect, self.bounds[u].batch_axis)
        why = effect.why if isinstance(effect, Lipschitz) else ""
        norm = NormInterval(0.0, constant, "derived")
        bound = Bound(times(constant, self._close(u).constant), "product", effect, axis, why, norm)
        self._set(node, bound, Segment(node))
        if (
            isinstance(effect, Elementwise)
            and node.shape == u.shape
            and (matrix := self._matrix(u)) is not None
        ):
            after = ellipsoid.through_layer(self._ellipsoid(u, matrix), matrix, effect.slopes)
            if after is not None:
                self._ellipsoids[node] = after

    def _entrywise_constant(self, node: Node, effect: Elementwise) -> float:
        """The slope, and √copies where the operator broadcasts its input against a constant."""
        (u,) = node.inputs
        copies = copies_of(u, node)
        return effect.slopes.lipschitz if copies == 1 else up(effect.slopes.lipschitz * math.sqrt(copies), 3)

    def _joined(
        self, node: Node, inputs: Sequence[Node], combine: Combine, gains: Sequence[float], isometry: bool
    ) -> Segment:
        """The segment that continues those of `inputs`, where they share a base; otherwise a new one."""
        before = [self._segments[u] for u in inputs]
        bases = {segment.base for segment in before}
        if len(bases) > 1:
            for u in inputs:
                self._close(u)
            return Segment(node)
        gain = combine([times(gain, segment.gain) for gain, segment in zip(gains, before, strict=True)])
        size = max(math.prod(other.shape) for other in (node, *node.inputs)) + 4
        rounding = sum(segment.rounding for segment in before) + 2 * growth(size) * math.sqrt(size)
        steps = sum(segment.steps for segment in before) + (not isometry)
        return Segment(bases.pop(), gain, rounding, steps)

    def _close(self, node: Node) -> Bound:
        """The least bound of a node at which a segment ends: a base, the output, or a nonlinear input."""
        if node in self._closed:
            return self.bounds[node]
        self._closed.add(node)
        segment, bound = self._segments[node], self.bounds[node]
        base = self.bounds[segment.base].constant
        matrix = self._matrix(node) if bound.constant < math.inf else None
        if matrix is not None and segment.steps > 1:
            whole = up(operator_norm(Dense(matrix.W), rtol=RTOL, name=node.place).upper + matrix.error)
            bound = least(bound, times(whole, base), "assembled matrix")
        if matrix is not None and segment.base in self._ellipsoids:
            proved = ellipsoid.through_output(self._ellipsoids[segment.base], matrix)
            bound = least(bound, math.inf if proved is None else proved, "ellipsoid (ECLipsE-Fast)")
        self.bounds[node] = bound
        return bound

    def _ellipsoid(self, node: Node, matrix: Matrix) -> Ellipsoid:
        base = self._segments[node].base
        return self._ellipsoids.get(base) or ellipsoid.start(matrix.W.shape[1], self.bounds[base].constant)

    def _matrix(self, node: Node) -> Matrix | None:
        if node not in self._matrices:
            self._matrices[node] = self._assemble(node) if self._is_worth_assembling(node) else None
        return self._matrices[node]

    def _is_worth_assembling(self, node: Node) -> bool:
        segment = self._segments[node]
        shapes = [segment.base.shape, node.shape]
        if segment.base is node or any(self.bounds[end].batch_axis != 0 for end in (segment.base, node)):
            return False
        n, m = (math.prod(shape) // self.graph.batch for shape in shapes)
        fits_ellipsoid = n + m <= ellipsoid.WIDEST
        return n * m <= ASSEMBLED_ENTRIES and min(n, m) <= NARROW and (fits_ellipsoid or segment.steps > 1)

    def _assemble(self, node: Node) -> Matrix | None:
        segment = self._segments[node]
        W = assemble(
            self.graph, segment.base, node, {step: known.effect for step, known in self.bounds.items()}
        )
        if W is None:
            return None
        if node.inputs == (segment.base,) and segment.fused is not None:
            return Matrix(W)  # a weight applied to basis vectors: each entry is one number of the weight
        return Matrix(W, up(2 * math.sqrt(W.shape[1]) * segment.rounding * segment.gain, 4))
