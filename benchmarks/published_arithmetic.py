"""What the published evaluation of the W₁ benchmark gives a critic that cannot be bettered, f = f*.

Korotin, Kolesov, Burnaev (NeurIPS 2022) take ∇f* by autograd through float32 `torch.cdist` as it comes. From
26 rows on that is by products of matrices, which cancel: the distance to a centre that is nearer than 10⁻³ or
so comes out as zero, and so does ∇f* there. P crowds at the centres in low dimensions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from onelip.transport import funnel_pair
from onelip.transport.funnel import FunnelPair

DIMS, FUNNELS, SEEDS = (2, 4, 8), (4, 16, 64, 256), (0, 1, 2)
SAMPLES = 4_096


def published_gradient(pair: FunnelPair, x: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
    """∇f*(x) as the published evaluation has it."""
    x = x.float().requires_grad_()
    lowest = (torch.cdist(x, pair.centers.float()) + pair.bias.float()).amin(1)
    return -torch.autograd.grad(lowest.sum(), x)[0]


def scores(dim: int, funnels: int, seed: int) -> dict[str, float]:
    """cos and L² of the exact ∇f* against the published one, and the share of samples where that is zero."""
    pair = funnel_pair(dim, funnels, seed)
    drawn = pair.sample(torch.Generator().manual_seed(seed), SAMPLES)
    exact, theirs = drawn.gradient.float(), published_gradient(pair, drawn.x)
    return {
        "cos": float(F.cosine_similarity(exact, theirs).mean()),
        "l2": float((exact - theirs).square().sum(1).mean()),
        "zero": float((theirs == 0).all(1).double().mean()),
    }


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Each size with its seeds' scores, in lists by seed."""
    rows = []
    for dim, funnels in itertools.product(DIMS, FUNNELS):
        found = [scores(dim, funnels, seed) for seed in SEEDS]
        columns = {name: [one[name] for one in found] for name in found[0]}
        rows.append({"dim": dim, "funnels": funnels, "seeds": list(SEEDS)} | columns)
        say(f"D = {dim}, N = {funnels}: cos {columns['cos']}, L² {columns['l2']}")
    return {"samples": SAMPLES, "sizes": rows}
