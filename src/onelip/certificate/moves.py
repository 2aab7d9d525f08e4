"""Operators that move entries about: every output entry is a copy of an input entry, or a constant."""

from __future__ import annotations

import torch
from torch import Tensor

from onelip.certificate.effects import Copies, Effect, Unbounded
from onelip.certificate.graph import Node
from onelip.certificate.nodes import argument

MOVES = (
    "view", "reshape", "_unsafe_view", "flatten", "unflatten", "permute", "transpose", "t", "numpy_T",
    "movedim", "swapaxes", "squeeze", "unsqueeze", "slice", "select", "narrow", "split",
    "split_with_sizes", "chunk", "tensor_split", "unsafe_split", "unsafe_chunk", "unbind", "hsplit",
    "cat", "concat", "stack", "hstack", "vstack", "dstack", "expand", "expand_as", "broadcast_to",
    "repeat", "repeat_interleave", "tile", "flip", "fliplr", "flipud", "roll", "rot90", "diagonal",
    "unfold", "im2col", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle",
    "index", "index_select", "gather", "take_along_dim", "view_as", "reshape_as", "upsample_nearest1d",
    "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d",
    "_upsample_nearest_exact3d", "pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d",
    "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d", "_pad_circular",
    "select_scatter", "slice_scatter", "diagonal_scatter", "tril", "triu", "fill", "zero", "contiguous",
    "clone", "alias", "detach", "lift", "lift_fresh", "lift_fresh_copy", "positive", "atleast_2d",
    "atleast_1d", "atleast_3d", "ravel",
)  # fmt: skip


def copying(node: Node) -> Effect:
    """The rule of all moves: apply them to entry numbers and see which entry went where."""
    if node.operator == "view" and argument(node, "dtype") is not None:
        return Unbounded(why="bits read as another type jump")
    if not node.dtype.is_floating_point:
        return Unbounded(why="numbers put among integers jump")
    return Copies(apply=lambda *xs: _linear_part(node, xs))


def _linear_part(node: Node, xs: tuple[Tensor, ...]) -> Tensor:
    """The move with zeros for its constants: an entry that is not zero at x = 0 is a constant."""
    moved = node.evaluate(dict(zip(node.inputs, xs, strict=True)))
    offset = node.evaluate({u: torch.zeros_like(x) for u, x in zip(node.inputs, xs, strict=True)})
    return torch.where(offset == 0, moved, torch.zeros_like(moved))
