"""Train a critic to tell the two laws of a pair apart: maximise E_P f − E_Q f on fresh samples every step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from onelip.constraint.clip import clip_weights
from onelip.constraint.penalty import gradient_penalty
from onelip.errors import NonFiniteError
from onelip.study.w1bench.critics import matrices
from onelip.study.w1bench.settings import Cell
from onelip.study.w1bench.stiefel import newton_schulz, tangential
from onelip.transport import FunnelPair
from onelip.transport.funnel import HALF_WIDTH

Tick = Callable[[int], None]
STEPS_BETWEEN_TICKS = 20
_WARMUP = 50
_HELD, _DECADES = 0.3, 8
_AFTER_A_SORT = 0.02  # share of the rate: the noise of weights there blurs what has been told apart
_RETRACTION = 2  # iterations: one would do for small steps, the first ones are not


def train(critic: nn.Module, pair: FunnelPair, cell: Cell, generator: torch.Generator, tick: Tick) -> None:
    """`cell.steps` updates in place; `tick` hears how many are done. Raises NonFiniteError on divergence."""
    dtype = torch.float64 if cell.double else torch.float32
    critic.to(dtype).train()
    pair = pair.to(dtype=dtype)
    optimizer = torch.optim.Adam(_groups(critic, cell), betas=cell.betas)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(cell, step))
    for step in range(1, cell.steps + 1):
        optimizer.zero_grad()
        loss = objective(critic, *draw(pair, generator, cell.batch), cell, generator)
        loss.backward()
        _step(critic, optimizer, cell)
        schedule.step()
        if step % STEPS_BETWEEN_TICKS == 0 or step == cell.steps:
            if not math.isfinite(loss.item()):
                raise NonFiniteError(f"{cell.name}: the loss is {loss.item()} at step {step}; lower --lr")
            tick(step)
    if not all(p.isfinite().all() for p in critic.parameters()):  # the loss is from before the last step
        raise NonFiniteError(f"{cell.name}: weights hold NaN or infinity after step {cell.steps}; lower --lr")


def rate(cell: Cell, step: int) -> float:
    """The learning rate as a fraction of `cell.lr`.

    constant; or a short warm-up and then a cosine to zero, or "geometric": constant, then as many steps to
    every decade, which tips need that are resolved decade by decade.
    """
    if cell.schedule == "constant":
        return 1.0
    warm, done = min(1.0, (step + 1) / _WARMUP), min(step / cell.steps, 1.0)
    if cell.schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * done))
    return warm * 10 ** (-_DECADES * max(0.0, done - _HELD) / (1 - _HELD))


def draw(pair: FunnelPair, generator: torch.Generator, batch: int) -> tuple[Tensor, Tensor]:
    """Independent batches of P and of Q. Two draws: rows of one are coupled by the plan that is sought."""
    x = pair.sample(generator, batch).x
    y = (2 * torch.rand(x.shape, generator=generator, dtype=x.dtype) - 1) * HALF_WIDTH
    return x, y


def objective(critic: nn.Module, x: Tensor, y: Tensor, cell: Cell, generator: torch.Generator) -> Tensor:
    """E_Q f − E_P f, and λ times the penalty where the method has one: what is minimised."""
    on_x, on_y = critic(torch.cat([x, y])).chunk(2)
    loss = on_y.mean() - on_x.mean()
    if cell.design.method not in ("gp", "lp"):
        return loss
    one_sided = cell.design.method == "lp"
    return loss + cell.penalty * gradient_penalty(critic, x, y, one_sided=one_sided, generator=generator)


def _groups(critic: nn.Module, cell: Cell) -> list[dict[str, Any]]:
    """Matrices, and all other parameters, each with their learning rate."""
    if cell.bias_lr is None:
        return [{"params": list(critic.parameters()), "lr": cell.lr}]
    first, *later = matrices(critic)
    others = [p for p in critic.parameters() if all(p is not W for W in (first, *later))]
    after = _AFTER_A_SORT if cell.activation == "fullsort" else 1.0
    return [
        {"params": [first], "lr": cell.lr},
        {"params": later, "lr": after * cell.lr},
        {"params": others, "lr": cell.bias_lr},
    ]


@torch.no_grad()
def _step(critic: nn.Module, optimizer: torch.optim.Optimizer, cell: Cell) -> None:
    """The optimizer's step and what keeps the critic where it has to stay."""
    on_manifold = matrices(critic) if cell.design.method == "stiefel" else []
    for W in on_manifold:
        assert W.grad is not None
        W.grad = tangential(W, W.grad)
    optimizer.step()
    for W in on_manifold:
        W.copy_(newton_schulz(W, _RETRACTION))
    if cell.design.method == "clip":
        clip_weights(critic, cell.clip)
