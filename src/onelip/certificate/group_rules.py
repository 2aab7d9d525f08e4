"""Rules for operators on groups of entries: normalisation, softmax, sorting, extrema, norms, max pooling."""

from __future__ import annotations

import math
from collections.abc import Callable

from onelip.certificate.effects import Effect, Lipschitz, Rule, Unbounded, times, up
from onelip.certificate.entrywise_rules import (
    COMPUTED,
    extremum_of_two,
    scaling,
    statistics_factor,
)
from onelip.certificate.graph import Node
from onelip.certificate.nodes import argument, axes_of, only_first, order_of, per_axis


def _normalization(axes: Callable[[Node], tuple[int, ...]]) -> Rule:
    """z ↦ γ·z/√(‖z‖²/n + ε) on each group of n entries, z centred (a projection) or not.

    The Jacobian of z/s with s = √(‖z‖²/n + ε) has the eigenvalue ε/s³ along z and 1/s across it, both
    at most 1/√ε, and 1/√ε is attained where z = 0.
    """

    def rule(node: Node) -> Effect:
        if node.item not in (None, 0):
            return Unbounded(why="mean and 1/σ of a normalisation: 1/σ has no useful bound")
        eps = argument(node, "eps")
        weight = argument(node, "weight")
        if not only_first(node):
            return COMPUTED
        if eps is None or eps <= 0:
            return Unbounded(why="a normalisation without a fixed positive ε")
        gamma = 1.0 if weight is None else weight.abs().max().item()
        why = "max|γ|/√ε: large, and attained where the entries of a group are all equal"
        return Lipschitz(axes=axes(node), constant=times(gamma, up(1 / math.sqrt(eps), 3)), why=why)

    return rule


def _trailing(node: Node) -> tuple[int, ...]:
    return tuple(range(-len(argument(node, "normalized_shape")), 0))


def _all_but_first(node: Node) -> tuple[int, ...]:
    return tuple(range(1, len(node.inputs[0].shape)))


def _instance_norm(node: Node) -> Effect:
    if argument(node, "use_input_stats"):
        return _normalization(lambda node: _all_but_first(node)[1:])(node)
    return scaling(statistics_factor(node)) if only_first(node) else COMPUTED


def _softmax(node: Node) -> Effect:
    """uᵀ(diag p − ppᵀ)u = Var_p(u) ≤ (max u − min u)²/4 ≤ ‖u‖²/2, attained at p = (½, ½)."""
    return Lipschitz(axes=axes_of(node), constant=0.5, why="variance of a unit vector under p: at most 1/2")


def _log_softmax(node: Node) -> Effect:
    """I − 1pᵀ is a projection along 1, as far from 0 as its complement 1pᵀ: its norm is √n·‖p‖ ≤ √n."""
    axes = axes_of(node)
    n = node.inputs[0].shape[axes[0]]
    return Lipschitz(axes=axes, constant=up(math.sqrt(n)), why="√n: ‖I − 1pᵀ‖ = √n‖p‖")


def _log_sum_exp(node: Node) -> Effect:
    return Lipschitz(axes=axes_of(node), constant=1.0, why="its gradient is a probability vector")


def _sorting(node: Node) -> Effect:
    if node.item == 1:
        return Unbounded(why="indices jump")
    if argument(node, "sorted") is False:
        return Unbounded(why="topk in no fixed order jumps")
    axes = (0,) if node.operator == "msort" else axes_of(node)
    return Lipschitz(axes=axes, constant=1.0, why="sorted vectors are no farther apart than unsorted ones")


def _extremum_along(node: Node) -> Effect:
    if node.item == 1:
        return Unbounded(why="indices jump")
    if argument(node, "other") is not None:
        return extremum_of_two(node)
    return Lipschitz(axes=axes_of(node), constant=1.0, why="an extremum of disjoint groups")


def _vector_norm(node: Node) -> Effect:
    """|‖x‖ₚ − ‖y‖ₚ| ≤ ‖x − y‖ₚ, at most ‖x − y‖₂ for p ≥ 2 and n^(1/p − 1/2)‖x − y‖₂ for 1 ≤ p ≤ 2."""
    p = order_of(node)
    if not isinstance(p, int | float) or p < 1:
        return Unbounded(why=f"a {p}-norm")
    axes = axes_of(node)
    n = math.prod(node.inputs[0].shape[axis] for axis in axes)
    return Lipschitz(axes=axes, constant=1.0 if p >= 2 else up(n ** (1 / p - 0.5), 8), why=f"the {p}-norm")


def _max_pool(dimensions: int) -> Rule:
    """|max − max| is at most the largest change in a window: ≤ √(the most windows that one entry is in)."""

    def rule(node: Node) -> Effect:
        if node.item == 1:
            return Unbounded(why="indices jump")
        kernel = per_axis(argument(node, "kernel_size"), dimensions)
        stride = per_axis(argument(node, "stride") or kernel, dimensions)
        padding = per_axis(argument(node, "padding"), dimensions)
        dilation = per_axis(argument(node, "dilation"), dimensions)
        space, out = node.inputs[0].shape[-dimensions:], node.shape[-dimensions:]
        overlaps = [
            _most_windows(n, [range(o * s - p, o * s - p + d * k, d) for o in range(m)])
            for n, m, k, s, p, d in zip(space, out, kernel, stride, padding, dilation, strict=True)
        ]
        return _pooling(dimensions, overlaps)

    return rule


def _adaptive_max_pool(dimensions: int) -> Rule:
    def rule(node: Node) -> Effect:
        if node.item == 1:
            return Unbounded(why="indices jump")
        space, out = node.inputs[0].shape[-dimensions:], node.shape[-dimensions:]
        overlaps = [
            _most_windows(n, [range(o * n // m, -(-(o + 1) * n // m)) for o in range(m)])
            for n, m in zip(space, out, strict=True)
        ]
        return _pooling(dimensions, overlaps)

    return rule


def _pooling(dimensions: int, overlaps: list[int]) -> Effect:
    most = math.prod(overlaps)
    why = "windows that do not overlap" if most == 1 else f"√{most}: an entry lies in up to {most} windows"
    return Lipschitz(
        axes=tuple(range(-dimensions, 0)), constant=1.0 if most == 1 else up(math.sqrt(most)), why=why
    )


def _most_windows(n: int, windows: list[range]) -> int:
    counts = [0] * n
    for window in windows:
        for i in window:
            if 0 <= i < n:
                counts[i] += 1
    return max(counts)


GROUP_RULES: dict[str, Rule] = {
    **dict.fromkeys(("layer_norm", "native_layer_norm", "rms_norm"), _normalization(_trailing)),
    **dict.fromkeys(("group_norm", "native_group_norm"), _normalization(_all_but_first)),
    "instance_norm": _instance_norm,
    **dict.fromkeys(("softmax", "_softmax"), _softmax),
    **dict.fromkeys(("log_softmax", "_log_softmax"), _log_softmax),
    "logsumexp": _log_sum_exp,
    **dict.fromkeys(("sort", "msort", "topk", "kthvalue"), _sorting),
    **dict.fromkeys(("amax", "amin", "max", "min"), _extremum_along),
    **dict.fromkeys(("linalg_vector_norm", "norm"), _vector_norm),
    **{f"max_pool{d}d": _max_pool(d) for d in (1, 2, 3)},
    **{f"max_pool{d}d_with_indices": _max_pool(d) for d in (2, 3)},
    **{f"adaptive_max_pool{d}d": _adaptive_max_pool(d) for d in (1, 2, 3)},
}
