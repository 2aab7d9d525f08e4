"""The weight in use against a dense SVD of the operator: at rest, while it moves, and after it was edited."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations as torch_parametrizations

from onelip.constraint.apply import constrain, refresh
from onelip.linear.layers import linear_map

LAYERS = [
    (lambda: nn.Linear(7, 5), (7,)),
    (lambda: nn.Linear(9, 1), (9,)),
    (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=2, groups=2, padding_mode="reflect"), (4, 6)),
    (lambda: nn.Conv2d(3, 4, 3, padding=1), (3, 6, 5)),
    (lambda: nn.Conv2d(2, 3, 4, stride=2, padding=1), (2, 7, 6)),
    (lambda: nn.Conv2d(2, 2, 3, dilation=2, padding=2, padding_mode="circular"), (2, 5, 6)),
    (lambda: nn.Conv2d(6, 6, 3, padding="same", groups=6), (6, 4, 4)),
    (lambda: nn.Conv3d(1, 2, 2, stride=2, padding=1, padding_mode="replicate"), (1, 3, 4, 2)),
    (lambda: nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1), (4, 3, 4)),
]


def norm(layer: nn.Module, shape: tuple[int, ...]) -> float:
    """The operator norm of the weight in use, in the mode that the layer is in."""
    weight = layer.weight.detach().double()
    return torch.linalg.matrix_norm(linear_map(layer, shape, weight).dense(), 2).item()


def reshaped_norm(layer: nn.Module) -> float:
    weight = layer.weight.detach().double()
    weight = weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight
    return torch.linalg.matrix_norm(weight.flatten(1), 2).item()


def raw(layer: nn.Module) -> nn.Parameter:
    return layer.parametrizations.weight.original


@pytest.fixture(params=LAYERS, ids=lambda case: str(case[0]()))
def case(request):
    make, shape = request.param
    torch.manual_seed(0)
    return make(), shape


@pytest.mark.parametrize("target", [1.0, 0.3])
def test_operator_norm_is_the_target_in_both_modes(case, target):
    layer, shape = case
    constrain(layer, "spectral", input_shape=shape, target=target)
    assert norm(layer, shape) == pytest.approx(target, rel=1e-3)
    assert norm(layer.eval(), shape) == pytest.approx(target, rel=1e-3)


def test_reshaped_norm_is_the_target(case):
    layer, _ = case
    constrain(layer, "spectral-reshaped")
    assert reshaped_norm(layer) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("kind", ["spectral", "spectral-reshaped"])
def test_contains_says_where_the_constraint_holds(case, kind):
    layer, shape = case
    constrain(layer, kind, input_shape=shape)
    constraint, weight = layer.parametrizations.weight[0], layer.eval().weight.detach()
    assert constraint.contains(weight, atol=0.05)
    assert not constraint.contains(1.1 * weight, atol=0.05)
    assert not constraint.contains(0.9 * weight, atol=0.05)


def test_what_torch_calls_reshaped_is_what_we_do(case):
    layer, _ = case
    theirs = torch_parametrizations.spectral_norm(copy.deepcopy(layer), n_power_iterations=200).eval()
    ours = constrain(layer, "spectral-reshaped").eval()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-3, atol=1e-4)


def test_sigma_is_differentiated_as_on_the_operator(case):
    """∂σ = uᵀ∂A v: the gradient through the constraint is that through the norm of the dense matrix."""
    layer, shape = case
    layer = layer.double()
    weight = layer.weight.detach().clone().requires_grad_()
    probe = torch.randn_like(weight)
    sigma = torch.linalg.matrix_norm(linear_map(layer, shape, weight).dense(), 2)
    (expected,) = torch.autograd.grad((probe * weight / sigma).sum(), weight)
    constrain(layer, "spectral", input_shape=shape, tolerance=1e-8)
    (layer.eval().weight * probe).sum().backward()
    torch.testing.assert_close(raw(layer).grad, expected, rtol=1e-3, atol=1e-3)


def critic_steps(layer: nn.Linear, steps: int = 500):
    """A Wasserstein critic of two shifted clouds: a loss that always pushes the same way, as critics' do."""
    torch.manual_seed(0)
    head = torch.randn(256) / 16
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3, betas=(0.0, 0.9))
    for _ in range(steps):
        x = torch.randn(16, 256)
        optimizer.zero_grad()
        weight = layer.weight
        score = (torch.relu((x + 1) @ weight.T) @ head).mean() - (torch.relu(x @ weight.T) @ head).mean()
        score.backward()
        optimizer.step()
        yield weight.detach()


def leading(weight: torch.Tensor) -> float:
    return torch.linalg.eigvalsh(weight.double() @ weight.double().T)[-1].sqrt().item()


def test_lag_behind_adam_stays_within_one_per_cent_where_torch_is_half_off():
    torch.manual_seed(0)
    ours = constrain(nn.Linear(256, 256), "spectral")
    theirs = torch_parametrizations.spectral_norm(copy.deepcopy(nn.Linear(256, 256)))
    worst = {"training": 0.0, "eval": 0.0, "torch": 0.0}
    for i, weight in enumerate(critic_steps(ours)):
        if i < 25 or i % 25 == 0:
            worst["training"] = max(worst["training"], abs(leading(weight) - 1))
            worst["eval"] = max(worst["eval"], abs(leading(ours.eval().weight.detach()) - 1))
            ours.train()
    for weight in critic_steps(theirs, steps=25):
        worst["torch"] = max(worst["torch"], abs(leading(weight) - 1))
    assert worst["training"] < 0.01, worst
    assert worst["eval"] < 0.01, worst
    assert worst["torch"] > 0.3, worst


def test_estimate_advances_once_a_change_of_the_weight():
    torch.manual_seed(0)
    layer = constrain(nn.Conv2d(2, 3, 3), "spectral", input_shape=(2, 6, 6))
    with torch.no_grad():
        raw(layer).add_(torch.randn_like(raw(layer)))
    first = layer.weight
    state = copy.deepcopy(layer.state_dict())
    torch.testing.assert_close(layer.weight, first, rtol=0, atol=0)
    torch.testing.assert_close(layer.state_dict(), state, rtol=0, atol=0)


def edit_in_place(layer):
    with torch.no_grad():
        raw(layer).mul_(3)[0] += 1


def edit_through_data(layer):
    raw(layer).data[1, 0] += 5


def edit_by_assignment(layer):
    layer.weight = torch.randn_like(raw(layer))


def edit_by_loading(layer):
    state = layer.state_dict()
    state["parametrizations.weight.original"] = 4 * torch.randn_like(raw(layer))
    layer.load_state_dict(state)


def edit_by_averaging(layer):
    other = constrain(nn.Conv2d(4, 4, 3, padding=1), "spectral", input_shape=(4, 5, 5))
    with torch.no_grad():
        for mine, its in zip(layer.parameters(), other.parameters(), strict=True):
            mine.lerp_(its, 0.5)


def edit_all_of_a_state_dict(layer):
    """A common home-made average: every floating entry, whatever it means."""
    other = constrain(nn.Conv2d(4, 4, 3, padding=1), "spectral", input_shape=(4, 5, 5)).state_dict()
    layer.load_state_dict({key: (value + other[key]) / 2 for key, value in layer.state_dict().items()})


EDITS = [
    edit_in_place,
    edit_through_data,
    edit_by_assignment,
    edit_by_loading,
    edit_by_averaging,
    edit_all_of_a_state_dict,
]


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("mode", ["eval", "refreshed"])
def test_an_edited_weight_is_noticed(edit, mode):
    torch.manual_seed(0)
    layer = constrain(nn.Conv2d(4, 4, 3, padding=1), "spectral", input_shape=(4, 5, 5))
    layer.train(mode == "refreshed")
    edit(layer)
    if mode == "refreshed":
        refresh(layer)
    assert norm(layer, (4, 5, 5)) == pytest.approx(1, rel=1e-3)


def test_an_edit_where_the_estimate_has_no_part_is_noticed():
    """v is a unit vector here, and stays one under any number of power iterations."""
    layer = nn.Linear(20, 20, bias=False)
    layer.weight.data.copy_(torch.diag(torch.linspace(3, 1, 20)))
    constrain(layer, "spectral").eval()
    raw(layer).data[15, 15] = 10
    assert norm(layer, (20,)) == pytest.approx(1, rel=1e-3)


def test_another_group_that_grows_in_training_is_noticed():
    torch.manual_seed(0)
    layer = constrain(nn.Conv1d(16, 16, 3, padding=1, groups=16), "spectral", input_shape=(16, 8))
    for _ in range(200):
        with torch.no_grad():
            raw(layer)[11] += 0.005
        assert norm(layer, (16, 8)) < 1.02


def test_looking_in_eval_mode_does_not_change_how_training_goes_on():
    def train(look: bool) -> dict:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 1))
        constrain(network, "spectral", input_shape=(1, 6, 6))
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        for _ in range(8):
            optimizer.zero_grad()
            network(torch.randn(4, 1, 6, 6)).sum().backward()
            optimizer.step()
            if look:
                network.eval()(torch.ones(1, 1, 6, 6))
                network.train()
        return network.state_dict()

    torch.testing.assert_close(train(look=True), train(look=False), rtol=0, atol=0)


def test_soft_leaves_a_small_weight_as_it_is_and_divides_a_large_one():
    small, large = nn.Linear(4, 4), nn.Linear(4, 4)
    with torch.no_grad():
        small.weight.copy_(0.1 * torch.eye(4))
        large.weight.copy_(5 * torch.eye(4))
    constrain(small, "spectral", soft=True)
    constrain(large, "spectral", soft=True)
    torch.testing.assert_close(small.weight, 0.1 * torch.eye(4))
    torch.testing.assert_close(large.weight, torch.eye(4), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["spectral", "spectral-reshaped"])
@pytest.mark.parametrize("mode", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("options", [{}, {"iterations": 40}], ids=["tolerance", "iterations"])
@pytest.mark.parametrize("channels", [3, 1])
def test_zero_weight_gives_zeros_and_finite_gradients_and_recovers(kind, mode, options, channels):
    layer = nn.Conv2d(2, channels, 3)
    with torch.no_grad():
        layer.weight.zero_()
    constrain(layer, kind, input_shape=(2, 5, 5), **options).train(mode)
    layer.weight.sum().backward()
    assert not layer.weight.any()
    assert torch.isfinite(raw(layer).grad).all()
    with torch.no_grad():
        raw(layer).copy_(torch.randn(channels, 2, 3, 3, generator=torch.Generator().manual_seed(0)))
    sigma = norm(layer, (2, 5, 5)) if kind == "spectral" else reshaped_norm(layer)
    assert sigma == pytest.approx(1, rel=1e-2)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("rows", [6, 1])
def test_tiny_and_huge_weights(scale, rows):
    layer = nn.Linear(6, rows)
    layer.weight.data.mul_(scale)
    assert norm(constrain(layer, "spectral"), (6,)) == pytest.approx(1, rel=1e-3)


def test_a_weight_that_was_nan_for_a_while_does_no_harm():
    torch.manual_seed(0)
    layer = constrain(nn.Linear(6, 6), "spectral")
    good = raw(layer).detach().clone()
    raw(layer).data.fill_(torch.nan)
    assert torch.isnan(layer.weight).all()
    raw(layer).data.copy_(good)
    assert norm(layer, (6,)) == pytest.approx(1, rel=1e-2)


def test_fixed_iterations_are_those_of_miyato():
    """Algorithm 1 written out: one iteration from u for a changed weight, none for one that is the same."""
    torch.manual_seed(0)
    layer = constrain(nn.Linear(6, 4), "spectral-reshaped", iterations=1)
    u = layer.parametrizations.weight[0].u.clone()
    for _ in range(3):
        with torch.no_grad():
            raw(layer).add_(torch.randn_like(raw(layer)))
        W = raw(layer).detach()
        v = torch.nn.functional.normalize(W.T @ u, dim=0)
        u = torch.nn.functional.normalize(W @ v, dim=0)
        for _ in range(2):
            torch.testing.assert_close(layer.weight, W / (u @ W @ v), rtol=1e-5, atol=1e-6)
