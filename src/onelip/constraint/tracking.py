"""Follow the leading singular pairs of operators whose weights move a little at a time.

The leading right vector v and one aside span a Krylov space of AᵀA, in which Rayleigh–Ritz finds the next v
(Golub & Van Loan, "Matrix Computations", 4th ed., §10.3.6, block Lanczos with full reorthogonalisation). It
grows until another power raises σ by next to nothing: one power where the weight moves slowly, more where it
moves fast. v alone would lag when another singular value overtakes the first, because it holds next to
nothing of that one's direction. The vector aside is a power iteration of its own, fed with some of another
direction each time: it is there already when what grows, in another group say, has grown.

Everything has a first axis of operators that are alike, one or more, and takes as many powers as the slowest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.constraint.stack import Stack
from onelip.linear.power import normalize

CURIOSITY = 0.3  # share of a random direction in the vector aside


class Leading(NamedTuple):
    """sigma = ⟨u, A v⟩, lower bounds of ‖A‖₂; the orthonormal rows of pair are v and the vector aside."""

    sigma: list[float]
    u: Float[Tensor, "maps out"]
    pair: Float[Tensor, "maps rows in"]


def krylov_step(
    stack: Stack,
    pair: Float[Tensor, "maps rows in"],
    feed: Float[Tensor, "maps in"],
    sigma: Sequence[float],
    tolerance: float,
    powers: tuple[int, int],
) -> Leading:
    """The vectors that each A stretches most in a Krylov space of AᵀA from the orthonormal rows of `pair`.

    It grows by powers of AᵀA until one raises each `sigma`, the estimates so far, by at most `tolerance` of
    it. feed: another direction to look into; its length, at most 1, is its share in the vector aside.
    powers: the least and the most of them.

    >>> from onelip.constraint.stack import stacked
    >>> from onelip.linear.maps import Dense
    >>> stack, pair = stacked([Dense(torch.diag(torch.tensor([3.0, 2.0, 1.0])))]), torch.eye(3)[None, 1:]
    >>> krylov_step(stack, pair, torch.ones(1, 3) / 10, sigma=[2.0], tolerance=0.1, powers=(1, 8)).sigma
    [3.0]
    """
    newest = stack.apply(pair)
    S, AS = pair, newest
    more = stack.adjoint(newest)
    squares = torch.tensor([[s * s] for s in sigma], dtype=feed.dtype, device=feed.device)
    aside = more[:, -1].add_(squares * feed)
    q = None
    for power in range(powers[1]):
        fresh = orthonormal(torch.cat([S, more], 1))[:, S.shape[1] :]
        if fresh.shape[1] == 0:
            break
        newest = stack.apply(fresh)
        S, AS = torch.cat([S, fresh], 1), torch.cat([AS, newest], 1)
        before, (sigma, q) = sigma, _ritz(AS)
        slow = all(now <= (1 + tolerance) * then for now, then in zip(sigma, before, strict=True))
        if power + 1 >= powers[0] and slow:
            break
        more = stack.adjoint(newest)
    asides = (S @ aside[:, :, None]).squeeze(2).tolist()
    pairs = [_orthonormal_pair(*both) for both in zip(q or _ritz(AS)[1], asides, strict=True)]
    rows = torch.tensor(pairs, dtype=S.dtype, device=S.device)
    V, Av = rows @ S, (rows[:, :1] @ AS).squeeze(1)
    # Rounding leaves v a little off unit length; by its true length sigma stays a lower bound.
    lengths = torch.linalg.vector_norm(V, dim=2, keepdim=True)
    stretch = torch.linalg.vector_norm(Av, dim=1, keepdim=True) / lengths[:, 0]
    u = Av / stretch.clamp_min(torch.finfo(Av.dtype).tiny)
    return Leading(stretch.flatten().tolist(), u, V / lengths)


def _orthonormal_pair(q: list[float], p: list[float]) -> list[list[float]]:
    """The unit vector q and p less its part in q, or what follows q where that is all of p."""
    for candidate in (p, *torch.eye(len(q)).tolist()[:2]):
        size = math.hypot(*candidate)
        along = sum(a * b for a, b in zip(q, candidate, strict=True))
        rest = [b - along * a for a, b in zip(q, candidate, strict=True)]
        length = math.hypot(*rest)
        if length > 0.1 * size:
            return [q, [x / length for x in rest]]
    return [q]


def converge(
    stack: Stack,
    pair: Float[Tensor, "maps rows in"],
    random_direction: Float[Tensor, "maps in"],
    tolerance: float,
    *,
    powers: tuple[int, int] = (12, 12),
    max_steps: int = 50,
) -> Leading:
    """Steps of many powers until one raises no sigma by more than `tolerance`.

    pair: any rows, of which the first is taken. The first step starts from `random_direction` as well, and
    each is fed with some of it.
    """
    look = orthonormal(torch.stack([pair[:, 0], random_direction], 1))
    feed = CURIOSITY * random_direction
    leading = krylov_step(stack, look, feed, [0.0] * len(look), 0.0, powers)
    for _ in range(max_steps):
        before = leading.sigma
        leading = krylov_step(stack, leading.pair, feed, before, 0.0, powers)
        if all(now <= (1 + tolerance) * then for now, then in zip(leading.sigma, before, strict=True)):
            break
    return leading


def direction_of_change(changes: Stack, start: Float[Tensor, "maps in"]) -> Float[Tensor, "maps in"]:
    """What a change of the weight acts on most, after one power iteration on A(change) from `start`."""
    there = normalize(changes.apply(start[:, None]), dim=-1)
    return normalize(changes.adjoint(there), dim=-1).squeeze(1)


def orthonormal(rows: Float[Tensor, "*maps k n"]) -> Float[Tensor, "*maps j n"]:
    """An orthonormal row for each row, up to n of them, of which the first i span what the first i did."""
    return torch.linalg.qr(rows.mT).Q.mT


def _ritz(AS: Float[Tensor, "maps k m"]) -> tuple[list[float], list[list[float]]]:
    """The largest ‖Σ qᵢ ASᵢ‖ of all unit q, and that q."""
    squares, vectors = torch.linalg.eigh((AS @ AS.mT).double())
    return squares[:, -1].clamp_min(0).sqrt().tolist(), vectors[:, :, -1].tolist()
