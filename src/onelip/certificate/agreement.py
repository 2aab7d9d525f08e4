"""Does the traced graph compute what the network computes? Asked on random inputs.

It can refuse and proves nothing: a check on the tracing, which other software does, and on forwards that
depend on what no graph holds, such as the size of the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from onelip.certificate.graph import Graph
from onelip.certificate.state import unchanged
from onelip.certificate.trace import like_input
from onelip.errors import ArgumentError
from onelip.linear.layers import evaluating

_RELATIVE = 1e-2  # of the largest output: whatever formats a network uses inside
_ROUNDING = 64.0  # times what rounding each intermediate number moves


@torch.no_grad()
def require_agreement(network: nn.Module | ExportedProgram, graph: Graph) -> None:
    """Raise ArgumentError where graph and network differ on random samples, on two together or one alone.

    A program is asked on as many samples as it was exported for, and not on one.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(graph.input.shape, generator=generator).to(like_input(network))
    exact = graph.run(x.cpu().double())
    rounded = graph.run(x.cpu().double(), _rounding(torch.finfo(x.dtype).eps, generator))
    allowed = _RELATIVE * _largest(exact) + _ROUNDING * _largest(rounded - exact)
    if isinstance(network, ExportedProgram):
        alike = _alike(network.module()(x), exact, allowed)
    else:
        with unchanged(network), evaluating(network):
            alike = _alike(network(x.clone()), exact, allowed)
            if alike and not _alike_alone(network, x[:1], exact[:1], allowed):
                remedy = "take the size of the batch out of forward"
                raise ArgumentError("module", "one function of one sample and of two", "two", remedy)
    if not alike:
        remedy = "take out in-place edits, and whatever changes from call to call"
        raise ArgumentError("module", "what torch.export makes of it", "another function", remedy)


def _alike_alone(module: nn.Module, x: Tensor, exact: Tensor, allowed: float) -> bool:
    try:
        value = module(x.clone())
    except (RuntimeError, ValueError, IndexError):
        return True  # a network of two samples, for constants that it joins to them say, is none of one
    return _alike(value, exact, allowed)


def _alike(value: Tensor, exact: Tensor, allowed: float) -> bool:
    """Whether two outputs are as close as is allowed, but where a short format overflows."""
    value, exact = value.cpu().double().flatten(), exact.flatten()
    if len(value) != len(exact):
        return False
    return not bool(((value - exact).abs() > allowed)[value.isfinite()].any())


def _largest(x: Tensor) -> float:
    return x.abs().nan_to_num(0.0, posinf=0.0).max().item()


def _rounding(eps: float, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    def rounded(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        return value * (1 + eps * (2 * torch.randint(2, value.shape, generator=generator) - 1))

    return rounded
