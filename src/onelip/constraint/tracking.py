"""Follow the leading singular pair of an operator whose weight moves a little at a time.

The leading right vector v and one aside span a Krylov space of AᵀA, in which Rayleigh–Ritz finds the next v
(Golub & Van Loan, "Matrix Computations", 4th ed., §10.3.6, block Lanczos with full reorthogonalisation). It
grows until another power raises σ by next to nothing: one power where the weight moves slowly, more where it
moves fast. v alone would lag when another singular value overtakes the first, because it holds next to
nothing of that one's direction. The vector aside is a power iteration of its own, fed with some of another
direction each time: it is there already when what grows, in another group say, has grown.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.linear.maps import LinearMap
from onelip.linear.power import normalize

CURIOSITY = 0.3  # share of a random direction in the vector aside


class Leading(NamedTuple):
    """sigma = ⟨u, A v⟩, a lower bound of ‖A‖₂; the orthonormal rows of pair are v and the vector aside."""

    sigma: float
    u: Float[Tensor, "*out_shape"]
    pair: Float[Tensor, "rows *in_shape"]


def krylov_step(
    map: LinearMap,
    pair: Float[Tensor, "rows *in_shape"],
    feed: Float[Tensor, "*in_shape"],
    sigma: float,
    tolerance: float,
    powers: tuple[int, int],
) -> Leading:
    """The vector that A stretches most in a Krylov space of AᵀA from the orthonormal rows of `pair`.

    It grows by powers of AᵀA until one raises `sigma`, the estimate so far, by at most `tolerance` of it.
    feed: another direction to look into; its length, at most 1, is its share in the vector aside.
    powers: the least and the most of them.

    >>> from onelip.linear.maps import Dense
    >>> map, pair = Dense(torch.diag(torch.tensor([3.0, 2.0, 1.0]))), torch.eye(3)[1:]
    >>> krylov_step(map, pair, torch.ones(3) / 10, sigma=2.0, tolerance=0.1, powers=(1, 8)).sigma
    3.0
    """
    newest = map.apply(pair)
    S, AS = pair.flatten(1), newest.flatten(1)
    more = map.adjoint(newest).flatten(1)
    aside = more[-1].add_(feed.flatten(), alpha=sigma**2)
    q = None
    for power in range(powers[1]):
        fresh = orthonormal(torch.cat([S, more]))[len(S) :]
        if len(fresh) == 0:
            break
        newest = map.apply(fresh.reshape(-1, *map.in_shape))
        S, AS = torch.cat([S, fresh]), torch.cat([AS, newest.flatten(1)])
        before, (sigma, q) = sigma, _ritz(AS)
        if power + 1 >= powers[0] and sigma <= (1 + tolerance) * before:
            break
        more = map.adjoint(newest).flatten(1)
    rows = _orthonormal_pair(q or _ritz(AS)[1], (S @ aside).tolist())
    V = torch.tensor(rows, dtype=S.dtype, device=S.device) @ S
    Av = torch.tensor(rows[0], dtype=S.dtype, device=S.device) @ AS
    # Rounding leaves v a little off unit length; by its true length sigma stays a lower bound.
    lengths = torch.linalg.vector_norm(V, dim=1, keepdim=True)
    sigma = (torch.linalg.vector_norm(Av) / lengths[0]).item()
    u = Av / sigma if sigma > 0 else Av
    return Leading(sigma, u.reshape(map.out_shape), (V / lengths).reshape(-1, *map.in_shape))


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
    map: LinearMap,
    pair: Float[Tensor, "rows *in_shape"],
    random_direction: Float[Tensor, "*in_shape"],
    tolerance: float,
    *,
    powers: tuple[int, int] = (12, 12),
    max_steps: int = 50,
) -> Leading:
    """Steps of many powers until one raises sigma by at most `tolerance`.

    pair: any rows, of which the first is taken. The first step starts from `random_direction` as well, and
    each is fed with some of it.
    """
    look = orthonormal(torch.stack([pair[0], random_direction]).flatten(1)).reshape(-1, *map.in_shape)
    leading = krylov_step(map, look, CURIOSITY * random_direction, 0.0, 0.0, powers)
    for _ in range(max_steps):
        before = leading.sigma
        leading = krylov_step(map, leading.pair, CURIOSITY * random_direction, before, 0.0, powers)
        if leading.sigma <= (1 + tolerance) * before:
            break
    return leading


def direction_of_change(
    map: LinearMap, change: Float[Tensor, "*weight"], start: Float[Tensor, "*in_shape"]
) -> Float[Tensor, "*in_shape"]:
    """What a change of the weight acts on most, after one power iteration on A(change) from `start`."""
    A = map.with_weight(change)
    return normalize(A.adjoint(normalize(A.apply(start[None]))))[0]


def orthonormal(rows: Float[Tensor, "k n"]) -> Float[Tensor, "j n"]:
    """An orthonormal row for each row, up to n of them, of which the first i span what the first i did."""
    return torch.linalg.qr(rows.T).Q.T


def _ritz(AS: Float[Tensor, "k m"]) -> tuple[float, list[float]]:
    """The largest ‖Σ qᵢ ASᵢ‖ of all unit q, and that q."""
    squares, vectors = torch.linalg.eigh((AS @ AS.T).double())
    return math.sqrt(max(squares[-1].item(), 0.0)), vectors[:, -1].tolist()
