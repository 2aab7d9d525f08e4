"""What is the Lipschitz constant of this network, and how do you know."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.export import ExportedProgram

from onelip.certificate.agreement import require_agreement, require_no_nan, require_separate_samples
from onelip.certificate.bounds import Bound
from onelip.certificate.compose import Composition
from onelip.certificate.effects import Copies, Effect, Linear
from onelip.certificate.graph import Node
from onelip.certificate.probe import Witness, probe, ratio
from onelip.certificate.trace import trace
from onelip.errors import ArgumentError, ContradictionError
from onelip.linear.autocast import on_cpu, require_subnormals, without_autocast
from onelip.linear.interval import NormInterval
from onelip.linear.maps import Convolution, LinearMap
from onelip.linear.norm import reshaped_norm
from onelip.rounding import decimal


@dataclass(frozen=True)
class Layer:
    """One operator of the network: what it does alone, and the bound on everything up to it.

    name: the module that it belongs to. norm: of the operator alone, None for sums and what has no bound.
    reshaped: ‖W.flatten(1)‖₂ where it has a weight, which for a convolution is another number.
    cumulative: bound from the network's input to here. method: what gave it. note: why, in words.
    """

    name: str
    operator: str
    norm: NormInterval | None
    reshaped: float | None
    cumulative: float
    method: str
    note: str = ""


@dataclass(frozen=True, eq=False)
class Certificate:
    """lower ≤ Lip(f) ≤ upper in the ℓ2 norm, for the exact-arithmetic function f of the stored weights.

    f is the network in eval mode on one sample, of as many as a program was exported for. `upper` is proved
    and rounded outward, and infinite for the reason `why` where no finite bound is known; `method` says what
    gave it. `lower` is the ratio of the witness, a pair of inputs evaluated in float64, less an allowance for
    its rounding (0 without one).
    """

    lower: float
    upper: float
    layers: tuple[Layer, ...]
    witness: Witness | None
    method: str
    why: str
    input_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.lower <= self.upper:
            raise ContradictionError(
                f"a witness of {self.lower} above the bound {self.upper}: please report this network"
            )

    def __str__(self) -> str:
        """In one line, the bounds rounded outward."""
        lower, upper = decimal(self.lower, 6, "lower"), decimal(self.upper, 6, "upper")
        return f"{lower} ≤ Lipschitz constant ≤ {upper}   (ℓ2, {self.method})"

    def recheck(self, module: nn.Module | ExportedProgram) -> float:
        """The witness's ratio, evaluated again on `module`. Raises ArgumentError without a witness."""
        if self.witness is None:
            raise ArgumentError(
                "certificate", "one with a witness", "starts=0", "certify with starts=1 or more"
            )
        return ratio(trace(module, self.input_shape), self.witness.x, self.witness.y)


@without_autocast()
@torch.inference_mode(False)
def certify(
    module: nn.Module | ExportedProgram,
    input_shape: tuple[int, ...],
    *,
    starts: int = 4,
    steps: int = 50,
    seed: int = 0,
) -> Certificate:
    """Bound the ℓ2 Lipschitz constant of a network from above, with proof, and from below, with a witness.

    module: any network of one tensor that torch.export can trace, in eval mode whatever its current mode,
        or an exported program. Weight parametrizations are evaluated, not trusted.
    input_shape: of one sample, without the batch axis.
    starts, steps, seed: of the search for the witness; starts=0 leaves `lower` at 0.

    Raises UnknownOperatorError for an operator without a rule and for one that mixes the samples of a
    batch, NonFiniteError for NaN or infinite weights and an output that is NaN by its constants,
    ArgumentError for what cannot be traced or computes something else than its trace, as a forward that
    asks for the size of the batch may, or for whether gradients are wanted. Products of two
    tensors that depend on the input (attention, gates) give an infinite bound and the reason.

    >>> import torch
    >>> network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> network[0].weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    >>> certificate = certify(network, input_shape=(2,))
    >>> round(certificate.lower, 3), round(certificate.upper, 3)
    (4.0, 4.0)
    """
    require_subnormals()
    _check_search(starts, steps, seed)
    graph = trace(module, input_shape)
    composition = Composition(graph)
    with on_cpu():
        bound = composition.run()
    _check_output(bound)
    if starts or bound.constant < math.inf:  # an infinite bound alone holds for any function
        require_agreement(module, graph)
    with on_cpu():
        if bound.constant < math.inf:
            require_no_nan(graph)
        elif starts:  # else the rules have seen to it
            require_separate_samples(graph)
        witness = probe(graph, starts, steps, seed)
    return Certificate(
        lower=0.0 if witness is None else witness.ratio,
        upper=bound.constant,
        layers=tuple(
            _layer(node, known) for node, known in composition.bounds.items() if _is_worth_a_row(known)
        ),
        witness=witness,
        method=bound.method,
        why=bound.why or ("the bound exceeds the largest float64" if bound.constant == math.inf else ""),
        input_shape=tuple(input_shape),
    )


def _check_search(starts: object, steps: object, seed: object) -> None:
    for name, value, least, usual in (
        ("starts", starts, 0, 4),
        ("steps", steps, 1, 50),
        ("seed", seed, 0, 0),
    ):
        if not isinstance(value, int) or value < least:
            raise ArgumentError(name, f"an integer of at least {least}", repr(value), f"pass {name}={usual}")


def _check_output(bound: Bound) -> None:
    if bound.constant < math.inf and bound.batch_axis != 0:
        received = f"axis {bound.batch_axis}"
        raise ArgumentError("module", "a network with the batch axis first", received, "transpose its output")


def _is_worth_a_row(bound: Bound) -> bool:
    """Moves that copy nothing twice change no distance, and the input is no layer."""
    return type(bound.effect) is not Effect and not (isinstance(bound.effect, Copies) and bound.norm is None)


def _layer(node: Node, bound: Bound) -> Layer:
    map = bound.effect.map if isinstance(bound.effect, Linear) else None
    reshaped = None if map is None else _reshaped_norm(map)
    operator = "batch_norm" if "batch_norm" in node.operator else node.operator
    return Layer(node.layer, operator, bound.norm, reshaped, bound.constant, bound.method, bound.why)


def _reshaped_norm(map: LinearMap) -> float:
    """What torch's spectral_norm divides by, from above."""
    transposed = isinstance(map, Convolution) and map.transposed
    return reshaped_norm(map.weight.transpose(0, 1) if transposed else map.weight).upper
