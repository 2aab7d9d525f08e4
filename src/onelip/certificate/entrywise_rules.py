"""Rules for operators that act entry by entry: activations, scaling, sums, choices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from onelip.certificate import slopes
from onelip.certificate.batches import mixing
from onelip.certificate.effects import Effect, Elementwise, Rule, Scales, Sums, Unbounded
from onelip.certificate.graph import Node
from onelip.certificate.moves import copying
from onelip.certificate.nodes import argument, is_data, only_first
from onelip.certificate.rewrites import softplus
from onelip.certificate.slopes import ZERO_TO_ONE, Slopes, hull
from onelip.errors import NonFiniteError, UnknownOperatorError

COMPUTED = Unbounded(why="weights or statistics that depend on the input")
_TOO_SMALL = "a factor so small that float64 rounds it coarsely"


def _elementwise(make: Callable[..., Slopes], *names: str) -> Rule:
    """A rule for an activation whose slopes depend on the named numbers."""
    return lambda node: Elementwise(slopes=make(*(float(argument(node, name)) for name in names)))


def _constant_slopes(slopes: Slopes) -> Rule:
    return lambda node: Elementwise(slopes=slopes)


def _gelu(node: Node) -> Effect:
    tanh = argument(node, "approximate") == "tanh"
    return Elementwise(slopes=slopes.gelu_tanh() if tanh else slopes.gelu())


def _softplus(node: Node) -> Effect:
    if node.call is not softplus:
        return Unbounded(why="softplus jumps at a threshold below 20")
    return Elementwise(slopes=ZERO_TO_ONE)


def _threshold(node: Node) -> Effect:
    at, value = argument(node, "threshold"), argument(node, "value")
    return Elementwise(slopes=ZERO_TO_ONE) if at == value else Unbounded(why="threshold jumps")


def _celu(node: Node) -> Effect:
    if argument(node, "alpha") < 0:
        return Unbounded(why="celu with α < 0 grows exponentially")
    return Elementwise(slopes=ZERO_TO_ONE)


def _elu(node: Node) -> Effect:
    alpha, scale, input_scale = (float(argument(node, name)) for name in ("alpha", "scale", "input_scale"))
    if input_scale < 0:
        return Unbounded(why="elu with a negative input scale grows exponentially")
    return Elementwise(slopes=slopes.elu(alpha, scale, input_scale))


def _prelu(node: Node) -> Effect:
    weight = argument(node, "weight")
    if is_data(weight):
        return Unbounded(why="a slope that depends on the input")
    return Elementwise(slopes=hull(1.0, weight.min().item(), weight.max().item()))


def _rrelu(node: Node) -> Effect:
    lower, upper = argument(node, "lower"), argument(node, "upper")
    return Elementwise(slopes=hull(1.0, lower, upper))


def _clamp(node: Node) -> Effect:
    if len(node.inputs) > 1:
        return Unbounded(why="clamp with bounds that depend on the input")
    return Elementwise(slopes=ZERO_TO_ONE)


def extremum_of_two(node: Node) -> Effect:
    if len(node.inputs) == 1:
        return Elementwise(slopes=ZERO_TO_ONE)
    # Only tensors of different shape come here: pairs of one shape were rewritten as a sort.
    return Unbounded(why="maximum or minimum of tensors that broadcast: expand them to one shape")


def _product(node: Node) -> Effect:
    a, b = node.args[:2]
    if is_data(a) and is_data(b):
        return Unbounded(why="a product of two tensors that depend on the input")
    return scaling(_tensor(b if is_data(a) else a), "a factor that is not finite")


def _quotient(node: Node) -> Effect:
    b = node.args[1]
    if is_data(b) or argument(node, "rounding_mode") is not None:
        return Unbounded(why="a division by a tensor that depends on the input, or one that rounds")
    return scaling(1 / _tensor(b))


def _negation(node: Node) -> Effect:
    return Scales(factor=_tensor(-1.0))


def _tensor(value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def _power(node: Node) -> Effect:
    exponent = argument(node, "exponent")
    if isinstance(exponent, int | float) and exponent == 1:
        return Scales(factor=_tensor(1.0))
    return Unbounded(why="a power: its slope grows with the input, or is infinite at 0")


def _sum_of_two(sign: float, swap: bool = False) -> Rule:
    """a + sign·alpha·b, or b + sign·alpha·a where swapped, as in rsub."""

    def rule(node: Node) -> Effect:
        alpha = sign * float(argument(node, "alpha"))
        first, second = (node.args[1], node.args[0]) if swap else (node.args[0], node.args[1])
        weights = [weight for x, weight in ((first, 1.0), (second, alpha)) if is_data(x)]
        if is_data(first) and first is second:
            return Sums(weights=(_sum_outward(*weights),))
        order = {x: weight for x, weight in ((first, 1.0), (second, alpha)) if is_data(x)}
        return Sums(weights=tuple(order[x] for x in node.inputs))

    return rule


def _sum_outward(a: float, b: float) -> float:
    """a + b, moved away from zero where it was rounded."""
    total = a + b
    exact = total - a == b and total - b == a
    return total if exact else math.nextafter(total, math.copysign(math.inf, total))


def _batch_norm(node: Node) -> Effect:
    """Eval mode: x ↦ (x − mean)·γ/√(var + ε) + β, a diagonal map."""
    legit = node.operator == "_native_batch_norm_legit_no_training"
    training = False if legit else argument(node, "training")
    if training or argument(node, "running_mean") is None:
        raise mixing(node)
    return scaling(statistics_factor(node)) if only_first(node) else COMPUTED


def scaling(factor: Tensor, why: str = "a division by zero") -> Effect:
    """Multiplication by a constant, which a variance of zero makes infinite: that is what `why` says."""
    if not factor.isfinite().all():
        return Unbounded(why=why)
    if ((factor != 0) & (factor.abs() < torch.finfo(factor.dtype).tiny)).any():
        return Unbounded(why=_TOO_SMALL)
    return Scales(factor=factor)


def statistics_factor(node: Node) -> Tensor:
    """γ/√(var + ε) with stored statistics, in the shape that multiplies channels."""
    weight = argument(node, "weight")
    factor = (1 if weight is None else weight) / (
        argument(node, "running_var") + argument(node, "eps")
    ).sqrt()
    if weight is not None and ((factor == 0) & (weight != 0)).any():
        raise NonFiniteError(f"{node.place} has γ/√(variance + ε) smaller than float64 holds")
    return factor.reshape(-1, *[1] * (len(node.shape) - 2))


def _where(node: Node) -> Effect:
    if is_data(node.args[0] if node.operator == "where" else node.args[1]):
        return Unbounded(why="a choice that depends on the input may jump")
    return copying(node)


def _cast(node: Node) -> Effect:
    """Between floating types exact arithmetic changes nothing; to integers it rounds."""
    leaves = (*node.args, *node.kwargs.values())
    kinds = [leaf.dtype if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    if any(isinstance(kind, torch.dtype) and not kind.is_floating_point for kind in kinds):
        return Unbounded(why="a cast to integers jumps")
    return copying(node)


def _dropout(node: Node) -> Effect:
    if argument(node, "train"):
        raise UnknownOperatorError(f"{node.place} is random: export the module in eval mode")
    return copying(node)


_SLOPES_ZERO_TO_ONE = (
    "relu", "relu6", "tanh", "hardtanh", "atan", "arctan", "asinh", "arcsinh", "log_sigmoid",
    "softshrink", "softsign",
)  # fmt: skip

ENTRYWISE_RULES: dict[str, Rule] = {
    **dict.fromkeys(_SLOPES_ZERO_TO_ONE, _constant_slopes(ZERO_TO_ONE)),
    **dict.fromkeys(("abs", "sin", "cos"), _constant_slopes(slopes.MINUS_ONE_TO_ONE)),
    "sigmoid": _constant_slopes(slopes.SIGMOID),
    "hardsigmoid": _constant_slopes(slopes.HARD_SIGMOID),
    "hardswish": _constant_slopes(slopes.HARD_SWISH),
    "erf": _constant_slopes(slopes.ERF),
    "selu": _elementwise(slopes.selu),
    "silu": _elementwise(slopes.silu),
    "mish": _elementwise(slopes.mish),
    "leaky_relu": _elementwise(slopes.leaky_relu, "negative_slope"),
    "elu": _elu,
    "gelu": _gelu,
    "celu": _celu,
    "softplus": _softplus,
    "threshold": _threshold,
    **dict.fromkeys(("prelu", "_prelu_kernel"), _prelu),
    "rrelu": _rrelu,
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max"), _clamp),
    **dict.fromkeys(("maximum", "minimum"), extremum_of_two),
    "mul": _product,
    "div": _quotient,
    "neg": _negation,
    "pow": _power,
    "add": _sum_of_two(1.0),
    "sub": _sum_of_two(-1.0),
    "rsub": _sum_of_two(-1.0, swap=True),
    **dict.fromkeys(("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm"), _batch_norm),
    **dict.fromkeys(("where", "masked_fill"), _where),
    **dict.fromkeys(("to", "_to_copy", "type_as"), _cast),
    **dict.fromkeys(("dropout", "alpha_dropout", "feature_dropout"), _dropout),
}
