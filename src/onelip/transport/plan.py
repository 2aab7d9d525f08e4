"""Transport plans by their entries: an exact plan has at most n + m − 1, however large n·m is."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Plan:
    """Moves mass[k] ≥ 0 from x[rows[k]] to y[columns[k]], for shape = (n, m) samples.

    >>> import torch
    >>> plan = Plan.of_dense(torch.tensor([[0.5, 0.0], [0.25, 0.25]]))
    >>> plan.mass, plan.marginals()
    (tensor([0.5000, 0.2500, 0.2500]), (tensor([0.5000, 0.5000]), tensor([0.7500, 0.2500])))
    """

    rows: Int[Tensor, "entries"]
    columns: Int[Tensor, "entries"]
    mass: Float[Tensor, "entries"]
    shape: tuple[int, int]

    @classmethod
    def of_dense(cls, matrix: Float[Tensor, "n m"]) -> Plan:
        """The non-zero entries of a matrix."""
        rows, columns = matrix.nonzero(as_tuple=True)
        return cls(rows, columns, matrix[rows, columns], (matrix.shape[0], matrix.shape[1]))

    def dense(self) -> Float[Tensor, "n m"]:
        """The matrix π, all n·m entries of it."""
        return self.mass.new_zeros(self.shape).index_put(
            (self.rows, self.columns), self.mass, accumulate=True
        )

    def marginals(self) -> tuple[Float[Tensor, "n"], Float[Tensor, "m"]]:
        """The mass that leaves each x and that arrives at each y."""
        n, m = self.shape
        leaves = self.mass.new_zeros(n).index_add(0, self.rows, self.mass)
        return leaves, self.mass.new_zeros(m).index_add(0, self.columns, self.mass)
