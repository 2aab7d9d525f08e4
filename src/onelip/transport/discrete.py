"""Transport between finite sample sets of any dimension: network simplex, assignment, entropic.

G. Peyré, M. Cuturi, "Computational Optimal Transport", Foundations and Trends in ML 11(5–6), 2019:
§3.5 network simplex, §3.3 complementary slackness, §4.2 Sinkhorn.
J. Altschuler, J. Weed, P. Rigollet, "Near-linear time approximation algorithms for optimal transport
via Sinkhorn iteration", NeurIPS 2017: algorithm 2, rounding to a feasible plan.

Solvers are imported where they solve: POT takes half as long to import as torch.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from onelip.errors import ArgumentError
from onelip.transport.duality import extend_potential
from onelip.transport.plan import Plan
from onelip.transport.samples import distances

_SIMPLEX_ITERATIONS = 10_000_000


class Solution(NamedTuple):
    """A feasible plan and the values of one 1-Lipschitz potential on both sample sets."""

    plan: Plan
    potential_x: Float[Tensor, "n"]
    potential_y: Float[Tensor, "m"]


def simplex(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], a: Float[Tensor, "n"], b: Float[Tensor, "m"]
) -> Solution:
    """The exact plan for any weights, by POT's network simplex.

    Raises ArgumentError where the simplex ends before the optimum.
    """
    cost = distances(x, y)
    scale = float(cost.max()) or 1.0  # the simplex's tolerance is absolute
    plan, v = _emd(a, b, cost / scale)
    on_y = b > 0  # where a sample has no weight, its multiplier says nothing of the optimum
    return Solution(Plan.of_dense(plan), *_potentials(x, y, y[on_y], -scale * v[on_y]))


def _emd(a: Tensor, b: Tensor, cost: Tensor) -> tuple[Tensor, Tensor]:
    """The plan, and the multipliers of its columns."""
    import ot

    arrays = (a.numpy(), b.numpy(), cost.numpy())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # POT warns, and returns the plan at which it stopped
            plan, log = ot.emd(*arrays, numItermax=_SIMPLEX_ITERATIONS, log=True)
    except UserWarning as warning:
        raise ArgumentError(
            "method",
            "one that ends on these samples",
            f"'exact', whose network simplex stopped before the optimum of {len(a)} against {len(b)}",
            "use method 'entropic' or 'sliced', or fewer samples",
        ) from warning
    return torch.from_numpy(plan), torch.from_numpy(log["v"])


def assignment(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Solution:
    """The exact plan for n against n samples of weight 1/n: a permutation, by SciPy's assignment solver."""
    from scipy.optimize import linear_sum_assignment

    cost = distances(x, y)
    rows, columns = (torch.from_numpy(index) for index in linear_sum_assignment(cost.numpy()))
    mass = torch.full((len(x),), 1 / len(x), dtype=torch.float64)
    plan = Plan(rows, columns, mass, (len(x), len(y)))
    return Solution(plan, *_potentials(x, y, y, _assignment_potential(cost, columns)))


def _assignment_potential(cost: Float[Tensor, "n n"], match: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """g with min_j (g_j + c_ij) attained at j = match(i) for every i: complementary slackness.

    Bellman–Ford on the residual graph, one round of all edges a sweep. It has no negative cycle where
    the assignment is optimal, so that n sweeps suffice; the tolerance stops cycles of rounding errors.
    """
    g = cost.new_zeros(len(cost))
    matched = cost.gather(1, match[:, None]).squeeze(1)
    tolerance = torch.finfo(cost.dtype).eps * float(cost.max())
    for _ in range(len(cost)):
        slack = torch.zeros_like(g).index_copy(0, match, (g + cost).amin(1) - matched) - g
        g = g + slack
        if slack.abs().max() <= tolerance:
            break
    return g


def entropic(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    a: Float[Tensor, "n"],
    b: Float[Tensor, "m"],
    epsilon: float,
    max_iterations: int,
) -> Solution:
    """Sinkhorn's plan, made feasible, and its potential, made 1-Lipschitz.

    epsilon: strength of the entropy, as a fraction of the mean distance. Raises ArgumentError where it
    is so small that exp(−c/ε) leaves float64.
    """
    on_x, on_y = a.nonzero().squeeze(1), b.nonzero().squeeze(1)  # Sinkhorn divides by the weights
    a, b, cost = a[on_x], b[on_y], distances(x[on_x], y[on_y])
    reg = max(epsilon * float(a @ cost @ b), torch.finfo(cost.dtype).tiny)
    u, v = _sinkhorn(cost, a, b, reg, max_iterations)
    part = Plan.of_dense(round_to_feasible(u[:, None] * torch.exp(-cost / reg) * v, a, b))
    plan = Plan(on_x[part.rows], on_y[part.columns], part.mass, (len(x), len(y)))
    return Solution(plan, *_potentials(x, y, y[on_y], -reg * v.log()))


def _sinkhorn(cost: Tensor, a: Tensor, b: Tensor, reg: float, max_iterations: int) -> tuple[Tensor, Tensor]:
    import ot

    arrays = (a.numpy(), b.numpy(), cost.numpy())
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error")  # POT warns, and returns an iterate from before the damage
            _, log = ot.sinkhorn(*arrays, reg, numItermax=max_iterations, log=True, warn=False)
    except UserWarning as warning:
        raise ArgumentError(
            "epsilon",
            "large enough for exp(−distance/ε) in float64",
            f"distances up to {cost.max() / reg:.3g} ε",
            "raise it, or use method 'exact'",
        ) from warning
    return torch.from_numpy(log["u"]), torch.from_numpy(log["v"])


def round_to_feasible(
    plan: Float[Tensor, "n m"], a: Float[Tensor, "n"], b: Float[Tensor, "m"]
) -> Float[Tensor, "n m"]:
    """The plan scaled down to rows ≤ a and columns ≤ b, the missing mass added as a product.

    Moves at most 2·(‖π1 − a‖₁ + ‖πᵀ1 − b‖₁) of the mass (Altschuler et al. 2017, lemma 7).

    >>> half = torch.tensor([0.5, 0.5])
    >>> round_to_feasible(torch.tensor([[0.6, 0.0], [0.0, 0.2]]), half, half)
    tensor([[0.5000, 0.0000],
            [0.0000, 0.5000]])
    """
    tiny = torch.finfo(plan.dtype).tiny
    plan = plan * (a / plan.sum(1).clamp_min(tiny)).clamp_max(1)[:, None]
    plan = plan * (b / plan.sum(0).clamp_min(tiny)).clamp_max(1)
    # Rounding leaves some sums a little above their weights: what is missing there is not negative.
    missing_rows, missing_columns = (a - plan.sum(1)).clamp_min(0), (b - plan.sum(0)).clamp_min(0)
    return plan + torch.outer(missing_rows, missing_columns) / missing_rows.sum().clamp_min(tiny)


def _potentials(x: Tensor, y: Tensor, anchors: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    return extend_potential(x, anchors, values), extend_potential(y, anchors, values)
