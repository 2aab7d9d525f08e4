"""Parameters and buffers that a certificate cannot be about."""

import pytest
import torch
from torch import nn

from onelip.certificate.certify import certify
from onelip.errors import ArgumentError


def holding(buffer: torch.Tensor) -> nn.Module:
    network = nn.Linear(3, 2)
    network.register_buffer("held", buffer)
    return network


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.LazyLinear(2)), r"0\.weight must be .*, got one that is not initialised"),
        (nn.Sequential(nn.ReLU(), nn.Linear(3, 2, device="meta")), r"1\.weight .* one on the meta device"),
        (holding(torch.zeros(3, device="meta")), "held must be .*, got one on the meta device"),
        (holding(torch.eye(3).to_sparse()), "held must be a dense .*, got one of layout torch.sparse_coo"),
    ],
    ids=["lazy", "meta", "meta buffer", "sparse buffer"],
)
def test_what_holds_no_numbers_is_named(network, message):
    with pytest.raises(ArgumentError, match=message) as raised:
        certify(network, (3,), starts=0)
    assert "\n" not in str(raised.value)


class Renews(nn.Module):
    """Puts another tensor in the place of the second of two names of one."""

    def __init__(self):
        super().__init__()
        self.register_buffer("first", torch.ones(1))
        self.register_buffer("second", self.first)

    def forward(self, x):
        self.second = 2 * self.second
        return self.first * x


def test_a_second_name_of_a_tensor_is_watched_too():
    network = Renews()
    with pytest.raises(ArgumentError, match=r"one that changes \['second'\]"):
        certify(network, (3,), starts=0)
    assert network.second is network.first
