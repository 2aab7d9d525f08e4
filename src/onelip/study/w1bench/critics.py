"""The benchmark's critics, [B, D] → [B], and the plain float64 networks that they are when training ends.

Anil, Lucas, Grosse, "Sorting out Lipschitz function approximation", ICML 2019: orthogonal layers and sorting
activations, which lose no gradient norm.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onelip.constraint.activation import FullSort, MaxMin
from onelip.constraint.apply import constrain
from onelip.constraint.bake import bake
from onelip.errors import NonFiniteError
from onelip.linear.layers import plain_copy
from onelip.linear.maps import Dense
from onelip.linear.norm import operator_norm
from onelip.study.w1bench.settings import Cell, typical_norm
from onelip.study.w1bench.stiefel import CONVERGED, newton_schulz
from onelip.transport.funnel import HALF_WIDTH

POWER_ITERATIONS = 5  # a step, as published for spectral normalisation
_CENTRING_POINTS = 2048
_MARGIN = 1e-9  # for the rounding of the certificate's own proof of what was divided
_PROOF = 1e-5  # relative width of the interval: how much of the budget a proof may cost a layer


class Fold(nn.Module):
    """|z|, entry by entry: folds space along every hyperplane zᵢ = 0. 1-Lipschitz; keeps gradient norms.

    MaxMin is the fold of half of the channels in other coordinates, (max, min) = ((a + b) ± |a − b|)/2.

    >>> Fold()(torch.tensor([[1.0, -2.0]]))
    tensor([[1., 2.]])
    """

    def forward(self, z: Float[Tensor, "size channels"]) -> Float[Tensor, "size channels"]:
        return z.abs()


class Distance(nn.Module):
    """z ↦ −‖z − c‖, a readout that turns features into a score; 1-Lipschitz for every c.

    It takes the place of the last linear layer ⟨w, z⟩ and contains it: −‖z + tw‖ + t → −⟨w, z⟩ as t → ∞. Its
    gradient has norm one everywhere and turns with z, where the linear one leaves all turning to the folds.

    >>> Distance(2)(torch.tensor([[3.0, 4.0]]))
    tensor([-5.], grad_fn=<NegBackward0>)
    """

    def __init__(self, features: int):
        super().__init__()
        self.c = nn.Parameter(torch.zeros(features))

    def forward(self, z: Float[Tensor, "size features"]) -> Float[Tensor, "size"]:
        return -torch.linalg.vector_norm(z - self.c, dim=1)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "maxmin": MaxMin,
    "fullsort": FullSort,
    "fold": Fold,
}


def untrained(cell: Cell) -> nn.Sequential:
    """The critic of a cell before training. Draws from torch's global generator."""
    sizes = [cell.dim, *[cell.width] * cell.depth]
    activation = ACTIVATIONS[cell.activation]
    layers = [(nn.Linear(m, n), activation()) for m, n in pairwise(sizes)]
    hidden = nn.Sequential(*(module for pair in layers for module in pair))
    if cell.design.method == "stiefel":
        isometric = nn.Sequential(*_isometric(hidden), Distance(sizes[-1]))
        if cell.activation == "fullsort":
            return _one_sort(isometric, cell.dim)
        return _centred(isometric, cell.dim) if cell.centred else isometric
    critic = nn.Sequential(*hidden, nn.Linear(sizes[-1], 1), nn.Flatten(0))
    if cell.design.kind is None:
        return critic
    iterations = POWER_ITERATIONS if cell.design.kind == "spectral-reshaped" else None
    return constrain(critic, cell.design.kind, iterations=iterations)


def matrices(critic: nn.Module) -> list[Tensor]:
    """The weights of the linear layers."""
    return [layer.weight for layer in critic.modules() if isinstance(layer, nn.Linear)]


@torch.no_grad()
def as_scored(critic: nn.Sequential, cell: Cell) -> nn.Sequential:
    """A plain copy in float64: what is scored and what is certified are the same numbers.

    Orthogonal weights are polished to float64's rounding.
    Constraints that promise an operator norm are baked; "spectral-reshaped" keeps its weights as they are,
    for its estimate is part of what is judged.
    """
    plain = bake(critic) if cell.design.kind in ("spectral", "orthogonal") else plain_copy(critic)
    plain = plain.double().eval()
    return _shrunk(plain, cell) if cell.design.method == "stiefel" else plain


def _shrunk(critic: nn.Sequential, cell: Cell) -> nn.Sequential:
    """The critic times 1/Π‖W‖, each ‖W‖ by its proved bound: the certificate is at most 1, and almost 1.

    The layers are positively homogeneous, so the offsets shrink with what reaches them: dividing the weights
    alone would move every fold by a hundred thousandth, and tips are located far more finely.
    """
    scale = 1.0
    for layer in critic:
        if isinstance(layer, nn.Linear):
            layer.weight.copy_(newton_schulz(layer.weight, CONVERGED))
            if not layer.weight.isfinite().all():
                raise NonFiniteError(f"{cell.name}: weights are too large to be made orthogonal; lower --lr")
            norm = (1 + _MARGIN) * operator_norm(Dense(layer.weight), rtol=_PROOF).upper
            scale /= norm
            layer.weight.div_(norm)
            layer.bias.mul_(scale)
        if isinstance(layer, Distance):
            layer.c.mul_(scale)
    return critic


def _isometric(hidden: nn.Sequential) -> nn.Sequential:
    """Orthogonal weights, no biases: folds that keep norms, so that the critic starts as −‖x‖."""
    for layer in hidden:
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return hidden


@torch.no_grad()
def _centred(critic: nn.Sequential, dim: int) -> nn.Sequential:
    """Each bias minus a median over the cube, so that every fold halves the samples; c in their middle.

    The features of a network with many folds at random places or with all of them through the origin take
    thousands of steps to come apart; here each layer folds all of what the one before it left unfolded.
    """
    z = (2 * torch.rand(_CENTRING_POINTS, dim) - 1) * HALF_WIDTH
    for layer in critic:
        if isinstance(layer, nn.Linear):
            layer.bias.copy_(-layer(z).median(0).values)
        if isinstance(layer, Distance):
            layer.c.copy_(z.mean(0))
        z = layer(z)
    return critic


@torch.no_grad()
def _one_sort(critic: nn.Sequential, dim: int) -> nn.Sequential:
    """Weights after the first the identity; c on the axis of the largest feature, as long as features are.

    To sort again changes nothing, so that the critic starts as z ↦ −‖z − c‖, where −‖z − c‖² is 2|c|·max z
    less ‖z‖² and |c|²: rows turn to where P lies farther out than Q. From c = 0 on no row would matter, since
    turning and sorting keep ‖z‖, and training would wait at −‖x‖ until c has grown.
    """
    for layer in [layer for layer in critic if isinstance(layer, nn.Linear)][1:]:
        nn.init.eye_(layer.weight)
    distance = critic[-1]
    assert isinstance(distance, Distance)
    distance.c[-1] = typical_norm(dim)  # FullSort is ascending
    return critic
