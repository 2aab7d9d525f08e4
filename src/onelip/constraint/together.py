"""The constraints of a network brought up to date one after the other, before its first layer runs.

Between two layers of a network the processor's caches lose the code and the numbers of a constraint, so that
each constraint costs several times what it does right after another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

from onelip.constraint.pickling import parametrizations
from onelip.constraint.spectral import SpectralNorm


class PrepareTogether:
    """A forward pre-hook. Each layer still sees for itself whether what was prepared holds."""

    def __init__(self, layers: Iterable[nn.Module]):
        self.layers = list(layers)

    def __call__(self, module: nn.Module, args: object) -> None:
        for layer in self.layers:
            if parametrize.is_parametrized(layer, "weight"):
                weight = cast(nn.ModuleList, parametrizations(layer)["weight"])
                constraint = weight[0]
                if isinstance(constraint, SpectralNorm):
                    constraint.prepare(cast(Tensor, weight.original))


def forget(module: nn.Module) -> None:
    """Take these hooks off the module and all that it contains."""
    for child in module.modules():
        for key, hook in list(child._forward_pre_hooks.items()):
            if isinstance(hook, PrepareTogether):
                del child._forward_pre_hooks[key]
