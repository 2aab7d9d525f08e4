"""The Wasserstein-1 distance between two sample sets, always between a primal and a dual value.

Peyré & Cuturi, "Computational Optimal Transport", Foundations and Trends in ML 11(5–6), 2019, §2–§4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.errors import ArgumentError
from onelip.transport.discrete import Solution, assignment, entropic, simplex
from onelip.transport.duality import dual, primal
from onelip.transport.estimate import Estimate
from onelip.transport.line import line, random_directions, sliced
from onelip.transport.plan import Plan
from onelip.transport.samples import Array, as_pair, as_weights, common_scale, require_positive

Method = Literal["exact", "entropic", "sliced"]


@dataclass(frozen=True, eq=False)
class TransportResult:
    """A plan and a potential for two sample sets: value − gap ≤ W₁ ≤ value up to rounding.

    value: Σ π_ij ‖x_i − y_j‖ of `plan`, an upper bound of W₁; W₁ itself where the method is exact.
    plan: which x goes to which y; its marginals are the weights, `plan.dense()` is the matrix [n, m].
    potential_x, potential_y: values on x and on y of one function f that is 1-Lipschitz on all of them.
    gap: value − (Σ a f(x) − Σ b f(y)) ≥ 0 up to rounding: zero proves both sides optimal.
    """

    value: float
    plan: Plan
    potential_x: Float[Tensor, "n"]
    potential_y: Float[Tensor, "m"]
    gap: float


def wasserstein1(
    x: Array,
    y: Array,
    x_weights: Array | None = None,
    y_weights: Array | None = None,
    method: Method = "exact",
    *,
    epsilon: float = 0.05,
    max_iterations: int = 1000,
    projections: int = 64,
    seed: int = 0,
) -> TransportResult:
    """W₁ = min { Σ π_ij ‖x_i − y_j‖ : π ≥ 0, π1 = a, πᵀ1 = b } for the Euclidean distance, in float64.

    x, y: [n, …] and [m, …], tensors or arrays, flattened per sample; [n] is n points on a line.
    x_weights, y_weights: [n] and [m], non-negative, of sum one; equal weights by default.
    method, each with a plan that is feasible and a potential that is 1-Lipschitz:
      "exact"     on a line by quantiles, O(n log n); n against n equal weights by assignment; else by
                  network simplex. Holds n·m distances; a few thousand samples are comfortable.
      "entropic"  Sinkhorn, the plan rounded to its marginals, the potential c-transformed. epsilon is
                  the entropy's strength as a fraction of the mean distance. max_iterations bounds the
                  work; stopping early widens the gap and nothing else. Holds n·m distances.
      "sliced"    the best that `projections` random lines give, O(n log n) each: for very many samples.
                  Loose in high dimension, and says so by its gap. For the mean over lines, another
                  distance, see `sliced_wasserstein1`.
    Returns a TransportResult on the CPU. To extend its potential to new points z:
    `extend_potential(z, y, result.potential_y)`. Raises ArgumentError for sample sets that are empty, not
    finite or of different dimension, and for weights that are negative or do not sum to one.

    >>> result = wasserstein1(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    >>> result.value, result.gap, result.plan.dense()
    (3.0, 0.0, tensor([[0.5000, 0.5000]], dtype=torch.float64))
    """
    points_x, points_y, scale = _scaled(x, y)
    a = as_weights("x_weights", x_weights, len(points_x))
    b = as_weights("y_weights", y_weights, len(points_y))
    if method == "exact":
        solution = _exact(points_x, points_y, a, b)
    elif method == "entropic":
        require_positive("epsilon", epsilon)
        require_positive("max_iterations", max_iterations)
        solution = entropic(points_x, points_y, a, b, epsilon, max_iterations)
    elif method == "sliced":
        require_positive("projections", projections)
        solution = sliced(points_x, points_y, a, b, projections, seed)
    else:
        raise ArgumentError("method", f"one of {get_args(Method)}", repr(method), "choose one of these")
    value = primal(solution.plan, points_x, points_y)
    gap = value - dual(solution.potential_x, solution.potential_y, a, b)
    potentials = scale * solution.potential_x, scale * solution.potential_y
    return TransportResult(scale * value, solution.plan, *potentials, scale * gap)


def _scaled(x: Array, y: Array) -> tuple[Tensor, Tensor, float]:
    """Both sample sets divided by one power of two, and it: the bits of results do not depend on it."""
    points_x, points_y = as_pair(x, y)
    scale = common_scale(points_x, points_y)
    return points_x / scale, points_y / scale, float(scale)


def _exact(x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Solution:
    if x.shape[1] == 1:
        return line(x[:, 0], y[:, 0], a, b)
    if len(x) == len(y) and bool((a == a[0]).all() and (b == b[0]).all()):
        return assignment(x, y)
    return simplex(x, y, a, b)


def sliced_wasserstein1(
    x: Array,
    y: Array,
    x_weights: Array | None = None,
    y_weights: Array | None = None,
    *,
    projections: int = 64,
    seed: int = 0,
) -> Estimate:
    """SW₁ = E_θ W₁(⟨θ, x⟩, ⟨θ, y⟩), θ uniform on the unit sphere: another distance, never above W₁.

    Arguments as for `wasserstein1`. Returns the mean over `projections` directions and its standard error
    (Bonneel, Rabin, Peyré, Pfister 2015). A translation by t gives |t|·E|θ₁|, in the plane (2/π)|t|.

    >>> x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    >>> sw1 = sliced_wasserstein1(x, x + torch.tensor([3.0, 4.0]), projections=500)
    >>> abs(sw1.value - 5 * 2 / torch.pi) < 3 * sw1.standard_error < 0.3
    True
    """
    points_x, points_y, scale = _scaled(x, y)
    a = as_weights("x_weights", x_weights, len(points_x))
    b = as_weights("y_weights", y_weights, len(points_y))
    if projections < 2:
        raise ArgumentError("projections", "at least two", projections, "one direction has no standard error")
    values = []
    for theta in random_directions(projections, points_x.shape[1], seed):
        solution = line(points_x @ theta, points_y @ theta, a, b)
        values.append(dual(solution.potential_x, solution.potential_y, a, b))
    mean = Estimate.of_mean(torch.tensor(values, dtype=torch.float64))
    return Estimate(scale * mean.value, scale * mean.standard_error)
