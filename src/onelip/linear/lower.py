"""Sound lower bounds: one vector, carried through the map in float64, with its rounding subtracted."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.linear.cholesky import UNDERFLOW, growth
from onelip.linear.maps import LinearMap
from onelip.linear.power import SingularTriple, lanczos

STEPS = 16
ROUNDS = 8


def converge(map: LinearMap, v: Float[Tensor, "*in_shape"], rtol: float) -> tuple[SingularTriple, int]:
    """Lanczos, restarted from its own result until a round of it gains less than rtol/10; and the steps."""
    triple = lanczos(map, v, STEPS)
    for round_ in range(2, ROUNDS + 1):
        before, triple = triple, lanczos(map, triple.v, STEPS)
        if triple.sigma <= before.sigma * (1 + rtol / 10):
            return triple, round_ * STEPS
    return triple, ROUNDS * STEPS


def attained(map: LinearMap, v: Float[Tensor, "*in_shape"]) -> float:
    """A number ≤ ‖Av‖/‖v‖ ≤ ‖A‖₂, for a map and a vector in float64.

    Note: rounding. Entry by entry a computed Av errs by at most growth(k)·|A||v| with k products in a sum, so
    its length by at most growth(k)·‖|A||v|‖ (cholesky.py, items 1 and 5); k is at most the number of weights.
    The lengths themselves, sums of n squares and a root, err by growth(n + 2), relatively.
    """
    absolute = map.with_weight(map.weight.abs())
    # cuDNN may pick Winograd or FFT, for which the bound does not hold; the native kernels sum products.
    with torch.backends.cudnn.flags(enabled=False):
        image = float(torch.linalg.vector_norm(map.apply(v.unsqueeze(0))))
        mass = float(torch.linalg.vector_norm(absolute.apply(v.abs().unsqueeze(0))))
    length = float(torch.linalg.vector_norm(v))
    if length == 0:
        return 0.0
    lengths = growth(max(v.numel(), image_size(map)) + 2)
    slack = 2 * growth(map.weight.numel() + 1) * mass + UNDERFLOW
    return max(0.0, (image * (1 - lengths) - slack) / (length * (1 + lengths)) * (1 - 2.0**-50) - UNDERFLOW)


def image_size(map: LinearMap) -> int:
    """Number of entries of an output."""
    return torch.Size(map.out_shape).numel()
