"""Every slope interval against the function that torch evaluates, sampled finely in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from onelip.certificate import slopes
from onelip.certificate.certify import certify

CASES = [
    ("relu", F.relu, slopes.ZERO_TO_ONE),
    ("leaky_relu", lambda x: F.leaky_relu(x, 0.2), slopes.leaky_relu(0.2)),
    ("leaky_relu, steep", lambda x: F.leaky_relu(x, -1.7), slopes.leaky_relu(-1.7)),
    ("tanh", torch.tanh, slopes.ZERO_TO_ONE),
    ("softsign", F.softsign, slopes.ZERO_TO_ONE),
    ("softplus", lambda x: F.softplus(x, 3.0, 100), slopes.ZERO_TO_ONE),
    ("sigmoid", torch.sigmoid, slopes.SIGMOID),
    ("hardsigmoid", F.hardsigmoid, slopes.HARD_SIGMOID),
    ("hardswish", F.hardswish, slopes.HARD_SWISH),
    ("erf", torch.erf, slopes.ERF),
    ("abs", torch.abs, slopes.MINUS_ONE_TO_ONE),
    ("sin", torch.sin, slopes.MINUS_ONE_TO_ONE),
    ("elu", lambda x: F.elu(x, 1.8), slopes.elu(1.8)),
    ("elu, scaled", lambda x: torch.ops.aten.elu(x, 1.8, 0.7, 2.0), slopes.elu(1.8, 0.7, 2.0)),
    ("selu", F.selu, slopes.selu()),
    ("gelu", F.gelu, slopes.gelu()),
    ("gelu, tanh", lambda x: F.gelu(x, approximate="tanh"), slopes.gelu_tanh()),
    ("silu", F.silu, slopes.silu()),
    ("mish", F.mish, slopes.mish()),
]
LOOSE_BELOW = {"mish", "softsign"}  # mish: only its Lipschitz constant is tight; softsign: 0 is far away


@pytest.mark.parametrize(("name", "function", "derived"), CASES, ids=[name for name, _, _ in CASES])
def test_the_interval_holds_all_sampled_slopes_and_is_no_wider(name, function, derived):
    x = torch.linspace(-12, 12, 480_001, dtype=torch.float64)
    sampled = function(x).diff() / x.diff()
    assert derived.low - 1e-9 <= sampled.min() <= (1 if name in LOOSE_BELOW else derived.low + 1e-3)
    assert derived.high - 1e-3 <= sampled.max() <= derived.high + 1e-9


def test_constants_of_smooth_gates_to_eight_digits():
    """Maxima of φ' found by Newton's method on φ'' in 50-digit arithmetic."""
    known = {slopes.gelu: 1.1289041451861, slopes.silu: 1.0998393194513, slopes.mish: 1.0884981607}
    for derive, value in known.items():
        assert value <= derive().high <= value + 2e-8


def test_activations_written_out_are_recognised():
    class Swish(nn.Module):
        def forward(self, x):
            return torch.sigmoid(x) * x

    assert certify(Swish(), (3,), starts=0).upper == slopes.silu().high
    assert certify(nn.Softsign(), (3,), starts=0).upper == 1


@pytest.mark.parametrize(
    ("module", "expected"),
    [(nn.Softplus(threshold=3.0), "jumps"), (nn.Threshold(0.1, 20.0), "jumps"), (nn.Hardshrink(), "jumps"),
     (nn.CELU(-1.0), "grows")],
    ids=str,
)  # fmt: skip
def test_activations_that_jump_or_grow_have_no_bound(module, expected):
    certificate = certify(module, (3,), starts=0)
    assert certificate.upper == float("inf")
    assert expected in certificate.why


def test_the_derivative_that_torch_evaluates_for_hardsigmoid_is_covered_too():
    x = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    (derivative,) = torch.autograd.grad(F.hardsigmoid(x), x)
    assert 1 / 6 < derivative.item() <= slopes.HARD_SIGMOID.high < 1 / 6 * (1 + 1e-7)
