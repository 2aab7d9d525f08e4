"""Rules for operators that are linear in their one input: weights, pooling, interpolation, reductions."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from onelip.certificate.batches import mixing
from onelip.certificate.effects import Effect, Linear, Rule, Unbounded, no_rule, up
from onelip.certificate.graph import Node
from onelip.certificate.nodes import argument, axes_of, is_data, only_first, per_axis
from onelip.errors import NonFiniteError, UnknownOperatorError
from onelip.linear.interval import NormInterval
from onelip.linear.maps import Convolution, Dense, LinearMap, padding_pairs
from onelip.linear.norm import operator_norm

ASSEMBLED_ENTRIES = 2**22  # of a dense matrix that is worth building: 32 MB
RTOL = 1e-5  # of each norm: a deep product keeps its digits
_DYNAMIC = Unbounded(why="a product of two tensors that depend on the input")
_WHOLE = Unbounded(why="a sum of whole numbers jumps")


def _weighted(rule: Rule) -> Rule:
    """Guards a rule for x and a weight against weights that depend on the input, on x itself too."""
    return lambda node: rule(node) if only_first(node) else _DYNAMIC


def _linear(node: Node) -> Effect:
    weight = argument(node, "weight")
    if weight.ndim != 2:
        raise no_rule(f"{node.place} with a weight of {weight.ndim} axes", "give the weight two")
    return _dense_on_last_axis(node, weight)


def _addmm(node: Node) -> Effect:
    """bias + x W, the decomposed form of a linear layer."""
    bias, x, W = node.args[:3]
    if is_data(x) and is_data(W):
        return _DYNAMIC
    if is_data(bias) or is_data(W) or (argument(node, "beta"), argument(node, "alpha")) != (1, 1):
        raise no_rule(f"{node.place} other than bias + x W", "write it with F.linear")
    return _dense_on_last_axis(node, W.T)


def _dense_on_last_axis(node: Node, weight: Tensor) -> Effect:
    map = Dense(weight)
    return Linear(axes=(-1,), apply=lambda x: x @ weight.T, norm=_norm(map, node), map=map)


def _norm(map: LinearMap, node: Node) -> NormInterval:
    return operator_norm(map, rtol=RTOL, name=node.place)


def _matmul(node: Node) -> Effect:
    """x C or C x with a constant C: one matrix, or one a head. A batch of samples never contracts."""
    a, b = node.args[:2]
    if is_data(a) and is_data(b):
        return _DYNAMIC
    x, C = (a, b) if is_data(a) else (b, a)
    if is_data(a) and C.ndim == 2:
        return _dense_on_last_axis(node, C.T)
    if is_data(a) and C.ndim == 1:
        return Linear(axes=(-1,), apply=lambda x: x @ C, norm=_norm(Dense(C.unsqueeze(0)), node))
    if min(len(x.shape), C.ndim) < 2 or len(node.shape) != len(x.shape):
        raise no_rule(f"{node.place} with shapes {x.shape} and {tuple(C.shape)}")
    axis, apply = (-1, lambda x: x @ C) if is_data(a) else (-2, lambda x: C @ x)
    if _is_empty(node):
        return _zero(node, (axis,))
    matrices = C.reshape(-1, *C.shape[-2:])
    norms = [_norm(Dense(matrix), node) for matrix in matrices]
    copies = math.prod(node.shape[:-2]) / math.prod(x.shape[:-2])
    norm = NormInterval(0.0, up(max(n.upper for n in norms) * math.sqrt(copies), 3), norms[0].method)
    return Linear(axes=(axis,), apply=apply, norm=norm)


def _convolution(node: Node) -> Effect:
    weight = argument(node, "weight")
    dimensions = weight.ndim - 2
    if len(node.inputs[0].shape) != dimensions + 2:
        raise UnknownOperatorError(f"{node.place} takes the batch for channels: give it a batch axis")
    transposed = "transpose" in node.operator or bool(argument(node, "transposed"))
    space = node.inputs[0].shape[2:]
    stride, dilation = (per_axis(argument(node, name), dimensions) for name in ("stride", "dilation"))
    padding = argument(node, "padding")
    padding = padding if isinstance(padding, str) else per_axis(padding, dimensions)
    map = Convolution(
        weight,
        space=space,
        stride=stride,
        padding=padding_pairs(padding, weight.shape[2:], dilation),
        padding_mode="zeros",
        dilation=dilation,
        groups=argument(node, "groups"),
        transposed=transposed,
        output_padding=per_axis(argument(node, "output_padding") or 0, dimensions) if transposed else (),
    )
    assert map.out_shape == node.shape[1:], (map.out_shape, node.shape)
    return Linear(
        axes=_all_but(0, dimensions + 2),
        apply=map.apply,
        norm=operator_norm(map, rtol=RTOL, name=node.place),
        map=map,
    )


def _all_but(axis: int, rank: int) -> tuple[int, ...]:
    return tuple(other for other in range(rank) if other != axis)


def _is_empty(node: Node) -> bool:
    """Whether the node's input or its output has no entries."""
    return 0 in (*node.inputs[0].shape, *node.shape)


def _zero(node: Node, axes: tuple[int, ...]) -> Effect:
    """Nothing reaches the output, which may be NaN by itself: the mean of no entries is."""
    value = node.evaluate({node.inputs[0]: torch.zeros(node.inputs[0].shape, dtype=torch.float64)})
    if not value.isfinite().all():
        raise NonFiniteError(f"{node.place} makes NaN of an empty tensor")
    return Linear(axes=axes, apply=lambda x: x.new_zeros(node.shape), norm=NormInterval(0.0, 0.0, "empty"))


def _nonnegative(axes: Callable[[Node], tuple[int, ...]]) -> Rule:
    """A map P ≥ 0, or P ≤ 0, on one input, by Schur's test: ‖P‖₂² ≤ max row sum · max column sum of |P|.

    Both sums are read off P1 and Pᵀ1. Equality holds wherever windows do not overlap. From below, ‖P1‖/‖1‖.
    """

    def rule(node: Node) -> Effect:
        if not node.dtype.is_floating_point:
            return _WHOLE
        if _is_empty(node):
            return _zero(node, axes(node))
        x = torch.ones(node.inputs[0].shape, dtype=torch.float64, requires_grad=True)
        with torch.enable_grad():
            rows = node.evaluate({node.inputs[0]: x})
            (columns,) = torch.autograd.grad(rows.sum(), x)
        terms = x.numel() + rows.numel()
        upper = up(math.sqrt(rows.abs().max().item() * columns.abs().max().item()), terms + 4)
        lower = (rows.norm() / x.norm()).item() * (1 - terms * 2.0**-50)
        apply = lambda x: node.evaluate({node.inputs[0]: x})  # noqa: E731
        norm = NormInterval(min(max(lower, 0.0), upper), upper, "row and column sums")
        return Linear(axes=axes(node), apply=apply, norm=norm)

    return rule


def _last(dimensions: int) -> Callable[[Node], tuple[int, ...]]:
    return lambda node: tuple(range(-dimensions, 0))


def _assembled(axes: Callable[[Node], tuple[int, ...]]) -> Rule:
    """A linear map without a closed form: its matrix on one sample, where that is small."""

    def rule(node: Node) -> Effect:
        u = node.inputs[0]
        batch, size = u.shape[0], math.prod(u.shape[1:])
        if len(node.uses) > 1:
            return _DYNAMIC
        if not node.dtype.is_floating_point:
            return _WHOLE
        if _is_empty(node):
            return _zero(node, axes(node))
        if size * math.prod(node.shape[1:]) > ASSEMBLED_ENTRIES:
            remedy = "certify it for smaller inputs, or the parts around it"
            raise no_rule(f"{node.place} on as many as {size} entries", remedy)
        basis = torch.eye(size, dtype=torch.float64).reshape(size, *u.shape[1:])
        columns = [node.evaluate({u: e.expand(batch, *e.shape)})[0].flatten() for e in basis]
        matrix = torch.stack(columns, dim=1)
        norm = _norm(Dense(matrix), node)
        upper = up(norm.upper + size * 2.0**-50 * matrix.norm().item())
        apply = lambda x: node.evaluate({u: x})  # noqa: E731
        return Linear(axes=axes(node), apply=apply, norm=NormInterval(0.0, upper, "assembled matrix"))

    return rule


def _einsum(node: Node) -> Effect:
    """One data operand, at most one weight, and a batch letter that is kept first: an assembled matrix.

    Each of its entries is then one number of the weight, or zero: nothing is rounded.
    """
    if len(node.uses) > 1:
        return _DYNAMIC
    equation, operands = node.args[:2]
    sides = equation.replace(" ", "").split("->")
    inputs = sides[0].split(",")
    letters = inputs[next(i for i, operand in enumerate(operands) if is_data(operand))]
    if len(sides) != 2 or not sides[1].startswith(letters[0]) or "." in equation:
        remedy = "write out '->' and all axes, with that of the batch first on both sides"
        raise no_rule(f"{node.place} with equation {equation!r}", remedy)
    if sum(letters[0] in side for side in inputs) > 1 or letters.count(letters[0]) > 1:
        raise mixing(node)
    sizes = dict(zip(letters, node.inputs[0].shape, strict=True))
    weights = [pair for pair in zip(inputs, operands, strict=True) if not is_data(pair[1])]
    summed = [
        letter
        for side, weight in weights
        for letter, size in zip(side, weight.shape, strict=True)
        if letter not in sides[1] and sizes.get(letter) != size
    ]
    if len(weights) > 1 or summed:
        raise UnknownOperatorError(
            f"{node.place} with equation {equation!r} computes with weights alone: do that before it"
        )
    return _assembled(lambda node: _all_but(0, len(node.inputs[0].shape)))(node)


_INTERPOLATIONS = {"upsample_linear1d": 1, "upsample_bilinear2d": 2, "upsample_trilinear3d": 3}
_CONVOLUTIONS = (
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution",
)  # fmt: skip

LINEAR_RULES: dict[str, Rule] = {
    "linear": _weighted(_linear),
    "addmm": _addmm,
    **dict.fromkeys(("matmul", "mm", "bmm", "mv"), _matmul),
    **dict.fromkeys(_CONVOLUTIONS, _weighted(_convolution)),
    **{f"avg_pool{d}d": _nonnegative(_last(d)) for d in (1, 2, 3)},
    **{f"adaptive_avg_pool{d}d": _nonnegative(_last(d)) for d in (1, 2, 3)},
    **{f"_adaptive_avg_pool{d}d": _nonnegative(_last(d)) for d in (2, 3)},
    **{name: _nonnegative(_last(d)) for name, d in _INTERPOLATIONS.items()},
    **dict.fromkeys(("mean", "sum", "cumsum"), _nonnegative(axes_of)),
    "col2im": _nonnegative(_last(2)),
    "upsample_bicubic2d": _assembled(_last(2)),
    "einsum": _einsum,
}
