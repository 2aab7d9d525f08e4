"""Pieces of one tensor that go their own ways and are joined again.

Let piece j depend on the entries Sⱼ of z alone, with constant cⱼ. All pieces together move by at most
√Σⱼ cⱼ²‖Δ(z, Sⱼ)‖² ≤ √(max over entries i of Σ cⱼ² over the j with i ∈ Sⱼ) · ‖Δz‖: the largest cⱼ
where the Sⱼ are disjoint, not √Σ cⱼ².
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onelip.certificate.batches import most_copies, numbers
from onelip.certificate.bounds import Bound
from onelip.certificate.effects import times, up
from onelip.certificate.graph import Node

Moves = Mapping[Node, tuple[Node, Tensor]]


@dataclass(frozen=True, eq=False)
class Piece:
    """Something with this constant as a function of the numbered entries of an earlier node alone."""

    entries: Tensor
    constant: float


Blocks = Mapping[Node, tuple[Node, Piece]]


def ancestry(
    node: Node, piece: Piece, bounds: Mapping[Node, Bound], moves: Moves, blocks: Blocks
) -> dict[Node, Piece]:
    """A piece of `node` as a piece of each node before it, back to where branches meet."""
    chain = {node: piece}
    while True:
        constant = chain[node].constant
        if node in moves:
            node, moved = moves[node]
            piece = Piece(moved, times(up(math.sqrt(most_copies(moved))), constant))
        elif node in blocks:
            node, whole = blocks[node]
            piece = Piece(whole.entries, times(whole.constant, constant))
        elif len(node.inputs) == 1 and (norm := bounds[node].norm) is not None:
            (node,) = node.inputs
            piece = Piece(numbers(node.shape), times(norm.upper, constant))
        else:
            return chain
        chain[node] = piece


def nearest_common(chains: Sequence[Mapping[Node, Piece]]) -> Node | None:
    """The last node of which all chains hold a piece."""
    return next((node for node in chains[0] if all(node in chain for chain in chains)), None)


def joint_piece(pieces: Sequence[Piece], size: int) -> Piece:
    """All pieces of a node with `size` entries as one.

    Its constant is √ of the largest, over entries, sum of squared constants of the pieces that depend on it.

    >>> first, second = Piece(torch.tensor([1.0, 2.0]), 3.0), Piece(torch.tensor([3.0]), 4.0)
    >>> round(joint_piece([first, second], size=3).constant, 6)
    4.0
    """
    entries = torch.cat([piece.entries.flatten() for piece in pieces]).unique()
    largest = max((piece.constant for piece in pieces if piece.entries.any()), default=0.0)
    if largest in (0.0, math.inf):
        return Piece(entries, largest)
    squares = torch.zeros(size + 1, dtype=torch.float64)
    users = torch.zeros(size + 1, dtype=torch.int64)
    for piece in pieces:
        if piece.constant > 0:
            used = piece.entries.flatten().long().unique()
            squares[used] += (piece.constant / largest) ** 2
            users[used] += 1
    if users[1:].max() == 1:  # number 0 stands for constants
        return Piece(entries, largest)
    return Piece(entries, times(largest, up(math.sqrt(squares[1:].max().item()), 3 * len(pieces))))
