"""Does the traced graph compute what the network computes? Asked on random inputs.

It can refuse and proves nothing: a check on the tracing, which other software does, and on forwards that
depend on what no graph holds, such as the size of the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves, tree_unflatten

from onelip.certificate.graph import Graph
from onelip.certificate.state import unchanged
from onelip.certificate.trace import like_input
from onelip.errors import ArgumentError, NonFiniteError
from onelip.linear.autocast import on_cpu
from onelip.linear.layers import evaluating, plain_copy

# Of the inputs, and whether gradients are wanted: branches that torch.export did not see may lie anywhere.
_SCALES = ((1.0, True), (1e-3, False), (1e3, False))
_RELATIVE = 1e-4  # of the largest output
_ROUNDING = 64.0  # times what rounding each intermediate number moves

Function = Callable[[Tensor], Any]


@torch.no_grad()
def require_agreement(network: nn.Module | ExportedProgram, graph: Graph) -> None:
    """Raise ArgumentError where graph and network differ on random samples, on several together or one alone.

    A program is asked on as many samples as it was exported for: on one only where that is among them.
    """
    if isinstance(network, ExportedProgram):
        _ask(_of_one_tensor(network), graph, like_input(network), _sizes(network, graph.batch))
        return
    with unchanged(network), evaluating(network):
        precise = _in_float64(network, graph)
        like = (
            torch.zeros((), dtype=torch.float64, device="cpu")
            if precise is not network
            else like_input(network)
        )
        _ask(precise, graph, like.to(like_input(network).device), (graph.batch, 1))


@torch.no_grad()
def require_separate_samples(graph: Graph) -> None:
    """Raise ArgumentError where what comes first of the output depends on samples after the first."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(graph.input.shape, generator=generator, dtype=torch.float64) for _ in range(2))
    y[0] = x[0]
    first, again = (graph.run(samples).reshape(graph.batch, -1)[0] for samples in (x, y))
    if _largest(first - again) > 1e-9 * _largest(first):
        wanted = "a network that maps sample by sample, with the batch axis first"
        remedy = "transpose its output, or take out what joins samples"
        raise ArgumentError("module", wanted, "an output that depends on other samples", remedy)


@torch.no_grad()
def require_no_nan(graph: Graph) -> None:
    """Raise NonFiniteError where the output of a bounded graph is NaN: its constants have made it so.

    Asked at zero, where nothing overflows that is bounded.
    """
    if graph.run(torch.zeros(graph.input.shape, dtype=torch.float64)).isnan().any():
        made_so = "a constant that is NaN, or infinities that meet, such as a row that a mask leaves empty"
        raise NonFiniteError(f"the output is NaN whatever the input, by {made_so}")


def _of_one_tensor(program: ExportedProgram) -> Function:
    """The program, given its one tensor as it was exported with it: by name perhaps, or in a list."""
    function, nested = program.module(), program.call_spec.in_spec
    assert nested is not None, "no program comes without"

    def call(x: Tensor) -> Any:
        args, kwargs = tree_unflatten([x], nested)
        return function(*args, **kwargs)

    return call


def _ask(function: Function, graph: Graph, like: Tensor, sizes: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    eps = max([torch.finfo(dtype).eps for dtype in (like.dtype, *graph.casts)])
    for scale, gradients in _SCALES:
        with on_cpu():
            x = (scale * torch.randn(graph.input.shape, generator=generator)).to(like)
            exact = graph.run(x.cpu().double())
            rounded = graph.run(x.cpu().double(), _rounding(eps, generator))
        allowed = _RELATIVE * _largest(exact) + _ROUNDING * _largest(rounded - exact)
        together, *others = (
            _agrees(partial(_answer, function, gradients), x, size, exact, allowed) for size in sizes
        )
        underivable = together is None and gradients  # asked without them alone
        if not together and not underivable:
            remedy = "take out in-place edits, and whatever changes from call to call"
            raise ArgumentError("module", "what torch.export makes of it", "another function", remedy)
        if False in others:
            remedy = "take the size of the batch out of forward"
            raise ArgumentError("module", "one function for every size of the batch", "several", remedy)


def _in_float64(network: nn.Module, graph: Graph) -> nn.Module:
    """A copy that computes in float64, with the weights that were traced; the network where there is none."""
    try:
        precise = plain_copy(network).double()
        device = like_input(precise).device
        precise(torch.zeros(graph.input.shape, dtype=torch.float64, device=device))
    except (Exception, SystemExit):  # a module raises what it likes, and may hold what cannot be copied
        return network
    return precise


def _sizes(program: ExportedProgram, batch: int) -> tuple[int, ...]:
    """Numbers of samples to ask a program on: those of its trace; where it takes others, one and many too."""
    size = like_input(program).shape[0]
    if isinstance(size, int):
        return (batch,)
    least = next((int(r.lower) for r in program.range_constraints.values()), batch)
    return (max(batch, least), 1, max(batch, least) + 1)


def _answer(function: Function, gradients: bool, samples: Tensor) -> Tensor:
    with torch.set_grad_enabled(gradients):
        (y,) = tree_leaves(function(samples.requires_grad_(gradients).clone()))  # a leaf takes no edits
    return y.detach()


def _agrees(
    answer: Callable[[Tensor], Tensor],
    x: Float[Tensor, "samples *shape"],
    size: int,
    exact: Tensor,
    allowed: float,
) -> bool | None:
    """Whether a function answers as is allowed for `size` samples; None where it does not take so many."""
    samples = x[torch.arange(size, device=x.device) % len(x)]
    try:
        y = answer(samples)
    except (Exception, SystemExit):  # a module raises what it likes
        return None
    entries = exact.numel() // len(x)
    if y.numel() != size * entries:
        return False
    value = y.cpu().double().reshape(size, entries)[: len(x)]
    difference = (value - exact.reshape(len(x), entries)[: len(value)]).abs()
    return not bool((difference > allowed)[value.isfinite()].any())  # where a short format does not overflow


def _largest(x: Tensor) -> float:
    return x.abs().nan_to_num(0.0, posinf=0.0).max().item() if x.numel() else 0.0


def _rounding(eps: float, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    def rounded(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        signs = 2 * torch.randint(2, value.shape, generator=generator) - 1
        return value * (1 + eps * signs.to(value))  # whole numbers times eps would be float32, and 1 + it 1

    return rounded
