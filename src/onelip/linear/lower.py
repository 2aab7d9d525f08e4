"""Sound lower bounds: one vector, carried through the map in float64, with its rounding subtracted."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.linear.cholesky import UNDERFLOW, growth
from onelip.linear.maps import LinearMap
from onelip.linear.power import lanczos

ROUNDS = 16


def climb(
    map: LinearMap, v: Float[Tensor, "*in_shape"], rtol: float, steps: int, upper: float = math.inf
) -> tuple[Float[Tensor, "*in_shape"], int]:
    """Lanczos, restarted every `steps` from its own result: the vector found, and the steps in all.

    Ends when a round gains less than rtol/20; or, given a bound from above, when it is within rtol of it or a
    round gains at most a third of what it leaves, a quarter of the gap before it. In single precision, which
    is enough for a direction.
    """
    single, v, taken = map.with_weight(map.weight.float()), v.float(), 0
    sigma = torch.linalg.vector_norm(single.apply(v.unsqueeze(0)))
    for _ in range(ROUNDS):
        before, (sigma, _, v) = sigma, lanczos(single, v, steps)
        taken += steps
        enough = rtol / 20 * sigma if upper == math.inf else (upper - sigma) / 3
        if sigma - before <= enough or sigma * (1 + rtol) >= upper:
            break
    return v.double(), taken


def most_stretched(map: LinearMap, V: Float[Tensor, "k *in_shape"]) -> Float[Tensor, "*in_shape"]:
    """The unit vector of the span of V that the map stretches most (Rayleigh–Ritz)."""
    Q = torch.linalg.qr(V.flatten(1).T).Q.T.reshape(-1, *V.shape[1:])
    images = map.apply(Q).flatten(1)
    q = torch.linalg.eigh(images @ images.T).eigenvectors[:, -1]
    return torch.tensordot(q, Q, 1)


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
