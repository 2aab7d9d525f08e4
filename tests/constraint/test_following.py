"""Estimates where following is hard: operators that vanish, jumps, the ends of a format, odd loading."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from onelip.constraint.apply import constrain
from onelip.constraint.patches import Patches, on_patches
from onelip.errors import ArgumentError
from onelip.linear.layers import linear_map
from tests.constraint.test_spectral import norm, raw

OPTIONS = pytest.mark.parametrize("options", [{}, {"iterations": 1}], ids=["tolerance", "iterations"])


def square(n: int = 6, **options) -> nn.Linear:
    torch.manual_seed(0)
    return constrain(nn.Linear(n, n, bias=False), "spectral", **options)


def put(layer: nn.Module, weight: torch.Tensor) -> None:
    with torch.no_grad():
        raw(layer).copy_(weight)


@OPTIONS
def test_taps_that_see_nothing_but_padding_make_a_zero_operator_which_is_left_as_it_is(options):
    layer = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    layer.weight.data.copy_(torch.tensor([[[1.0, 0.0, 2.0]]]))
    constrain(layer, "spectral", input_shape=(1, 1), **options)
    for mode in (True, False, True):
        torch.testing.assert_close(layer.train(mode).weight, raw(layer), rtol=0, atol=0)
    put(layer, torch.tensor([[[1.0, 5.0, 2.0]]]))
    assert norm(layer, (1, 1)) == pytest.approx(1)


@OPTIONS
def test_a_weight_that_leaves_zero_in_a_small_step_is_noticed(options):
    layer = square(**options)
    good = raw(layer).detach().clone()
    for weight in (good + 0.3 * good.flip(0), 0 * good, 1e-3 * good.flip(0)):
        put(layer, weight)
        _ = layer.weight
    assert norm(layer, (6,)) == pytest.approx(1, rel=0.5 if options else 0.01)


def test_an_iterate_that_the_operator_forgets_is_replaced():
    layer = square(3, iterations=1)
    put(layer, torch.diag(torch.tensor([1.0, 0.0, 0.0])))
    for _ in range(3):
        put(layer, raw(layer) * 1.5)
        _ = layer.weight
    put(layer, torch.diag(torch.tensor([0.0, 0.0, 100.0])))
    assert norm(layer, (3,)) < 10


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.Linear(128, 128), (128,)),
        (lambda: nn.Conv2d(8, 8, 3, padding=1), (8, 6, 6)),
        (lambda: nn.Conv1d(24, 24, 3, padding=1, groups=12), (24, 8)),
    ],
    ids=["linear", "convolution", "groups"],
)
def test_a_weight_that_is_replaced_while_training_is_followed_at_once(make, shape):
    layer = constrain(make(), "spectral", input_shape=shape)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        put(layer, torch.randn(raw(layer).shape, generator=generator))
        assert norm(layer, shape) == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e30])
def test_every_change_is_noticed_whatever_the_scale(scale):
    layer = square()
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        put(layer, scale * torch.randn(6, 6, generator=generator))
        (layer(torch.ones(1, 6)).sum() - layer(torch.zeros(1, 6)).sum()).backward()
        assert norm(layer, (6,)) == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_state_dict_that_was_cast_loads_and_is_estimated_anew(dtype):
    layer, other = square(), square()
    put(other, 7 * raw(other).T)
    layer.load_state_dict({name: value.to(dtype) for name, value in other.state_dict().items()})
    assert norm(layer, (6,)) == pytest.approx(1, rel=0.01)


def test_a_state_dict_of_another_size_is_refused_in_torchs_words():
    with pytest.raises(RuntimeError, match="size mismatch"):
        square(5).load_state_dict(square(6).state_dict())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_tensors_may_be_assigned(device, dtype):
    source = square().to(dtype)
    put(source, 3 * raw(source).T)
    layer = square().to(device)
    layer.load_state_dict(source.state_dict(), assign=True)
    for mode in (True, False):
        assert norm(layer.train(mode), (6,)) == pytest.approx(1, rel=0.01)
        put(layer, 2 * raw(layer).flip(0))


def test_uninitialised_memory_is_filled_by_loading():
    layer = square().to("meta").to_empty(device="cpu")
    layer.parametrizations.weight[0].random_direction.fill_(torch.nan)
    layer.load_state_dict(square().state_dict())
    for mode in (True, False):
        put(layer, 2 * raw(layer).T)
        assert norm(layer.train(mode), (6,)) == pytest.approx(1, rel=0.01)


def test_a_module_without_numbers_is_refused():
    with pytest.raises(ArgumentError, match=r"module\.weight must be a dense tensor that holds numbers"):
        constrain(nn.Linear(2, 2, device="meta"), "spectral")
    with pytest.raises(ArgumentError, match=r"1\.weight must be of real numbers .*, got torch.complex64"):
        constrain(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, dtype=torch.complex64)), "spectral")


def test_functional_transforms_work_where_the_weight_was_seen_before():
    layer = square()
    put(layer, 2 * raw(layer).T)
    x = torch.ones(6)
    for mode in (True, False):
        weight = layer.train(mode).weight.detach()
        torch.testing.assert_close(jacrev(layer)(x), weight)
        parameters = dict(layer.named_parameters())
        jacobians = torch.func.grad(lambda p: functional_call(layer, p, (x,)).sum())(parameters)
        layer.zero_grad()
        layer(x).sum().backward()
        torch.testing.assert_close(jacobians["parametrizations.weight.original"], raw(layer).grad)


def test_patches_are_taken_where_they_are_few():
    small, large = (linear_map(nn.Conv2d(8, 8, 3), (8, n, n)) for n in (6, 64))
    assert isinstance(on_patches(small), Patches)
    assert on_patches(large) is large


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_constrained(dtype):
    layer = constrain(nn.Conv2d(3, 4, 3, padding=1).to(dtype), "spectral", input_shape=(3, 5, 5))
    for mode in (True, False):
        put(layer.train(mode), 2 * raw(layer).flip(0))
        assert norm(layer, (3, 5, 5)) == pytest.approx(1, rel=0.01)
