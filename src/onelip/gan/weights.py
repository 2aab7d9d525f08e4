"""The final weights of a run, as safetensors: they leave the run, so nothing in them can execute."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from onelip.errors import CheckpointError, one_line
from onelip.files import write_atomically
from onelip.gan.networks import build_generator
from onelip.gan.players import Players
from onelip.gan.run import RunFolder

Part = TypeVar("Part", bound=nn.Module | Players)


def export_weights(players: Players, run: RunFolder) -> None:
    """Write both players' weights into the run's folder."""
    for name, player in (("generator", players.generator), ("critic", players.critic)):
        tensors = {key: value.contiguous() for key, value in player.state_dict().items()}
        write_atomically(run.weights_path(name), to_safetensors(tensors))


def final_weights(run: RunFolder, player: Literal["generator", "critic"]) -> dict[str, Tensor]:
    """Of one player. Raises CheckpointError where the run has not finished, or the file is damaged."""
    config, result = run.config(), run.result()
    if result is None:
        step = run.last_step()
        raise CheckpointError(
            f"{run.path} is not finished (step {step} of {config.steps}): let it finish first"
        )
    if result.status != "finished":
        raise CheckpointError(f"{run.path} {result.status} at step {result.step}: it has no final {player}")
    path = run.weights_path(player)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        remedy = "train the run again in another folder"
        raise CheckpointError(f"{path} is missing or damaged ({one_line(error)}): {remedy}") from error


def fitted(part: Part, state: dict[str, Any], run: RunFolder) -> Part:
    """`part`, built from the run's configuration, in a state that the run left; CheckpointError else."""
    try:
        part.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"{run.path} holds a config.json that does not fit its checkpoints and final weights"
        ) from error
    return part


def generator_of(run: RunFolder, weights: dict[str, Tensor]) -> nn.Module:
    """The run's generator with these weights; the folder is all that is needed, neither data nor critic."""
    config = run.config()
    return fitted(build_generator(config.latent, config.width, run.sample_shape()), weights, run)


def finished_generator(run: RunFolder) -> nn.Module:
    """The generator with its final weights. Raises CheckpointError as `final_weights` does."""
    return generator_of(run, final_weights(run, "generator"))
