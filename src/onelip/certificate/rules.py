"""ATen operator → what it does to a difference of inputs. An operator without a rule raises.

Rules are keyed by ATen's name without overload, as the traced graph holds it. Each looks at one node,
whose constants are float64 tensors, and answers with an Effect; what these compose to is in compose.py.
"""

from __future__ import annotations

from onelip.certificate.effects import Effect, Rule, Unbounded, no_rule
from onelip.certificate.entrywise_rules import ENTRYWISE_RULES
from onelip.certificate.graph import Node
from onelip.certificate.group_rules import GROUP_RULES
from onelip.certificate.linear_rules import LINEAR_RULES
from onelip.certificate.moves import MOVES, copying

_JUMPS = (
    "round", "floor", "ceil", "trunc", "sign", "sgn", "heaviside", "hardshrink", "argmax", "argmin",
    "argsort", "gt", "ge", "lt", "le", "eq", "ne", "isnan", "isinf", "logical_not", "logical_and",
    "logical_or", "one_hot", "bitwise_not", "bitwise_and", "bitwise_or", "fmod", "remainder",
    "floor_divide", "frac", "median", "mode", "searchsorted", "bucketize", "embedding", "nonzero",
)  # fmt: skip
_CURVES = (
    "square", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sqrt", "rsqrt", "reciprocal",
    "prod", "cumprod", "sinh", "cosh", "tan", "var", "std", "var_mean", "std_mean", "addcmul", "addcdiv",
    "acos", "asin", "atanh", "erfinv", "logit", "lgamma", "digamma",
)  # fmt: skip
_PRODUCTS = (
    "scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu", "lstm", "gru",
    "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell",
    "cosine_similarity", "glu", "dot", "outer", "bilinear", "_trilinear", "cross", "grid_sampler",
    "cdist", "_native_multi_head_attention",
)  # fmt: skip


def _unbounded(why: str) -> Rule:
    return lambda node: Unbounded(why=why)


RULES: dict[str, Rule] = {
    **dict.fromkeys(MOVES, copying),
    **ENTRYWISE_RULES,
    **GROUP_RULES,
    **LINEAR_RULES,
    **dict.fromkeys(_JUMPS, _unbounded("a function that jumps")),
    **dict.fromkeys(_CURVES, _unbounded("a function whose slope is not bounded")),
    **dict.fromkeys(_PRODUCTS, _unbounded("a product of two tensors that depend on the input")),
}


def effect_of(node: Node) -> Effect:
    """The rule for `node`, applied. Raises UnknownOperatorError where there is none."""
    rule = RULES.get(node.operator)
    if rule is None:
        raise no_rule(node.place)
    return rule(node)
