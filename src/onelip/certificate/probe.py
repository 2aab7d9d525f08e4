"""Lower bounds with a witness: two inputs whose images lie far apart, for anyone to evaluate again.

Gradient ascent on ‖f(x + rd) − f(x − rd)‖ / 2r, in finite differences so that the kinks of a ReLU network
count. For a centre x and a unit direction d, and u the unit vector along f(x + rd) − f(x − rd), the
gradients J₊ᵀu and J₋ᵀu at the two ends give both steps: their sum is the power iteration's next
direction, their difference the ascent direction of the centre. r falls from the size of x to a hundredth of
it: a short pair of a piecewise linear network sees no slope but its own, a long one the way to larger ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.certificate.graph import Graph, Node
from onelip.certificate.nodes import axes_of, order_of

_SCALES = (1.0, 0.1, 10.0, 0.001)  # of the starts: nothing is known about the domain
_DRAWS = 8  # random pairs from which each ascent takes the best
_FARTHEST, _CLOSEST = 1.0, 0.01  # half the distance of a pair, relative to its centre: of first and last step
_DISTURBANCES = (2.0**-40, 2.0**-46, 2.0**-50)  # above float64's rounding, below what kinks are apart
_COARSE = 2.0**-960  # far above the smallest numbers of float64, far below what a network computes with
_NARROWED = (1.0, 0.1)  # the pair that was found and a closer one: where f is smooth the closer is the better


@dataclass(frozen=True, eq=False)
class Witness:
    """Two inputs and ‖f(x) − f(y)‖ / ‖x − y‖, evaluated in float64, less an allowance for its rounding.

    The allowance is an estimate (see `ratio`): what is proved is the upper bound of a certificate.
    """

    x: Float[Tensor, "*input_shape"] = field(repr=False)
    y: Float[Tensor, "*input_shape"] = field(repr=False)
    ratio: float


@torch.enable_grad()
def probe(graph: Graph, starts: int, steps: int, seed: int = 0) -> Witness | None:
    """The best pair that `starts` seeded ascents of `steps` steps each find; None for no starts.

    >>> from torch import nn
    >>> from onelip.certificate.trace import trace
    >>> layer = nn.Linear(2, 2)
    >>> layer.weight.data = torch.diag(torch.tensor([3.0, 1.0]))
    >>> round(probe(trace(layer, (2,)), starts=1, steps=20).ratio, 6)
    3.0
    """
    found = [_ascend(graph, seed + i, _SCALES[i % len(_SCALES)], steps) for i in range(starts)]
    pairs = [_narrowed(x, y, share) for x, y in found for share in _NARROWED]
    rated = [Witness(x, y, ratio(graph, x, y)) for x, y in pairs]
    return max(rated, key=lambda witness: witness.ratio, default=None)


def ratio(graph: Graph, x: Tensor, y: Tensor) -> float:
    """‖f(x) − f(y)‖ / ‖x − y‖ in float64, less an allowance for its own rounding.

    The allowance is an estimate: sixteen times what two evaluations say that rounding moves, and the rounding
    of the final subtraction. One is in float32, scaled by the ratio of the units of rounding; it knows of the
    sums within an operator, but not of what float32 absorbs whole. So the other is in float64 with every
    intermediate number off by a random ± 2⁻⁴⁰, relative, scaled likewise (as in stochastic arithmetic:
    Vignes, "A stochastic arithmetic for reliable scientific computation", 1993), or by less, where that
    moves more for its size: a clamp or a tanh may swallow what is large. Of numbers below 2⁻⁹⁶⁰ it trusts no
    digit that 2⁻⁹⁶⁰ would not have: underflow rounds them by an absolute amount. The ratio is 0 where powers
    within a norm underflow, and where torch cannot evaluate the graph in another format.
    """
    distance = _length(x - y)
    if distance == 0 or any(_powers_vanish(graph, z) for z in (x, y)):
        return 0.0
    fx, fy = _single(graph, x), _single(graph, y)
    try:
        moved = sum(_moved_by_rounding(graph, z, fz) for z, fz in ((x, fx), (y, fy)))
    except RuntimeError:  # torch's: bits read as another format are of another shape
        return 0.0
    allowance = 16 * moved + 2.0**-51 * (_length(fx) + _length(fy))
    value = (_length(fx - fy) - allowance) / distance * (1 - (x.numel() + fx.numel()) * 2.0**-50)
    return max(value, 0.0) if math.isfinite(value) else 0.0


def _moved_by_rounding(graph: Graph, x: Tensor, fx: Tensor) -> float:
    """An estimate of how far from f(x) its float64 evaluation `fx` may lie."""
    generator = torch.Generator().manual_seed(0)

    def disturbed(size: float, value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        signs = 2 * torch.randint(2, value.shape, generator=generator).to(value) - 1
        # Away from zero, by amounts that do not cancel: a root of zero is no NaN then.
        coarse = size * _COARSE * (1 + torch.rand(value.shape, dtype=torch.float64, generator=generator))
        return value * (1 + size * signs) + torch.where(value < 0, -coarse, coarse)

    in_float32 = _length(_single(graph, x.float()).double() - fx)
    in_disorder = max(
        _length(_single(graph, x, partial(disturbed, size)) - fx) / size for size in _DISTURBANCES
    )
    return in_float32 * 2.0**-29 + in_disorder * 2.0**-53


def _length(x: Tensor) -> float:
    """The 2-norm, in which no square underflows."""
    largest = x.abs().max().item() if x.numel() else 0.0
    return largest * (x / largest).norm().item() if 0 < largest < math.inf else largest


def _powers_vanish(graph: Graph, x: Tensor) -> bool:
    """Whether a p-norm is computed from powers so small that float64 has few digits of them."""
    norms = [node for node in graph.nodes if node.operator in ("norm", "linalg_vector_norm")]
    if not norms:
        return False
    values: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        values.append(value)
        return value

    _single(graph, x, keep)
    known = dict(zip(graph.nodes, values, strict=True))
    return any(_powers_vanish_in(node, known[node.inputs[0]]) for node in norms)


def _powers_vanish_in(node: Node, value: Tensor) -> bool:
    p = order_of(node)
    if not isinstance(p, int | float) or p < 0:
        return True
    if not value.numel() or math.isinf(p):
        return False
    largest = value.abs().amax(axes_of(node))
    return bool(((largest > 0) & (largest**p < _COARSE)).any())


def _single(graph: Graph, x: Tensor, each: Callable[[Tensor], Tensor] = lambda value: value) -> Tensor:
    with torch.no_grad():
        return graph.run(x.expand(graph.batch, *x.shape).contiguous(), each).reshape(graph.batch, -1)[0]


def _ascend(graph: Graph, seed: int, scale: float, steps: int) -> tuple[Tensor, Tensor]:
    x, d = _promising_start(graph, seed, scale)
    best, pair = -1.0, (x, x + _CLOSEST * d)
    for step in range(steps):
        reach = _FARTHEST * (_CLOSEST / _FARTHEST) ** (step / max(steps - 1, 1))
        r = reach * max(x.norm().item(), 1e-6)
        ends = torch.stack([x + r * d, x - r * d]).requires_grad_()
        try:
            size = _images(graph, ends).norm()
        except RuntimeError:  # torch's: numbers put among integers have no derivative
            break
        if not size.isfinite():
            break
        if size.item() / (2 * r) > best:
            best, pair = size.item() / (2 * r), (ends[0].detach(), ends[1].detach())
        gradients = _gradients(size, ends)
        if gradients is None:
            break
        upper, lower = gradients
        d = _unit(upper - lower, otherwise=d)
        x = x + r * _unit(upper + lower, otherwise=torch.zeros_like(x))
    return pair


def _gradients(size: Tensor, ends: Tensor) -> Tensor | None:
    """Of the size in both ends; None where torch has none, or none that is finite."""
    try:
        (gradients,) = torch.autograd.grad(size, ends, allow_unused=True)
    except RuntimeError:  # torch's: some operators have no derivative
        return None
    return gradients if gradients is not None and gradients.isfinite().all() else None


def _narrowed(x: Tensor, y: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """The pair with the same middle, at that share of the distance."""
    middle, half = (x + y) / 2, share * (x - y) / 2
    return middle + half, middle - half


def _promising_start(graph: Graph, seed: int, scale: float) -> tuple[Tensor, Tensor]:
    """The centre and direction, among a few random ones, along which outputs change most."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn((_DRAWS, 2, *graph.input.shape[1:]), dtype=torch.float64, generator=generator)
    starts = [(scale * x, _unit(d)) for x, d in drawn]
    with torch.no_grad():
        changes = [_images(graph, torch.stack([x + scale * d, x - scale * d])).norm() for x, d in starts]
    return starts[int(torch.stack(changes).nan_to_num(-1.0).argmax())]


def _images(graph: Graph, ends: Tensor) -> Tensor:
    """f(first) − f(second)."""
    if graph.batch == 1:
        return (graph.run(ends[:1]) - graph.run(ends[1:])).flatten()
    repeated = torch.cat([ends, ends[:1].expand(graph.batch - 2, *ends.shape[1:])])
    images = graph.run(repeated).reshape(graph.batch, -1)
    return images[0] - images[1]


def _unit(x: Tensor, otherwise: Tensor | None = None) -> Tensor:
    norm = float(torch.linalg.vector_norm(x))
    if norm == 0 and otherwise is not None:
        return otherwise
    return x / max(norm, torch.finfo(x.dtype).tiny)
