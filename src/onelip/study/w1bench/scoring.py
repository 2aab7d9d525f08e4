"""From a trained critic to one record of plain JSON values."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from torch import nn

from onelip.certificate.certify import certify
from onelip.errors import NonFiniteError
from onelip.study.w1bench.settings import Cell
from onelip.transport import KnownPair, evaluate_potential

GRADIENT_SAMPLES = 4096  # as published
METRICS = ("cos", "l2", "w1", "w1_true", "deviation")


def record(critic: nn.Module, pair: KnownPair, cell: Cell, seconds: float, w1_size: int) -> dict[str, Any]:
    """The benchmark's numbers for a plain float64 critic, with standard errors, configuration and origin.

    certified: proved upper bound on the critic's Lipschitz constant; witnessed: what two inputs reach.
    Where certified is 1, w1 is a lower bound of W₁ up to its standard error. seconds: processor time of
    training. Samples are fresh: no stream of random numbers is shared with training. Raises NonFiniteError
    where one of the numbers is not finite.
    """
    score = evaluate_potential(critic, pair, size=GRADIENT_SAMPLES, w1_size=w1_size, seed=cell.seed)
    certificate = certify(critic, pair.shape, starts=1)
    estimates = {name: getattr(score, name) for name in METRICS}
    bounds = {"certified": certificate.upper, "witnessed": certificate.lower}
    for name, numbers in {**estimates, **{name: (bound,) for name, bound in bounds.items()}}.items():
        if not all(map(math.isfinite, numbers)):
            raise NonFiniteError(f"{cell.name}: {name} of the trained critic is not finite; lower --lr")
    return {
        "dim": cell.dim,
        "funnels": cell.funnels,
        "critic": cell.critic,
        **{name: estimate.value for name, estimate in estimates.items()},
        **bounds,
        "steps": cell.all_steps,
        "seconds": seconds,
        "standard_errors": {name: estimate.standard_error for name, estimate in estimates.items()},
        "samples": {"gradients": GRADIENT_SAMPLES, "w1": w1_size},
        "config": as_config(cell),
    }


def as_config(cell: Cell) -> dict[str, Any]:
    """The cell as JSON gives it back, so that the two compare equal."""
    config = dataclasses.asdict(cell)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in config.items()}
