"""How close a critic comes to the optimal potential of a pair whose answer is known.

A. Korotin, A. Kolesov, E. Burnaev, "Kantorovich Strikes Back! Wasserstein GANs are not Optimal
Transport?", NeurIPS 2022: the metrics cos, L² and the deviation of Ŵ₁.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onelip.errors import ArgumentError, NonFiniteError
from onelip.transport.estimate import Estimate
from onelip.transport.pair import CoupledSamples, KnownPair, batch_sizes, stream
from onelip.transport.samples import power_of_two

Critic = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class PotentialScore:
    """A critic f beside the optimal potential f* of a pair, each number with its standard error.

    cos: mean cosine of ∇f and ∇f* at x ~ P; 1 is perfect, and a vanishing gradient counts as 0.
    l2: mean ‖∇f − ∇f*‖² at x ~ P; 0 is perfect.
    w1: Ŵ₁ = E_P f − E_Q f. A lower bound of W₁, up to its standard error, where f is 1-Lipschitz.
    w1_true: W₁ on the same samples.
    deviation: Ŵ₁/W₁ − 1, a fraction; paired, so that it is far more certain than Ŵ₁ and W₁ apart.
    """

    cos: Estimate
    l2: Estimate
    w1: Estimate
    w1_true: Estimate
    deviation: Estimate


def evaluate_potential(
    critic: Critic,
    pair: KnownPair,
    *,
    size: int = 4096,
    w1_size: int | None = None,
    seed: int = 0,
    batch: int = 4096,
) -> PotentialScore:
    """Score any callable critic, [B, *shape] → [B] or [B, 1], on fresh samples of a pair.

    size: samples for cos and L². w1_size: samples for w1, w1_true and the deviation, by default `size`;
    these need no gradient, so a million is affordable. seed: of the samples, drawn on the CPU and
    therefore the same for every device. A torch module is called in its own dtype and on its own device,
    in the mode (train or eval) in which it is; anything else in those of the pair. In few dimensions
    P crowds at the centres of a funnel pair, closer than float32 resolves: of the order of ρ^(D/8) of its
    mass is within ρ of them. With float32 weights even the optimal potential reaches only cos 0.98 at D = 2.
    Pass `critic.double()` below D = 8; from there on the loss is below 1e-6.
    Raises ArgumentError where the critic's result has another shape or does not depend on its input
    through autograd, or where P = Q; NonFiniteError where it or its gradient is not finite.

    >>> from onelip.transport.closed_form import cone_pair
    >>> cone = cone_pair(torch.zeros(1, 2), radius=1.0)
    >>> score = evaluate_potential(lambda x: x.norm(dim=1) / 2, cone, size=100)
    >>> [round(estimate.value, 6) for estimate in (score.cos, score.l2, score.w1, score.deviation)]
    [1.0, 0.25, 0.5, -0.5]
    """
    generator = stream("evaluation", seed)
    gradients = [_alignment(critic, pair.sample(generator, count)) for count in batch_sizes(size, batch)]
    cos, l2 = (torch.cat(part) for part in zip(*gradients, strict=True))
    w1_size = size if w1_size is None else w1_size
    falls = [_fall(critic, pair.sample(generator, count)) for count in batch_sizes(w1_size, batch)]
    fall, distance = (torch.cat(part) for part in zip(*falls, strict=True))
    return PotentialScore(
        Estimate.of_mean(cos),
        Estimate.of_mean(l2),
        Estimate.of_mean(fall),
        Estimate.of_mean(distance),
        _relative_deviation(fall, distance),
    )


def _alignment(critic: Critic, sample: CoupledSamples) -> tuple[Tensor, Tensor]:
    """Per sample, the cosine of ∇f and ∇f* and ‖∇f − ∇f*‖²."""
    points = _as_critic_takes(critic, sample.x).detach().requires_grad_()
    with torch.enable_grad():
        scores = _scores(critic, points)
        if not scores.requires_grad:
            raise ArgumentError(
                "critic",
                "differentiable in its input",
                "a result cut off from it",
                "remove detach or no_grad",
            )
        (gradient,) = torch.autograd.grad(scores.sum(), points, allow_unused=True, materialize_grads=True)
    if not torch.isfinite(gradient).all():
        raise NonFiniteError(
            "the critic's gradients hold NaN or infinity: see to its weights and to norms taken at zero"
        )
    found, true = gradient.flatten(1).to(sample.gradient), sample.gradient.flatten(1)
    return _cosine(found, true).cpu(), (found - true).square().sum(1).cpu()


def _cosine(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
    """Of the angle between rows at any scale, where torch's ε calls small ones orthogonal; 0 for zeros."""
    return (_unit(a.double()) * _unit(b.double())).sum(1)


def _unit(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    rows = rows / power_of_two(rows.abs().amax(1, keepdim=True))
    return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)


@torch.no_grad()
def _fall(critic: Critic, sample: CoupledSamples) -> tuple[Tensor, Tensor]:
    """Per sample, f(x) − f(y) and ‖x − y‖: how far the critic falls along a ray, and how far it could."""
    on_x, on_y = (
        _scores(critic, _as_critic_takes(critic, points)).double() for points in (sample.x, sample.y)
    )
    return (on_x - on_y).cpu(), sample.distance.double().cpu()


def _relative_deviation(fall: Float[Tensor, "n"], distance: Float[Tensor, "n"]) -> Estimate:
    """mean(fall)/mean(distance) − 1; the standard error of the ratio by the delta method."""
    if not distance.mean() > 0:
        raise ArgumentError("pair", "of two different laws", "W1 = 0", "move one of them")
    ratio = fall.mean() / distance.mean()
    residuals = Estimate.of_mean((fall - ratio * distance) / distance.mean())
    return Estimate(float(ratio) - 1, residuals.standard_error)


def _as_critic_takes(critic: Critic, points: Tensor) -> Tensor:
    like = next(critic.parameters(), points) if isinstance(critic, nn.Module) else points
    return points.to(like)


def _scores(critic: Critic, points: Float[Tensor, "size *shape"]) -> Float[Tensor, "size"]:
    scores = critic(points)
    if not isinstance(scores, Tensor):
        raise ArgumentError("critic", "one that returns a tensor", type(scores).__name__, "return its scores")
    if scores.shape not in {(len(points),), (len(points), 1)}:
        raise ArgumentError(
            "critic",
            f"one score a sample, ({len(points)},) or ({len(points)}, 1), for {tuple(points.shape)}",
            f"a result of shape {tuple(scores.shape)}",
            "sum or squeeze its other axes",
        )
    if not torch.isfinite(scores).all():
        raise NonFiniteError("the critic's scores hold NaN or infinity: see to its weights before scoring it")
    return scores.reshape(-1)
