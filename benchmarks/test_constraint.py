"""What a constraint adds to a critic step: ours and torch's against none, side by side in one run.

A step is two forwards (real, generated), one backward and Adam's update of three convolutions and a linear
layer at 28×28, width 16, batch 64, on one thread. Networks take turns step by step, so that each ratio
compares neighbours in time, and the median of the ratios is quoted. Time is the processor time of the
thread, which other processes on the machine lengthen less than the clock's:

    pytest benchmarks/test_constraint.py --benchmark-disable -s
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils import parametrizations

from onelip.constraint.apply import constrain

WARM_UP, ROUNDS = 20, 150


def critic() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 3, 1, 1), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(64 * 7 * 7, 1),
    )  # fmt: skip


def torch_constrained() -> nn.Sequential:
    network = critic()
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            parametrizations.spectral_norm(layer)
    return network


CRITICS: dict[str, Callable[[], nn.Sequential]] = {
    "none": critic,
    "torch, reshaped kernel": torch_constrained,
    "onelip, reshaped kernel": lambda: constrain(critic(), "spectral-reshaped"),
    "onelip, operator": lambda: constrain(critic(), "spectral", input_shape=(1, 28, 28)),
}


def critic_step(network: nn.Module) -> Callable[[torch.Tensor, torch.Tensor], float]:
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.0, 0.9))

    def seconds(real: torch.Tensor, fake: torch.Tensor) -> float:
        start = time.thread_time()
        optimizer.zero_grad()
        (network(fake).mean() - network(real).mean()).backward()
        optimizer.step()
        return time.thread_time() - start

    return seconds


def measure() -> dict[str, tuple[float, float]]:
    """Median milliseconds, and median ratio to the unconstrained step of the same round."""
    torch.set_num_threads(1)
    steps = {name: critic_step(make()) for name, make in CRITICS.items()}
    generator = torch.Generator().manual_seed(0)
    rounds = []
    for _ in range(WARM_UP + ROUNDS):
        real = torch.rand(64, 1, 28, 28, generator=generator) * 2 - 1
        fake = torch.randn(64, 1, 28, 28, generator=generator).tanh()
        rounds.append({name: step(real, fake) for name, step in steps.items()})
    return {
        name: (
            1000 * statistics.median(r[name] for r in rounds[WARM_UP:]),
            statistics.median(r[name] / r["none"] for r in rounds[WARM_UP:]),
        )
        for name in steps
    }


def test_critic_step():
    results = measure()
    for name, (milliseconds, ratio) in results.items():
        print(f"{name:26s} {milliseconds:7.2f} ms   {ratio:.3f} × unconstrained")
    assert 0.9 < results["onelip, operator"][1] < 2
