"""Transport on a line by quantiles, exact in O(n log n), and along random lines in any dimension.

F. Santambrogio, "Optimal Transport for Applied Mathematicians", Birkhäuser 2015, §2.1.
N. Bonneel, J. Rabin, G. Peyré, H. Pfister, "Sliced and Radon Wasserstein Barycenters of
Measures", J. Math. Imaging and Vision 51, 2015. G. Mahey, L. Chapel, G. Gasso, C. Bonet, N. Courty, "Fast
Optimal Transport through Sliced Generalized Wasserstein Geodesics", NeurIPS 2023: lifting a line's plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.transport.discrete import Solution
from onelip.transport.duality import dual, primal
from onelip.transport.plan import Plan

if TYPE_CHECKING:
    from scipy.sparse import coo_array


def line(
    x: Float[Tensor, "n"], y: Float[Tensor, "m"], a: Float[Tensor, "n"], b: Float[Tensor, "m"]
) -> Solution:
    """The exact plan between samples on a line, which keeps their order, and the exact potential."""
    import ot  # slow to import: discrete.py

    entries = ot.emd_1d(x.numpy(), y.numpy(), a.numpy(), b.numpy(), metric="euclidean", dense=False)
    entries = cast("coo_array", entries)
    rows, columns = (torch.from_numpy(index).long() for index in (entries.row, entries.col))
    plan = Plan(rows, columns, torch.from_numpy(entries.data), (len(x), len(y)))
    return Solution(plan, *_line_potential(x, y, a, b))


def _line_potential(x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """f with f′ = sign(G − F) for the distribution functions F and G, so that E_P f − E_Q f = ∫|F − G|."""
    z, order = torch.cat([x, y]).sort()
    excess = torch.cat([-a, b])[order].cumsum(0)
    rises = excess[:-1].sign() * z.diff()
    f = torch.empty_like(z).index_copy(0, order, torch.cat([z.new_zeros(1), rises.cumsum(0)]))
    return f[: len(x)], f[len(x) :]


def sliced(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    a: Float[Tensor, "n"],
    b: Float[Tensor, "m"],
    projections: int,
    seed: int,
) -> Solution:
    """The cheapest plan and the best potential that any of `projections` random lines gives.

    A line's plan is a plan in space as well, and f(⟨θ, ·⟩) is 1-Lipschitz for unit θ: the two need not
    come from one line.
    """
    directions = random_directions(projections, x.shape[1], seed)
    lines = [line(x @ theta, y @ theta, a, b) for theta in directions]
    cheapest = min(lines, key=lambda solution: primal(solution.plan, x, y))
    highest = max(lines, key=lambda solution: dual(solution.potential_x, solution.potential_y, a, b))
    return Solution(cheapest.plan, highest.potential_x, highest.potential_y)


def random_directions(count: int, dim: int, seed: int) -> Float[Tensor, "count dim"]:
    """Unit vectors, uniform on the sphere.

    >>> random_directions(3, 2, seed=0).norm(dim=1)
    tensor([1., 1., 1.], dtype=torch.float64)
    """
    generator = torch.Generator().manual_seed(seed)
    gaussian = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(gaussian, dim=1)
