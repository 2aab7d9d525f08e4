"""What determines one run of the benchmark, and the table of settings: one fixed recipe a critic.

A. Korotin, A. Kolesov, E. Burnaev, "Kantorovich Strikes Back! Wasserstein GANs are not Optimal Transport?",
NeurIPS 2022: the published protocol, an MLP [D, h, h, 1] with h = max(2D, 128), 1,024 fresh samples of each
law a step, Adam at 2e-4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from onelip.errors import ArgumentError
from onelip.transport.funnel import HALF_WIDTH
from onelip.transport.samples import require_positive

Method = Literal["clip", "gp", "lp", "constrained", "stiefel"]
Kind = Literal["spectral", "spectral-reshaped", "orthogonal"]
Activation = Literal["relu", "maxmin", "fullsort", "fold"]
Schedule = Literal["constant", "cosine", "geometric"]


@dataclass(frozen=True)
class CriticDesign:
    """How a critic is kept Lipschitz, what stands between its layers, how many steps it is published with.

    activation, steps: "best" chooses its own by size. kind: of the constraint, where the method is
    "constrained". "stiefel": orthogonal weights by retraction, read out by a distance (critics.py).
    """

    method: Method
    activation: Activation
    steps: int
    kind: Kind | None = None


_BEST_STEPS = 8_000  # of 512 samples: a sixth of what the sorting network is published with
_SPECTRAL_STEPS, _SORTING_STEPS, _PENALTY_STEPS, _CLIP_STEPS = 10_000, 25_000, 60_000, 5_000

CRITICS: dict[str, CriticDesign] = {
    "clip-relu": CriticDesign("clip", "relu", _CLIP_STEPS),
    "clip-maxmin": CriticDesign("clip", "maxmin", _CLIP_STEPS),
    "gp-relu": CriticDesign("gp", "relu", _PENALTY_STEPS),
    "gp-maxmin": CriticDesign("gp", "maxmin", _PENALTY_STEPS),
    "lp-relu": CriticDesign("lp", "relu", _PENALTY_STEPS),
    "lp-maxmin": CriticDesign("lp", "maxmin", _PENALTY_STEPS),
    "spectral-reshaped-relu": CriticDesign("constrained", "relu", _SPECTRAL_STEPS, "spectral-reshaped"),
    "spectral-reshaped-maxmin": CriticDesign("constrained", "maxmin", _SPECTRAL_STEPS, "spectral-reshaped"),
    "spectral-relu": CriticDesign("constrained", "relu", _SPECTRAL_STEPS, "spectral"),
    "spectral-maxmin": CriticDesign("constrained", "maxmin", _SPECTRAL_STEPS, "spectral"),
    "orthogonal-maxmin": CriticDesign("constrained", "maxmin", _SORTING_STEPS, "orthogonal"),
    "orthogonal-fullsort": CriticDesign("constrained", "fullsort", _SORTING_STEPS, "orthogonal"),
    "sorting-network": CriticDesign("constrained", "fullsort", _SORTING_STEPS, "orthogonal"),
    "best": CriticDesign("stiefel", "fold", _BEST_STEPS),
}

PRESETS: dict[str, tuple[str, ...]] = {
    "published": ("clip-relu", "gp-relu", "lp-relu", "spectral-reshaped-relu", "sorting-network"),
    "best": ("best",),
}


@dataclass(frozen=True)
class Cell:
    """One run: the pair, the critic and its training. Equal cells give equal results on one machine.

    pair: None for the pair drawn from `seed`; otherwise the digest of the stored one. seed: of the pair
    drawn, of the first weights and of the samples. width, depth: of the hidden layers. centred: whether
    their first biases halve the samples. starts: critics that are trained, so many steps each, of which the
    one that tells the laws apart best is kept. bias_lr: of biases and of the distance's centre, lr where
    None. schedule: of the learning rate (training.py). double: whether it trains in float64. clip, penalty:
    c of clipping, λ of the gradient penalty.
    """

    dim: int
    funnels: int
    pair: str | None
    critic: str
    seed: int
    steps: int
    batch: int
    width: int
    depth: int
    lr: float
    activation: Activation
    centred: bool = False
    starts: int = 1
    bias_lr: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Schedule = "constant"
    double: bool = False
    clip: float = 0.04
    penalty: float = 10.0

    @property
    def name(self) -> str:
        return f"D={self.dim} N={self.funnels} {self.critic} seed {self.seed}"

    @property
    def all_steps(self) -> int:
        return self.starts * self.steps

    @property
    def design(self) -> CriticDesign:
        return CRITICS[self.critic]


def cell_of(critic: str, dim: int, funnels: int, seed: int, pair: str | None = None, **changes: Any) -> Cell:
    """The cell of a critic with its settings from the table, `changes` (those not None) in their place.

    What the table derives from a setting follows its change: the rate from the width, the biases' from both.
    Raises ArgumentError for an unknown critic and for numbers that are not positive.

    >>> cell_of("spectral-relu", dim=128, funnels=4, seed=0, steps=10).width
    256
    """
    if critic not in CRITICS:
        raise ArgumentError("critic", f"one of {', '.join(CRITICS)}", repr(critic), "see --help")
    given = {name: value for name, value in changes.items() if value is not None}
    numbers = {name: given[name] for name in ("steps", "batch", "width", "lr") if name in given}
    for name, value in {"dim": dim, "funnels": funnels, **numbers}.items():
        require_positive(name, value)  # the recipes divide by them
    design = CRITICS[critic]
    settings: dict[str, Any] = {"steps": design.steps, "activation": design.activation}
    settings |= _best(dim, funnels, given) if critic == "best" else _published(dim) | given
    cell = Cell(dim, funnels, pair, critic, seed, **settings)
    if cell.activation == "maxmin" and cell.width % 2:
        raise ArgumentError("width", "even, for MaxMin sorts pairs", cell.width, f"pass {cell.width + 1}")
    return cell


def _published(dim: int) -> dict[str, Any]:
    return {"batch": 1024, "width": max(2 * dim, 128), "depth": 2, "lr": 2e-4}


# From here on two centres are nearly at right angles: pairs of channels keep them apart, or one sort does.
_SOME_DIMENSIONS, _MANY_DIMENSIONS = 16, 32


def _best(dim: int, funnels: int, given: dict[str, Any]) -> dict[str, Any]:
    """The one recipe of "best": what is not given, the activation too, is a function of D, N and width."""
    recipe = _sorted if dim > _MANY_DIMENSIONS else _paired if dim > _SOME_DIMENSIONS else _folded
    settings = recipe(dim, funnels, given.get("width")) | given
    # Biases move as much of ‖x‖ as weights do of a unit row.
    return {"bias_lr": settings["lr"] * typical_norm(dim)} | settings


def _sorted(dim: int, funnels: int, width: int | None) -> dict[str, Any]:
    """Layers of a sorting network: the largest ⟨x, wᵢ⟩ says which centre is near, once each has a row."""
    width = width or 2 * dim
    return {
        "steps": min(16_000, 1_000 * funnels),
        "batch": 1024,
        "width": width,
        "depth": 2,
        "activation": "fullsort",
        # As hot as rows can be and still find centres, of which each has a share 1/N of the samples; with few
        # centres twice as much throws weights off the manifold.
        "lr": 0.64 / (width * max(funnels, 16)) ** 0.5,
        "schedule": "cosine",
    }


def _paired(dim: int, funnels: int, width: int | None) -> dict[str, Any]:
    """Sides stay told apart: MaxMin folds half of the space and keeps the other half as it is."""
    width = width or max(2 * dim, 128)
    return {
        "steps": _steps(funnels),
        "batch": 512,
        "width": width,
        "depth": 3,
        "activation": "maxmin",
        "lr": 0.04 / width**0.5,
        "schedule": "cosine",
    }


def _folded(dim: int, funnels: int, width: int | None) -> dict[str, Any]:
    """Folds lay one part of space on another until one distance fits all."""
    crowded = dim < 8  # P crowds at the centres: a gradient is as right as its tips are sharp, at any scale
    # So few centres that the first layer can tell them apart: quick to train, and some starts end behind.
    few = dim >= 4 * funnels
    depth = 6 if crowded else 2 if few else 4
    width = width or max(2 * dim, 64 if few or funnels < 16 else 128)
    return {
        "steps": 2_000 if few else _BEST_STEPS if crowded else _steps(funnels),
        "batch": 512,
        "width": width,
        "depth": depth,
        "activation": "maxmin" if few else "fold",
        "centred": depth > 2,
        "starts": 3 if few else 1,
        # Adam moves every entry by about lr, a matrix by up to √(rows · columns) times as much.
        "lr": 0.04 / width**0.5 * ((4 / funnels) ** 0.25 if crowded else 1.0),
        "schedule": "geometric" if crowded else "cosine",
        "double": crowded,
    }


def _steps(funnels: int) -> int:
    return _BEST_STEPS if funnels <= 64 else 20_000


def typical_norm(dim: int) -> float:
    """√E‖x‖² for x uniform in the cube."""
    return (dim * HALF_WIDTH**2 / 3) ** 0.5
