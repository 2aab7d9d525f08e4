"""Does the traced graph compute what the network computes? Asked on random inputs.

It can refuse and proves nothing: a check on the tracing, which other software does, and on forwards that
depend on what no graph holds, such as the size of the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
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
    """Raise ArgumentError where graph and network differ on random samples, on several together or one alone.

    A program is asked on as many samples as it was exported for: on one only where that is among them.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(graph.input.shape, generator=generator).to(like_input(network))
    exact = graph.run(x.cpu().double())
    rounded = graph.run(x.cpu().double(), _rounding(torch.finfo(x.dtype).eps, generator))
    allowed = _RELATIVE * _largest(exact) + _ROUNDING * _largest(rounded - exact)
    if isinstance(network, ExportedProgram):
        module = network.module()
        found = [_answer(module, x, size, exact) for size in _sizes(network, graph.batch)]
    else:
        with unchanged(network), evaluating(network):
            found = [_answer(network, x, size, exact) for size in (graph.batch, 1)]
    together, *others = (None if y is None else _alike(y, exact, allowed) for y in found)
    if together is False:
        remedy = "take out in-place edits, and whatever changes from call to call"
        raise ArgumentError("module", "what torch.export makes of it", "another function", remedy)
    if False in others:
        remedy = "take the size of the batch out of forward"
        raise ArgumentError("module", "one function for every size of the batch", "several", remedy)


def _sizes(program: ExportedProgram, batch: int) -> tuple[int, ...]:
    """Numbers of samples to ask a program on: those of its trace; where it takes others, one and many too."""
    size = like_input(program).shape[0]
    if isinstance(size, int):
        return (batch,)
    least = next((int(r.lower) for r in program.range_constraints.values()), batch)
    return (max(batch, least), 1, max(batch, least) + 1)


def _answer(
    network: Callable[[Tensor], Tensor], x: Tensor, size: int, exact: Tensor
) -> Float[Tensor, "samples entries"] | None:
    """For the first samples among `size` of them; None from a network that does not take so many.

    One that joins constants for two samples to them, say, is no network of one.
    """
    samples = x[torch.arange(size) % len(x)]
    try:
        y = network(samples).cpu().double()
    except (RuntimeError, ValueError, IndexError, AssertionError):
        return None
    entries = exact.numel() // len(x)
    return y.reshape(size, entries)[: len(x)] if y.numel() == size * entries else None


def _alike(value: Float[Tensor, "samples entries"], exact: Tensor, allowed: float) -> bool:
    """Whether two outputs are as close as is allowed, but where a short format overflows."""
    exact = exact.reshape(-1, value.shape[1])[: len(value)]
    return not bool(((value - exact).abs() > allowed)[value.isfinite()].any())


def _largest(x: Tensor) -> float:
    return x.abs().nan_to_num(0.0, posinf=0.0).max().item()


def _rounding(eps: float, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    def rounded(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        return value * (1 + eps * (2 * torch.randint(2, value.shape, generator=generator) - 1))

    return rounded
