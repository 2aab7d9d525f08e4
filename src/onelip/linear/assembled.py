"""Upper bounds from the operator itself: Cholesky of t·I − A*A in blocks, whatever the padding or stride.

Rows along the longest axis of the image are the blocks. A tap of that axis is one dense matrix between two
rows, wherever it stands, so that A*A is made of few products; a kernel couples only rows that are close, so
that the factor is banded and only a window of it is kept. Blocks change the order of operations and nothing
else: the bound of cholesky.py holds with n the order of the whole matrix.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onelip.linear.cholesky import OUTWARD, growth
from onelip.linear.maps import Convolution, padding_index


@dataclass(frozen=True)
class BlockGram:
    """A*A or AA*, whichever is smaller: block (i, j) sums the products of taps that terms[i, j] lists.

    taps: what each tap of the block axis does, [groups, block, other]. terms: for i ≥ j only.
    """

    taps: list[Float[Tensor, "groups r c"]]
    terms: dict[tuple[int, int], list[tuple[int, int]]]
    blocks: int
    error: float
    products: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    @property
    def order(self) -> int:
        return self.blocks * self.taps[0].shape[1]

    @property
    def bandwidth(self) -> int:
        return max(i - j for i, j in self.terms)

    def block(self, i: int, j: int) -> Float[Tensor, "groups r r"]:
        r = self.taps[0].shape[1]
        total = self.taps[0].new_zeros(self.taps[0].shape[0], r, r)
        for s, t in self.terms.get((i, j), ()):
            if (s, t) not in self.products:
                self.products[s, t] = self.taps[s] @ self.taps[t].mT
            total += self.products[s, t]
        return total

    def proves(self, t: float) -> bool:
        """Whether block Cholesky of t·I − this runs to its end, in every group."""
        L: dict[tuple[int, int], Tensor] = {}
        for i in range(self.blocks):
            first = max(0, i - self.bandwidth)
            for j in range(first, i):
                H = -self.block(i, j)
                for k in range(first, j):
                    H -= L[i, k] @ L[j, k].mT
                L[i, j] = torch.linalg.solve_triangular(L[j, j], H.mT, upper=False).mT
            H = -self.block(i, i)
            H.diagonal(dim1=-2, dim2=-1).add_(t)
            for k in range(first, i):
                H -= L[i, k] @ L[i, k].mT
            L[i, i], info = torch.linalg.cholesky_ex(H)
            if info.any():
                return False
            for key in [key for key in L if key[0] <= i - self.bandwidth]:
                del L[key]
        return True


def factorisation_operations(map: Convolution) -> float:
    """Of block Cholesky of the Gram matrix, roughly: order·block²·(1/3 + b + b²) with a band of b blocks."""
    axis = _block_axis(map)
    shape = min(map.in_shape, map.out_shape, key=math.prod)
    order, blocks = math.prod(shape), shape[1 + axis]
    reach = map.dilation[axis] * (map.kernel[axis] - 1)
    gathered = not map.transposed and map.padding_mode == "circular"
    b = blocks - 1 if gathered else min(reach, blocks - 1)
    return order * (order / blocks) ** 2 * (1 / 3 + b + b**2)


def _block_axis(map: Convolution) -> int:
    return max(range(len(map.space)), key=lambda axis: map.space[axis])


def block_gram(map: Convolution) -> BlockGram:
    """The Gram matrix of a convolution, with blocks along the longest axis of its image; on the CPU."""
    map = replace(map, weight=map.weight.cpu())
    axis = _block_axis(map)
    reads = [_reads(map, axis) for axis in range(len(map.space))]
    taps, outer = _tap_matrices(map, axis, reads), reads[axis]
    far, near = (map.out_shape[1:], map.space) if map.transposed else (map.space, map.out_shape[1:])
    by_output = taps[0].shape[1] * near[axis] <= taps[0].shape[2] * far[axis]
    meetings: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for tap, row in enumerate(outer.tolist()):
        for output, source in enumerate(row):
            if source >= 0:
                at, via = (output, source) if by_output else (source, output)
                meetings[via].append((at, tap))
    terms: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for met in meetings.values():
        for i, s in met:
            for j, t in met:
                if i >= j:
                    terms[i, j].append((s, t))
    taps = taps if by_output else [tap.mT for tap in taps]
    return BlockGram(taps, dict(terms), near[axis] if by_output else far[axis], _error(map, near))


def _reads(map: Convolution, axis: int) -> Int[Tensor, "taps outputs"]:
    """Which input each output reads through each tap, along one axis; −1 for a padding zero.

    A transposed convolution is taken as its adjoint, which reads its outputs.
    """
    n, m = map.space[axis], map.out_shape[1 + axis]
    if map.transposed:
        n, m = m, n
    before, after = map.padding[axis]
    steps = map.dilation[axis] * torch.arange(map.kernel[axis])
    position = steps[:, None] + map.stride[axis] * torch.arange(m)[None, :]
    if map.transposed or map.padding_mode == "zeros":
        position -= before
        return torch.where((position >= 0) & (position < n), position, -1)
    return padding_index(n, before, after, map.padding_mode)[position]


def _tap_matrices(map: Convolution, axis: int, reads: list[Tensor]) -> list[Float[Tensor, "groups r c"]]:
    """For each tap of one axis its matrix between a row of inputs and one of outputs, channels included."""
    W = map.weight.reshape(map.groups, -1, *map.weight.shape[1:]).movedim(3 + axis, -1)
    far = list(map.out_shape[1:] if map.transposed else map.space)
    for a, table in enumerate(reads):
        if a != axis:  # the first remaining kernel axis becomes a pair (outputs, inputs) at the end
            onehot = (table.unsqueeze(-1) == torch.arange(far[a])).to(W)
            W = torch.tensordot(W.movedim(3, -1), onehot, 1)
    pairs = range(4, W.ndim, 2)
    W = W.permute(3, 0, 1, *pairs, 2, *(p + 1 for p in pairs))
    rows = math.prod(W.shape[2 : 3 + len(pairs)])
    return list(W.reshape(len(W), map.groups, rows, -1))


def _error(map: Convolution, near: tuple[int, ...]) -> float:
    """Bound on ‖computed Gram − A*A‖₂: entries are sums of products of sums of weights, whose absolute values
    add up to at most |A||A|*, and ‖|A|‖_F ≤ Σₜ‖Wₜ‖_F·√pixels, as no output reads through a tap twice."""
    per_tap = map.weight.flatten(2).square().sum((0, 1)).sqrt().sum()
    frobenius_square = float(per_tap) ** 2 * math.prod(near) * (1 + growth(map.weight.numel() + 10))
    terms = math.prod(map.in_shape) + math.prod(map.out_shape) + (math.prod(map.kernel) + 1) ** 2
    return growth(terms) * frobenius_square * OUTWARD
