"""What a step of an ImageNet-sized critic costs, counted on the meta device: nothing is run or allocated.

The critic is that of Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial
Networks", ICLR 2018, for 128×128 pictures, without the projection of classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from onelip.constraint.reshaped import Reshaped
from onelip.linear.layers import input_shapes, linear_map
from onelip.linear.maps import LinearMap

SHAPE = (3, 128, 128)
CHANNELS = (64, 128, 256, 512, 1024, 1024)
FLOAT = 4  # bytes


class Block(nn.Module):
    """Two 3×3 convolutions beside a 1×1 one, their sum halved by averaging where `down`."""

    def __init__(self, into: int, out: int, *, first: bool = False, down: bool = False):
        super().__init__()
        self.before = nn.Identity() if first else nn.ReLU()  # the first block sees the picture itself
        self.one, self.two = nn.Conv2d(into, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
        self.shortcut = nn.Conv2d(into, out, 1) if down else nn.Identity()
        self.pool = nn.AvgPool2d(2) if down else nn.Identity()
        self.pools_first = first and down

    def forward(self, x: Tensor) -> Tensor:
        y = self.two(F.relu(self.one(self.before(x))))
        if self.pools_first:
            return self.pool(y) + self.shortcut(self.pool(x))
        return self.pool(y + self.shortcut(x))


class SumPool(nn.Module):
    """The sum over all places."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3))


def large_critic() -> nn.Sequential:
    """Six residual blocks, five of which halve, then a sum over what is left and one score."""
    last = len(CHANNELS) - 1
    pairs = list(pairwise((SHAPE[0], *CHANNELS)))
    blocks = [Block(*pair, first=i == 0, down=i < last) for i, pair in enumerate(pairs)]
    return nn.Sequential(*blocks, nn.ReLU(), SumPool(), nn.Linear(CHANNELS[-1], 1), nn.Flatten(0))


@dataclass(frozen=True)
class Layer:
    """One layer: its maps by kind of constraint, and multiply-adds of one picture, as FLOPs."""

    name: str
    maps: dict[str, LinearMap]
    forward_flops: int

    @property
    def weights(self) -> int:
        return next(iter(self.maps.values())).weight.numel()

    def iteration_flops(self, kind: str) -> int:
        """Of one power iteration and of the slope G that is made from it."""
        map = self.maps[kind]
        u, v = (torch.empty(1, *shape, device="meta") for shape in (map.out_shape, map.in_shape))
        return flops(lambda: (map.adjoint(u), map.apply(v), map.weight_gradient(u, v)))

    def vector_floats(self, kind: str) -> tuple[int, int]:
        """Entries of u and of v."""
        return math.prod(self.maps[kind].out_shape), math.prod(self.maps[kind].in_shape)

    def state_floats(self, kind: str) -> int:
        """What a constraint keeps: u, two right vectors and a start; the slope and the weight seen, twice."""
        u, v = self.vector_floats(kind)
        return u + 3 * v + 4 * self.weights


def layers() -> list[Layer]:
    """The linear layers of the critic with the shapes that they see."""
    critic = meta_critic()
    shapes = input_shapes(critic, SHAPE)
    found = []
    for name, module in critic.named_modules():
        if name in shapes:
            map = linear_map(module, shapes[name])
            x = torch.empty(1, *map.in_shape, device="meta")
            kinds: dict[str, LinearMap] = {"operator": map, "reshaped": Reshaped(map.weight, axis=0)}
            found.append(Layer(name, kinds, flops(lambda map=map, x=x: map.apply(x))))
    return found


def meta_critic() -> nn.Sequential:
    with torch.device("meta"):
        return large_critic()


def step_flops(pictures: int) -> int:
    """Forward and backward of the critic on a batch; the pictures themselves need no gradient."""
    critic = meta_critic()
    return flops(lambda: critic(torch.empty(pictures, *SHAPE, device="meta")).sum().backward())


def activation_bytes(pictures: int) -> int:
    """What the forward keeps for the backward, each storage once, weights left out."""
    critic = meta_critic()
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        critic(torch.empty(pictures, *SHAPE, device="meta")).sum()
    own = {parameter.untyped_storage()._cdata for parameter in critic.parameters()}
    return sum(storage.nbytes() for key, storage in kept.items() if key not in own)


def flops(work: Callable[[], object]) -> int:
    """Of all products; additions of a bias, activations and pooling are not counted."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()
