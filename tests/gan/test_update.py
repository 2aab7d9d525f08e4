"""An optimizer's step pairs parameters and gradients by index, whatever their layout in memory."""

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from onelip.data import load
from onelip.gan.config import TrainConfig
from onelip.gan.networks import ImageGenerator, ToPixels
from onelip.gan.players import build_players
from onelip.gan.step import train_step, update

OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "fused adam": lambda parameters, lr: torch.optim.Adam(parameters, lr, fused=True),
    "rmsprop": torch.optim.RMSprop,
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_gradients_of_another_layout_reach_their_own_parameters(optimizer):
    torch.manual_seed(0)
    x, target = torch.randn(8, 4, 7, 7), torch.randn(8, 4, 7, 7)
    weights = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(1)
        layer = nn.Conv2d(4, 4, 3, padding=1)
        steps = OPTIMIZERS[optimizer](layer.parameters(), 0.01)
        for _ in range(3):
            loss = (layer(x.to(memory_format=layout)) - target).square().mean()
            update(layer, steps, loss)
        weights.append(layer.weight.detach())
    assert torch.allclose(*weights, atol=1e-5)


@pytest.mark.parametrize(("into", "out", "side"), [(1, 1, 1), (3, 1, 5), (8, 3, 7), (5, 2, 4)])
def test_pixels_are_those_of_the_transposed_convolution(into, out, side):
    torch.manual_seed(0)
    layer = ToPixels(into, out).double()
    x = torch.randn(2, into, side, side + 1, dtype=torch.float64, requires_grad=True)
    plain = nn.functional.conv_transpose2d(x, layer.weight, layer.bias, 2, 1)
    assert torch.allclose(layer(x), plain, atol=1e-12)
    cotangent, inputs = torch.randn_like(plain), [x, *layer.parameters()]
    ours, theirs = (torch.autograd.grad(y, inputs, cotangent) for y in (layer(x), plain))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-11)


def test_generator_makes_images_of_any_size():
    for shape in [(1, 28, 28), (3, 30, 18)]:
        assert ImageGenerator(4, 2, shape)(torch.randn(3, 4)).shape == (3, *shape)


def test_a_state_of_another_layout_goes_on_as_it_was():
    config = TrainConfig(method="none", width=8, latent=16, batch=16, device="cpu").resolved()
    data = load("mnist")
    players, others = (build_players(config, data.sample_shape) for _ in range(2))
    train_step(players, data, config, 1)

    def plain(tensor):
        return tensor.detach().clone(memory_format=torch.contiguous_format)

    others.load_state_dict(tree_map_only(torch.Tensor, plain, players.state_dict()))
    for step in (2, 3):
        there, here = (train_step(p, data, config, step) for p in (others, players))
        torch.testing.assert_close(there, here, rtol=1e-6, atol=1e-8)
