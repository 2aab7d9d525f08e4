"""What is kept of a run in the plane: some generated points, and the critic's values around them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from onelip.data import load
from onelip.data.sets import PlanarMixture
from onelip.errors import CheckpointError
from onelip.files import write_atomically
from onelip.gan.players import build_players, plain_critic
from onelip.gan.run import RunFolder
from onelip.gan.sampling import generate
from onelip.gan.weights import final_weights, finished_generator, fitted
from onelip.rounding import rounded

POINTS, SIDE = 500, 41
MARGIN = 1.5  # how far the grid reaches, in units of the outermost centre's coordinates


@dataclass(frozen=True)
class Plane:
    """Generated points, and f on the square grid axis × axis, rows along the second coordinate."""

    points: Float[np.ndarray, "n 2"]
    axis: Float[np.ndarray, " side"]
    values: Float[np.ndarray, "side side"]


def plane_of(run: RunFolder) -> Plane:
    """Of a finished run on points in the plane. Raises CheckpointError where final weights are missing."""
    config, generator = run.config(), finished_generator(run)
    critic = fitted(build_players(config, (2,)).critic, final_weights(run, "critic"), run)
    extent = MARGIN * float(centres(config.data).abs().max())
    axis = torch.linspace(-extent, extent, SIDE)
    square = torch.cartesian_prod(axis, axis).flip(1)
    with torch.no_grad():
        values = plain_critic(config, (2,), critic)(square).reshape(SIDE, SIDE)
    points = generate(generator, config.latent, POINTS, config.seed)
    return Plane(points.numpy(), axis.numpy(), values.numpy())


def centres(data: str) -> Float[torch.Tensor, "modes 2"]:
    """Of the mixture that a data set in the plane is."""
    mixture = load(data)
    assert isinstance(mixture, PlanarMixture)
    return mixture.centres


def write_plane(store: Path, setting: str, plane: Plane) -> None:
    """STORE/plane/<setting>.json, of four significant digits: a picture's resolution."""
    content = {name: _four_digits(value) for name, value in vars(plane).items()}
    (store / "plane").mkdir(parents=True, exist_ok=True)
    write_atomically(plane_path(store, setting), json.dumps(content, separators=(",", ":")).encode() + b"\n")


def read_plane(store: Path, setting: str) -> Plane | None:
    """None where the store holds none; CheckpointError where its file is damaged."""
    path = plane_path(store, setting)
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
        points, axis, values = (np.array(content[name], float) for name in ("points", "axis", "values"))
        if axis.ndim != 1 or points.shape[1:] != (2,) or values.shape != 2 * axis.shape:
            raise ValueError(f"points {points.shape}, axis {axis.shape}, values {values.shape}")
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): delete it") from None
    return Plane(points, axis, values)


def plane_path(store: Path, setting: str) -> Path:
    return store / "plane" / f"{setting}.json"


def _four_digits(values: np.ndarray) -> list:
    return [_four_digits(v) if np.ndim(v) else rounded(float(v), 4) for v in values]
