"""What a network may be, what is read from it, and what is refused in one line."""

import logging

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils._pytree import tree_leaves

from onelip.certificate.certify import certify
from onelip.certificate.trace import trace
from onelip.errors import ArgumentError, DataError, NonFiniteError, UnknownOperatorError
from tests.certificate.functions import Function


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 1))


def test_the_graph_is_the_network_in_eval_mode_in_float64():
    network = small()
    network[1].running_mean.normal_()
    graph = trace(network, (1, 6, 6))
    x = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    expected = network.double().eval()(x)
    torch.testing.assert_close(graph.run(x), expected, rtol=1e-12, atol=1e-12)


def test_the_modes_of_the_module_are_left_as_they_were():
    network = small().train()
    network[1].eval()
    modes = [part.training for part in network.modules()]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    certify(network, (1, 6, 6), starts=0)
    assert [part.training for part in network.modules()] == modes
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weights_of_every_precision_are_read_exactly(dtype):
    layer = nn.Linear(3, 2, bias=False).to(dtype)
    upper = certify(layer, (3,), starts=0).upper
    truth = torch.linalg.matrix_norm(layer.weight.detach().double(), 2).item()
    assert truth <= upper <= truth * (1 + 1e-4)


@pytest.mark.parametrize(
    "constrained", [parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal]
)
def test_a_parametrized_weight_is_evaluated_not_trusted(constrained):
    torch.manual_seed(0)
    layer = constrained(nn.Linear(4, 4))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(3)  # spectral_norm's vectors do not notice
    layer.eval()
    truth = torch.linalg.matrix_norm(layer.weight.detach().double(), 2).item()
    assert truth * (1 - 1e-6) <= certify(layer, (4,), starts=0).upper <= truth * (1 + 1e-4)


class Counting(nn.Module):
    """A parametrization with state that torch.export cannot trace."""

    def __init__(self):
        super().__init__()
        self.calls = torch.zeros(())

    def forward(self, W):
        self.calls.add_(1)
        return 2 * W


def test_parametrizations_need_not_be_traceable():
    layer = parametrize.register_parametrization(nn.Linear(3, 3), "weight", Counting())
    truth = torch.linalg.matrix_norm(layer.weight.detach().double(), 2).item()
    assert truth <= certify(layer, (3,), starts=0).upper <= truth * (1 + 1e-4)


def test_a_stale_spectral_norm_is_found_out():
    layer = parametrizations.spectral_norm(nn.Linear(32, 32)).eval()
    layer.parametrizations.weight.original.data = torch.randn(32, 32)
    assert certify(layer, (32,), starts=0).upper > 2


@pytest.mark.parametrize("batch", [1, 2, 5, "dynamic"])
def test_exported_programs_of_any_batch_size(batch):
    network = small().eval()
    example = torch.randn(3 if batch == "dynamic" else batch, 1, 6, 6)
    shapes = ({0: torch.export.Dim("batch")},) if batch == "dynamic" else None
    program = torch.export.export(network, (example,), dynamic_shapes=shapes)
    targets = [str(node.target) for node in program.graph.nodes]
    certificate = certify(program, (1, 6, 6), starts=1, steps=3)
    assert certificate.upper == pytest.approx(certify(network, (1, 6, 6), starts=0).upper, rel=1e-9)
    assert 0 < certificate.lower <= certificate.upper
    assert [str(node.target) for node in program.graph.nodes] == targets, "the caller's program was edited"


@pytest.mark.filterwarnings("ignore:.*isinstance.treespec:FutureWarning")
def test_a_program_in_core_aten_gives_the_same_bound():
    network = nn.Sequential(small(), nn.LeakyReLU(0.2), nn.Linear(1, 3), nn.Softmax(1)).eval()
    program = torch.export.export(network, (torch.randn(2, 1, 6, 6),)).run_decompositions()
    expected = certify(network, (1, 6, 6), starts=0).upper
    assert certify(program, (1, 6, 6), starts=0).upper == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore:.*isinstance.treespec:FutureWarning")
def test_a_program_exported_in_training_mode_is_refused():
    program = torch.export.export(small().train(), (torch.randn(2, 1, 6, 6),))
    with pytest.raises(ArgumentError, match=r"changes .*running_mean"):
        certify(program, (1, 6, 6))


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x + y


class TwoOutputs(nn.Module):
    def forward(self, x):
        return x, -x


class Constant(nn.Module):
    def forward(self, x):
        return torch.ones(2, 3)


with torch.inference_mode():
    INFERRED = nn.Linear(3, 2)


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (INFERRED, (3,), "weight must be a parameter made outside of inference mode"),
        (nn.Linear(3, 2), (4,), r"input_shape must be a shape that the network takes, tried as \(2, 4\)"),
        (nn.Linear(3, 2), (-1,), "input_shape must be a tuple of positive integers"),
        (Branching(), (3,), "module must be a network that torch.export can trace"),
        (TwoInputs(), (3,), "input_shape must be a shape that the network takes"),
        (TwoOutputs(), (3,), "module must be a function to one tensor, got 2 outputs"),
        (Constant(), (3,), "module must be a function to one tensor, got .*does not depend"),
    ],
)
def test_what_cannot_be_certified_is_refused_in_one_line(module, shape, message):
    with pytest.raises(ArgumentError, match=message) as raised:
        trace(module, shape)
    assert "\n" not in str(raised.value)


class Skip(nn.Module):
    """An edit in place behind a dropout, which reaches what the dropout was given."""

    def __init__(self):
        super().__init__()
        self.linear, self.dropout = nn.Linear(2, 2, bias=False), nn.Dropout(0.1)
        self.linear.weight.data.copy_(torch.eye(2))

    def forward(self, x):
        h = self.linear(x)
        return h + self.dropout(h).mul_(3)


@pytest.mark.parametrize("program", [False, True])
def test_an_edit_behind_a_dropout_reaches_both_branches(program):
    network = Skip().eval()
    if program:
        network = torch.export.export(network, (torch.zeros(2, 2),))
    before = str(network.graph) if program else ""
    certificate = certify(network, (2,), starts=1)
    assert certificate.lower == pytest.approx(6)
    assert 6 <= certificate.upper <= 6.001
    assert before == (str(network.graph) if program else "")


VIEWS = {
    "einsum": lambda h: torch.einsum("bi->bi", h),
    "unsafe_chunk": lambda h: h.unsafe_chunk(2, 1)[0],
    "unsafe_split": lambda h: torch.unsafe_split(h, 2, 1)[0],
    "unsafe_split_with_sizes": lambda h: torch.unsafe_split_with_sizes(h, [1, 3], 1)[0],
}


def edited(view):
    """x, a part of which is tripled through a view of it."""

    def function(x):
        h = 1.0 * x
        view(h).mul_(3)
        return h

    return Function(function)


@pytest.mark.parametrize("program", [False, True])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_edits_reach_what_views_are_of_though_no_schema_says_so(view, program):
    network = edited(view)
    if program:
        network = torch.export.export(network, (torch.zeros(2, 4),))
    certificate = certify(network, (4,), starts=1)
    assert (certificate.lower, certificate.upper) == pytest.approx((3, 3), rel=0.01)


CONTEXTS = {
    "autocast": lambda: torch.autocast("cpu", enabled=False),
    "no gradients": torch.no_grad,
    "gradients": torch.enable_grad,
}


@pytest.mark.filterwarnings("ignore:.*isinstance.treespec:FutureWarning")
@pytest.mark.parametrize("program", [False, True])
@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
def test_contexts_within_forward_are_written_out_with_the_edits_in_them(context, program):
    def function(x):
        h = 1.0 * x
        with context():
            torch.einsum("bi->bi", h).mul_(3)
        return h

    network = Function(function)
    if program:
        network = torch.export.export(network, (torch.zeros(2, 4),))
    certificate = certify(network, (4,), starts=1)
    assert (certificate.lower, certificate.upper) == pytest.approx((3, 3), rel=0.01)


def test_a_choice_of_programs_is_named():
    chosen = Function(lambda x: torch.cond(x.sum() > 0, lambda z: 2 * z, lambda z: 3 * z, (x,)))
    with pytest.raises(UnknownOperatorError, match="no sound rule for cond"):
        trace(chosen, (3,))


class Grows(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = 1.0

    def forward(self, x):
        self.factor *= 2
        return x * self.factor


def unless_traced(otherwise):
    return lambda x: x if torch.compiler.is_compiling() else otherwise(x)


class Times(nn.Module):
    """x times a buffer of two rows, and so two samples from one."""

    def __init__(self):
        super().__init__()
        self.register_buffer("rows", torch.ones(2, 3))

    def forward(self, x):
        return x * self.rows


class Alone(nn.Module):
    """A little more of one sample alone, less than a short format tells apart."""

    def __init__(self, dtype, factor=1.005):
        super().__init__()
        self.weight, self.factor = nn.Parameter(torch.eye(3, dtype=dtype)), factor

    def forward(self, x):
        y = x @ self.weight
        return self.factor * y if x.shape[0] == 1 else y


FORMATS = (torch.float32, torch.float16, torch.bfloat16)
OTHERS = {
    "as many": unless_traced(lambda x: 1.01 * x),
    "more": unless_traced(lambda x: torch.cat([x, 10 * x], 1)),
    "far out": unless_traced(lambda x: torch.where(x.abs() > 20, 10 * x, x)),
    "with gradients": lambda x: 10 * x if torch.is_grad_enabled() else x,
    "where one is wanted": lambda x: 10 * x if x.requires_grad else x,
}
BATCHES = {
    "its size": lambda x: x / x.shape[0],
    "its length": lambda x: x.sum(1) / len(x),
    "a count of samples": lambda x: x / torch.ones_like(x).sum(0),
    "a branch": lambda x: 10 * x if x.shape[0] == 1 else x,
}


@pytest.mark.parametrize(
    ("network", "message"),
    [(Grows(), "what torch.export makes of it"), (Times(), "one function for every")]
    + [(Alone(dtype), "one function for every") for dtype in FORMATS]
    + [(Function(function), "what torch.export makes of it") for function in OTHERS.values()]
    + [(Function(function), "one function for every size of the batch") for function in BATCHES.values()],
)
def test_what_computes_something_else_than_its_trace_is_refused(network, message):
    with pytest.raises(ArgumentError, match=message):
        certify(network, (3,), starts=0)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("cast", FORMATS)
def test_short_formats_are_no_other_function(dtype, cast):
    assert certify(Alone(dtype, factor=1), (3,), starts=0).upper == pytest.approx(1, rel=1e-4)
    assert certify(Function(lambda x: (1.5 * x.to(cast)).float()), (3,), starts=0).upper < 1.501


def test_what_rounding_alone_tells_apart_is_no_other_function():
    """Zero but for the rounding of float64, which differs with the size of the batch."""

    def nothing(x):
        k = 49 if x.shape[0] == 1 else 47
        return x / k * k - x

    assert certify(Function(nothing), (3,), starts=0).upper < 1e-9


@pytest.mark.parametrize("wrap", [lambda y: (y,), lambda y: [y], lambda y: {"logits": y}])
def test_the_one_output_may_be_wrapped(wrap):
    assert certify(Function(lambda x: wrap(torch.relu(x))), (3,), starts=1).upper == 1


@pytest.mark.parametrize(
    "after", [lambda y: y.T.contiguous(), lambda y: y + y.flip(0)], ids=["turned", "mixed"]
)
def test_without_a_bound_too_samples_stay_apart(after):
    program = torch.export.export(Function(lambda x: after(x * x.tanh())), (torch.zeros(2, 3),))
    with pytest.raises(ArgumentError, match="maps sample by sample, with the batch axis first"):
        certify(program, (3,), starts=1)


@pytest.mark.parametrize("least", [1, 4])
def test_programs_of_any_number_of_samples_are_asked_on_several(least):
    sizes = ({0: torch.export.Dim("samples", min=least, max=64)},)
    for function, fits in ((torch.relu, True), (lambda x: x / x.shape[0], False)):
        program = torch.export.export(Function(function), (torch.zeros(8, 3),), dynamic_shapes=sizes)
        if fits:
            assert certify(program, (3,), starts=1).upper == 1
        else:
            with pytest.raises(ArgumentError, match="module must be"):
                certify(program, (3,), starts=1)


class Doubles(nn.Module):
    """Doubles its factor, a parameter or a buffer, in place or by another tensor, in each forward."""

    def __init__(self, parameter, in_place):
        super().__init__()
        self.in_place = in_place
        if parameter:
            self.factor = nn.Parameter(torch.ones(1))
        else:
            self.register_buffer("factor", torch.ones(1))

    def forward(self, x):
        with torch.no_grad():
            if self.in_place:
                self.factor.mul_(2)
            else:
                self.factor = self.factor * 2
        return x * self.factor


@pytest.mark.parametrize(("parameter", "in_place"), [(True, True), (False, True), (False, False)])
def test_what_changes_itself_is_refused_and_left_as_it_was(parameter, in_place):
    network = Doubles(parameter, in_place)
    held = network.factor
    with pytest.raises(ArgumentError, match=r"one that changes \['factor'\]"):
        certify(network, (3,), starts=0)
    assert network.factor is held
    assert held.item() == 1


ONE = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((ONE,), {}), ((), {"x": ONE}), (([ONE],), {}), (({"x": ONE},), {})],
    ids=["by place", "by name", "in a list", "in a dict"],
)
def test_a_program_takes_its_one_tensor_as_it_was_exported_with_it(args, kwargs):
    program = torch.export.export(Function(lambda x: 2 * tree_leaves(x)[0]), args, kwargs)
    assert certify(program, (3,), starts=1).upper == pytest.approx(2)


def test_a_program_of_integers_is_refused():
    program = torch.export.export(nn.Embedding(5, 2), (torch.zeros(2, 3, dtype=torch.long),))
    with pytest.raises(ArgumentError, match="module must be a function of real numbers"):
        certify(program, (3,))


def test_a_program_of_another_shape_is_refused():
    program = torch.export.export(nn.Linear(3, 2), (torch.randn(2, 3),))
    with pytest.raises(ArgumentError, match=r"input_shape must be \(3\), as exported, got \(4,\)"):
        certify(program, (4,))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_raise_by_name(value):
    network = small()
    network[4].weight.data[0, 3] = value
    with pytest.raises(NonFiniteError, match=r"4\.weight"):
        certify(network, (1, 6, 6))


def test_weights_that_become_nan_on_evaluation_raise_by_layer():
    network = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3)))
    network[0].parametrizations.weight.original1.data.zero_()
    with pytest.raises(NonFiniteError, match=r"linear in '0'"):
        certify(network, (3,))


def leaves(x):
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("function", "shape", "message"),
    [
        (leaves, (3,), "a shape that the network takes, .* SystemExit"),
        (lambda x: leaves(x) if torch.compiler.is_compiling() else x, (3,), "torch.export can trace"),
        (torch.relu, (10**7, 10**7), "a shape that the network takes"),
        (torch.relu, (10**12, 10**12), "a shape that the network takes"),
    ],
)
def test_what_cannot_be_run_is_one_line(function, shape, message):
    with pytest.raises(ArgumentError, match=message) as raised:
        trace(Function(function), shape)
    assert "\n" not in str(raised.value)


def test_a_program_that_was_tampered_with_is_one_line_and_no_more(capfd, caplog):
    program = torch.export.export(Function(lambda x: x.unsqueeze(1).relu()), (torch.zeros(2, 3),))
    (node,) = program.graph.find_nodes(op="call_function", target=torch.ops.aten.unsqueeze.default)
    node.args = (node.args[0], 9)
    with pytest.raises(DataError, match="cannot be read: IndexError") as raised:
        trace(program, (3,))
    assert "\n" not in str(raised.value)
    assert not any(capfd.readouterr())
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


def test_a_sparse_constant_is_refused():
    eye = torch.eye(3).to_sparse()
    with pytest.raises(ArgumentError, match=r"a weight of _sparse_mm .* must be a dense tensor"):
        trace(Function(lambda x: torch.sparse.mm(eye, x.T).T), (3,))
