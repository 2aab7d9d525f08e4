"""What a constraint adds to a critic step: processor time of one update, in turns, relative to none.

A step is the study's: one forward of real and generated samples together, one backward, Adam's update at the
method's learning rate. Every method updates a network of its own; they take turns step by step, so that a
ratio is one of neighbours in time. deel-torchlip takes part where it is installed, with its own layers in
place of torch's: its weights are near orthogonal besides, which is more than a norm.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from benchmarks.large_critic import Block, SumPool
from benchmarks.paired import Timing, as_json, paired
from onelip.constraint.activation import MaxMin
from onelip.constraint.apply import constrain
from onelip.constraint.penalty import gradient_penalty
from onelip.gan.config import METHODS
from onelip.gan.losses import LOSS_FUNCTIONS
from onelip.gan.networks import image_critic, leaky, mlp

Shape = tuple[int, ...]
Network = Callable[[], nn.Module]
Constrain = Callable[[nn.Module, Shape], nn.Module]

BATCHES = (16, 64, 256)
SEED = 0
WARM_UP = 3  # rounds, which also say how long one takes
SECONDS = 8.0  # of the processor, for all rounds of one network and batch
FEWEST, MOST = 5, 200  # rounds


def residual_critic(width: int) -> nn.Sequential:
    """The critic of Miyato et al., ICLR 2018, table 4(b), with `width` channels in place of 128."""
    blocks = [Block(3, width, first=True, down=True), Block(width, width, down=True)]
    blocks += [Block(width, width) for _ in range(2)]
    return nn.Sequential(*blocks, nn.ReLU(), SumPool(), nn.Linear(width, 1), nn.Flatten(0))


def dense_critic(sizes: list[int]) -> nn.Sequential:
    """Linear layers with leaky ReLU between them, and a score."""
    return nn.Sequential(*mlp([*sizes, 1], leaky), nn.Flatten(0))


def deep_critic() -> nn.Sequential:
    """64 layers of 64 units. Orthogonal weights and MaxMin: else no gradient is left at the first layers."""
    network = nn.Sequential(*mlp([64] * 65 + [1], MaxMin), nn.Flatten(0))
    for layer in linear_layers(network).values():
        nn.init.orthogonal_(cast(Tensor, layer.weight))
    return network


NETWORKS: dict[str, tuple[Network, Shape]] = {
    "critic 28×28, width 8": (partial(image_critic, 8, (1, 28, 28)), (1, 28, 28)),
    "critic 28×28, width 16": (partial(image_critic, 16, (1, 28, 28)), (1, 28, 28)),
    "critic 28×28, width 32": (partial(image_critic, 32, (1, 28, 28)), (1, 28, 28)),
    "residual critic 32×32, width 16": (partial(residual_critic, 16), (3, 32, 32)),
    "dense 4 × 512": (partial(dense_critic, [512] * 5), (512,)),
    "deep 64 × 64": (deep_critic, (64,)),
}


def unconstrained(network: nn.Module, shape: Shape) -> nn.Module:
    return network


def ours(kind: str, network: nn.Module, shape: Shape, iterations: int | None = None) -> nn.Module:
    return constrain(network, kind, input_shape=shape, iterations=iterations)


def torchs(network: nn.Module, shape: Shape) -> nn.Module:
    for layer in linear_layers(network).values():
        parametrizations.spectral_norm(layer)
    return network


def deels(network: nn.Module, shape: Shape) -> nn.Module:
    from deel import torchlip  # pyright: ignore[reportMissingImports]

    for name, layer in linear_layers(network).items():
        if isinstance(layer, nn.Linear):
            replacement = torchlip.SpectralLinear(layer.in_features, layer.out_features)
        else:
            geometry = layer.kernel_size, layer.stride, layer.padding
            replacement = torchlip.SpectralConv2d(layer.in_channels, layer.out_channels, *geometry)
        network.set_submodule(name, replacement)
    return network


def linear_layers(network: nn.Module) -> dict[str, nn.Module]:
    return {n: layer for n, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}


# The constraint, and the method of the study whose optimizer it trains with.
METHODS_OF: dict[str, tuple[Constrain, str]] = {
    "none": (unconstrained, "none"),
    "onelip spectral": (partial(ours, "spectral"), "sn-operator"),
    "onelip spectral-reshaped": (partial(ours, "spectral-reshaped"), "sn"),
    "onelip spectral, 1 iteration": (partial(ours, "spectral", iterations=1), "sn-operator"),
    "onelip spectral-reshaped, 1 iteration": (partial(ours, "spectral-reshaped", iterations=1), "sn"),
    "torch spectral_norm": (torchs, "sn"),
    "deel-torchlip": (deels, "orthogonal"),
    "onelip orthogonal": (partial(ours, "orthogonal"), "orthogonal"),
    "gradient penalty": (unconstrained, "gp"),
}


def methods() -> dict[str, tuple[Constrain, str]]:
    """Those whose packages are there."""
    return {name: m for name, m in METHODS_OF.items() if name != "deel-torchlip" or deel_is_there()}


def deel_is_there() -> bool:
    return importlib.util.find_spec("deel") is not None


def critic_step(
    make: Network, shape: Shape, constraint: Constrain, method: str, data: Iterator[tuple[Tensor, Tensor]]
) -> Callable[[], None]:
    """One update of a critic on the next batch of `data`."""
    torch.manual_seed(SEED)
    critic = constraint(make().to(device()), shape)
    options = METHODS[method]
    optimizer = torch.optim.Adam(
        critic.parameters(), lr=options["critic_lr"], betas=(options["beta1"], options["beta2"])
    )
    penalty = 10.0 if method == "gp" else 0.0

    def step() -> None:
        real, fake = next(data)
        real_scores, fake_scores = critic(torch.cat([real, fake])).chunk(2)
        loss = LOSS_FUNCTIONS["wasserstein"].critic(real_scores, fake_scores)
        if penalty:
            loss = loss + penalty * gradient_penalty(critic, real, fake)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def batches(size: int, shape: Shape) -> Iterator[tuple[Tensor, Tensor]]:
    """Two laws that a critic can tell apart: uniform, and squashed Gaussian; eight batches over and over."""
    generator = torch.Generator().manual_seed(SEED)
    pairs = [
        (
            torch.rand(size, *shape, generator=generator).to(device()) * 2 - 1,
            torch.randn(size, *shape, generator=generator).to(device()).tanh(),
        )
        for _ in range(8)
    ]
    return cycle(pairs)


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class EventClock:
    """Seconds on the GPU, by events between which it does what it was given."""

    def __init__(self) -> None:
        self.last, self.seconds = self._now(), 0.0

    def __call__(self) -> float:
        last, self.last = self.last, self._now()
        self.seconds += last.elapsed_time(self.last) / 1000
        return self.seconds

    def _now(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        event.synchronize()
        return event


def compare(name: str, batch: int, seconds: float = SECONDS) -> tuple[int, dict[str, Timing]]:
    """All methods on one network for about so many seconds: how many rounds these were, and the times."""
    make, shape = NETWORKS[name]
    clock = EventClock() if torch.cuda.is_available() else time.thread_time
    steps: dict[str, Callable[[], object]] = {
        method: critic_step(make, shape, constraint, optimizer, batches(batch, shape))
        for method, (constraint, optimizer) in methods().items()
    }
    paired(steps, 0, 2, clock)  # the first steps allocate
    began = clock()
    paired(steps, 0, WARM_UP, clock)
    rounds = round(seconds * WARM_UP / (clock() - began))
    rounds = min(max(rounds, FEWEST), MOST)
    return rounds, paired(steps, 0, rounds, clock)


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Quartiles of milliseconds and of ratios to the step without constraint, by network and batch."""
    results: dict[str, Any] = {}
    for name in NETWORKS:
        results[name] = {}
        for batch in BATCHES:
            rounds, times = compare(name, batch)
            say(f"{name}, batch {batch}, {rounds} rounds")
            for method, timing in times.items():
                say(f"  {method:26s} {timing}")
            results[name][str(batch)] = {"rounds": rounds, "methods": as_json(times)}
    return {
        "what": __doc__,
        "results": results,
        "device": str(device()),
        "threads": torch.get_num_threads(),
        "seed": SEED,
        "learning_rates": {name: METHODS[method]["critic_lr"] for name, (_, method) in methods().items()},
        "deel_torchlip": importlib.metadata.version("deel-torchlip") if deel_is_there() else None,
    }
