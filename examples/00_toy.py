"""A 1-Lipschitz critic in the plane: it learns the distance between two clouds, and cannot overstate it.

The clouds are one cloud moved by (3, 4), so that the Wasserstein-1 distance between them is 5 exactly. Every
1-Lipschitz critic f gives mean f(moved) − mean f(cloud) ≤ 5; training pushes it up to there.

    python examples/00_toy.py
"""

import torch
from torch import nn

import onelip

torch.manual_seed(0)
torch.set_num_threads(1)


def critic() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(2, 32), onelip.MaxMin(), nn.Linear(32, 32), onelip.MaxMin(), nn.Linear(32, 1)
    )


def train(network: nn.Module, steps: int = 200) -> float:
    """The estimate of the distance after training: what the critic tells the two clouds apart by."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(steps):
        cloud = torch.randn(256, 2)
        moved = torch.randn(256, 2) + torch.tensor([3.0, 4.0])
        optimizer.zero_grad()
        loss = network(cloud).mean() - network(moved).mean()
        loss.backward()
        optimizer.step()
    return -loss.item()


constrained = onelip.constrain(critic(), "orthogonal")
print(f"unconstrained          {train(critic()):12.2f}   (means nothing)")
print(f"spectral               {train(onelip.constrain(critic(), 'spectral')):12.2f}")
print(f"orthogonal             {train(constrained):12.2f}   (the distance is 5)")
print()
print(onelip.describe(constrained))

x, y = torch.randn(1000, 2), torch.randn(1000, 2)
proved = onelip.bake(constrained)  # a plain network, each layer proved to have norm ≤ 1
steepest = ((proved(x) - proved(y)).abs().squeeze(1) / (x - y).norm(dim=1)).max()
print(f"\nsteepest of 1000 pairs: {steepest:.4f}, and no pair can be steeper than 1")
