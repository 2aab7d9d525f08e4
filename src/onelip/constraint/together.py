"""The constraints of a network brought up to date together, before its first layer runs.

Layers of one shape share the operations that it takes, and all of them the node of the graph. Between two
layers of a network, moreover, the processor's caches lose the code and the numbers of a constraint, so that
it costs several times what it does right after another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

from onelip.constraint.pickling import parametrizations
from onelip.constraint.shared import shareable
from onelip.constraint.spectral import SpectralNorm, make_together


class PrepareTogether:
    """A forward pre-hook. Each layer still sees for itself whether what was prepared holds."""

    def __init__(self, layers: Iterable[nn.Module]):
        self.layers = list(layers)

    def __call__(self, module: nn.Module, args: object) -> None:
        # One constraint serves all layers that apply one weight alike.
        changed: dict[SpectralNorm, Tensor] = {}
        for layer in self.layers:
            if parametrize.is_parametrized(layer, "weight"):
                parametrization = cast(nn.ModuleList, parametrizations(layer)["weight"])
                constraint = parametrization[0]
                if not isinstance(constraint, SpectralNorm):  # another by now, of several originals perhaps
                    continue
                weight = cast(Tensor, parametrization.original)
                if _is_stale(constraint, weight):
                    changed[constraint] = weight
        if changed:
            make_together(list(changed.items()))


def _is_stale(constraint: SpectralNorm, weight: Tensor) -> bool:
    return shareable(weight) and not constraint.shared.fits(weight, constraint.training)


def forget(module: nn.Module) -> None:
    """Take these hooks off the module and all that it contains."""
    for child in module.modules():
        for key, hook in list(child._forward_pre_hooks.items()):
            if isinstance(hook, PrepareTogether):
                del child._forward_pre_hooks[key]
