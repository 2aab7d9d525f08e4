"""Images a second of the study's training step beside the plain loop, and both against the machine's limit.

The loops take turns in one process; so does a large matrix product on as many threads, whose rate is the
limit. A step's work is counted once, on the plain networks, as the products that the algorithm needs (the
critic's weights need no gradient in the generator's step), so that no loop is credited for superfluous work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.paired import as_json, paired
from benchmarks.plain_loop import plain_networks, plain_step
from onelip.data import load
from onelip.data.sets import ImageSet
from onelip.gan.config import TrainConfig
from onelip.gan.players import build_players
from onelip.gan.step import train_step

# Rounds by width: about ten seconds each.
ROUNDS = {8: 40, 16: 24, 32: 12, 64: 7}
METHODS = ("none", "sn")
MATRIX = 1536


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Both loops at every width and method: images a second, ratio, share of the matrix-product rate."""
    data = load("mnist")
    assert isinstance(data, ImageSet)
    rows = [compare(method, width, data, say) for method in METHODS for width in ROUNDS]
    return {"threads": torch.get_num_threads(), "batch": TrainConfig().batch, "rows": rows}


def compare(method: str, width: int, data: ImageSet, say: Callable[[str], None]) -> dict[str, Any]:
    config = TrainConfig(method=method, width=width, device="cpu").resolved()
    matrix = torch.randn(MATRIX, MATRIX)
    times = paired(
        {
            "onelip": our_step(config, data),
            "plain loop": plain_step(config, data.images(torch.arange(len(data.pixels)))),
            "matrix product": lambda: matrix @ matrix,
        },
        warm_up=3,
        rounds=ROUNDS[width],
    )
    work, product = step_flops(config, data.sample_shape), 2 * MATRIX**3
    # Medians of ratios within a round, as everywhere: rates of different moments are not comparable.
    ours = work / product * times["matrix product"].ratio[1]
    shares = {"onelip": ours, "plain loop": ours / times["plain loop"].ratio[1]}
    low, ratio, high = times["plain loop"].ratio
    say(
        f"{method:4s} width {width:2d}: {ratio:.2f} × the plain loop's images a second ({low:.2f} to "
        f"{high:.2f}); {shares['onelip']:.0%} of the matrix product's rate, plain {shares['plain loop']:.0%}"
    )
    images = config.batch * config.critic_steps
    return {
        "method": method,
        "width": width,
        "step_gflop": work / 1e9,
        "images_per_second": images / times["onelip"].milliseconds[1] * 1000,
        "times": as_json(times),
        "share_of_matrix_rate": shares,
    }


def our_step(config: TrainConfig, data: ImageSet) -> Callable[[], object]:
    """The training loop's step with its one transfer of what happened."""
    players = build_players(config, data.sample_shape)
    number = 0

    def step() -> object:
        nonlocal number
        number += 1
        return torch.stack(list(train_step(players, data, config, number).values())).tolist()

    return step


def step_flops(config: TrainConfig, shape: tuple[int, ...]) -> int:
    """Multiplications and additions of one generator step and its critic steps, without the constraint's."""
    generator, critic = plain_networks(config.width, config.latent, shape)
    noise = torch.randn(config.batch, config.latent)
    with FlopCounterMode(display=False) as critic_step:
        with torch.no_grad():
            fake = generator(noise)
        scores = critic(torch.cat([torch.randn(config.batch, *shape), fake]))
        torch.autograd.grad(scores.sum(), list(critic.parameters()))
    with FlopCounterMode(display=False) as generator_step:
        torch.autograd.grad(critic(generator(noise)).sum(), list(generator.parameters()))
    return config.critic_steps * critic_step.get_total_flops() + generator_step.get_total_flops()
