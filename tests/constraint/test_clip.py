"""Clipping: every parameter, the very object that the optimizer holds, and nothing else."""

import pytest
import torch
from torch import nn

from onelip.constraint.clip import clip_weights
from onelip.errors import ArgumentError


def test_every_parameter_is_clamped_in_place_and_buffers_are_not():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.PReLU(), nn.Flatten(), nn.Linear(8, 1))
    before = [p.detach().clone() for p in network.parameters()]
    identities = [id(p) for p in network.parameters()]
    running = network[1].running_var.clone()
    assert clip_weights(network, 0.05) is network
    assert [id(p) for p in network.parameters()] == identities
    for parameter, old in zip(network.parameters(), before, strict=True):
        torch.testing.assert_close(parameter, old.clamp(-0.05, 0.05), rtol=0, atol=0)
    torch.testing.assert_close(network[1].running_var, running)


def test_the_bound_holds_after_every_step_and_gradients_are_left_alone():
    critic = clip_weights(nn.Linear(3, 1), 0.01)
    optimizer = torch.optim.RMSprop(critic.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        critic(torch.ones(2, 3)).sum().backward()
        optimizer.step()
        assert max(p.abs().max() for p in critic.parameters()) > 0.01
        gradient = critic.weight.grad.clone()
        clip_weights(critic, 0.01)
        assert max(p.abs().max() for p in critic.parameters()) <= 0.01
        torch.testing.assert_close(critic.weight.grad, gradient)


@pytest.mark.parametrize("c", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bound_that_bounds_nothing_is_refused(c):
    with pytest.raises(ArgumentError, match="c must be a positive number"):
        clip_weights(nn.Linear(1, 1), c)
