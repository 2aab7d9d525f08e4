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
