"""Kantorovich duality for the Euclidean cost, on samples: primal, dual, gap, and what a potential violates.

    W₁(P, Q) = min over plans π of Σ π_ij ‖x_i − y_j‖
             = max over 1-Lipschitz f of Σ a_i f(x_i) − Σ b_j f(y_j)

Any plan bounds W₁ from above and any 1-Lipschitz f from below.

C. Villani, "Optimal Transport: Old and New", Springer 2009, theorem 5.10 and case 5.16
(Kantorovich–Rubinstein). E. J. McShane, "Extension of range of functions", Bull. AMS 40, 1934.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.transport.plan import Plan
from onelip.transport.samples import (
    Array,
    as_rows,
    as_values,
    common_scale,
    distances,
    power_of_two,
    require_dimension,
)

# Distances held at a time, 128 MiB in float64.
_BLOCK = 2**24


def primal(plan: Plan, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """Σ π_ij ‖x_i − y_j‖ of a plan: the cost of moving x onto y in this way, however short or long the ways.

    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [3.0]])
    >>> primal(Plan.of_dense(torch.eye(2) / 2), x, y)
    1.5
    """
    ways = x[plan.rows] - y[plan.columns]
    scales = power_of_two(ways.abs().amax(1))  # an upper bound must not lose a way whose square underflows
    return float(plan.mass @ (scales * torch.linalg.vector_norm(ways / scales[:, None], dim=1)))


def dual(
    potential_x: Float[Tensor, "n"],
    potential_y: Float[Tensor, "m"],
    x_weights: Float[Tensor, "n"],
    y_weights: Float[Tensor, "m"],
) -> float:
    """Σ a_i f(x_i) − Σ b_j f(y_j): a lower bound of W₁ wherever f is 1-Lipschitz.

    >>> half = torch.tensor([0.5, 0.5])
    >>> dual(torch.tensor([0.0, -1.0]), torch.tensor([-1.0, -2.0]), half, half)
    1.0
    """
    return float(x_weights @ potential_x - y_weights @ potential_y)


def duality_gap(
    plan: Plan,
    potential_x: Float[Tensor, "n"],
    potential_y: Float[Tensor, "m"],
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
) -> float:
    """primal − dual, the weights being the plan's: zero proves plan and potential optimal.

    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [3.0]])
    >>> duality_gap(Plan.of_dense(torch.eye(2) / 2), -x[:, 0], -y[:, 0], x, y)
    0.0
    """
    return primal(plan, x, y) - dual(potential_x, potential_y, *plan.marginals())


def lipschitz_residual(values: Array, points: Array) -> float:
    """max over i, j of f(x_i) − f(x_j) − ‖x_i − x_j‖: zero where f is 1-Lipschitz on these points.

    How far beyond its bound a candidate potential goes, in the units of the points; never negative,
    since i = j counts. Costs n² distances, held a block at a time. points: [n, …], as `wasserstein1` takes
    them. values: [n] or [n, 1]. Computed as `extend_potential` is. Raises ArgumentError for another shape.

    >>> line = torch.tensor([[0.0], [1.0], [3.0]])
    >>> lipschitz_residual(line[:, 0], line), lipschitz_residual(2 * line[:, 0], line)
    (0.0, 3.0)
    """
    points = as_rows("points", points)
    points, values = _alike(points, as_values("values", values, len(points)))
    scale = common_scale(points)
    points = points / scale
    rows = max(1, _BLOCK // len(points))
    return max(
        float(torch.addcmul(f[:, None] - values, scale, distances(z, points), value=-1).max())
        for f, z in zip(values.split(rows), points.split(rows), strict=True)
    )


def extend_potential(points: Array, anchors: Array, values: Array) -> Float[Tensor, "n"]:
    """The c-transform f(z) = min_j values_j + ‖z − y_j‖, at any points z; differentiable in z.

    A minimum of cones of slope one, so 1-Lipschitz by construction; the largest 1-Lipschitz function
    with f(y_j) ≤ values_j, and equal to them where they are 1-Lipschitz on the anchors (McShane 1934).
    points, anchors: [n, …] and [m, …], as `wasserstein1` takes them. values: [m] or [m, 1]. Computed on the
    device of the points, in the widest dtype of the three. Raises ArgumentError for other shapes.

    >>> anchors = torch.tensor([[0.0], [1.0]])
    >>> extend_potential(torch.tensor([[-2.0], [0.5], [3.0]]), anchors, values=anchors[:, 0])
    tensor([2.0000, 0.5000, 3.0000])
    """
    points, anchors = as_rows("points", points), as_rows("anchors", anchors)
    require_dimension("points", points, "anchors", anchors)
    values = as_values("values", values, len(anchors))
    points, anchors, values = _alike(points, anchors, values)
    scale = common_scale(points, anchors)
    points, anchors = points / scale, anchors / scale
    rows = max(1, _BLOCK // len(anchors))
    return torch.cat(
        [torch.addcmul(values, scale, distances(z, anchors)).amin(1) for z in points.split(rows)]
    )


def _alike(first: Tensor, *others: Tensor) -> Iterator[Tensor]:
    """All on the device of the first, in the widest dtype, float32 at least: cdist takes no narrower one."""
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in others), first.dtype)
    dtype = torch.promote_types(dtype, torch.float32)
    return (tensor.to(first.device, dtype) for tensor in (first, *others))
