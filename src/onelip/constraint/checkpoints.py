"""Let a constrained layer load what an unconstrained one saved, or one under torch's own spectral norm."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from onelip.constraint.pickling import parametrizations


def accept_foreign_checkpoints(layer: nn.Module) -> None:
    """Teach load_state_dict the other forms of a weight: plain, torch's hook, torch's parametrization."""
    layer.register_load_state_dict_pre_hook(_translate)


def forget_foreign_checkpoints(layer: nn.Module) -> None:
    """Take that back: a layer without a constraint loads what torch's do."""
    hooks = layer._load_state_dict_pre_hooks
    for key in [key for key, hook in hooks.items() if getattr(hook, "hook", hook) is _translate]:
        del hooks[key]


def _translate(layer: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    if not parametrize.is_parametrized(layer, "weight"):
        return
    inside = f"{prefix}parametrizations.weight."
    for old in ("weight", "weight_orig"):
        if prefix + old in state:
            state[f"{inside}original"] = state.pop(prefix + old)
    u = _pop_either(state, f"{prefix}weight_u", f"{inside}0._u")
    v = _pop_either(state, f"{prefix}weight_v", f"{inside}0._v")
    if f"{inside}0.pair" in state or f"{inside}original" not in state:
        return
    # An estimate that another constraint left is a start to go on from where the shapes agree; else ours is.
    own = parametrizations(layer)["weight"].state_dict(prefix=inside)
    if f"{inside}0.pair" in own:
        own[f"{inside}0._extra_state"] = own[f"{inside}0.pair"].new_empty(0)  # of no weight that was seen
        if u is not None and v is not None:
            _start_from(own, inside, u, v)
        state.update({key: value for key, value in own.items() if key not in state})


def _pop_either(state: dict[str, Any], *keys: str) -> Tensor | None:
    return next((state.pop(key) for key in keys if key in state), None)


def _start_from(own: dict[str, Any], inside: str, u: Tensor, v: Tensor) -> None:
    pair = own[f"{inside}0.pair"]
    if u.shape == own[f"{inside}0.u"].shape and v.shape == pair.shape[1:]:
        own[f"{inside}0.u"] = u
        own[f"{inside}0.pair"] = pair.clone()
        own[f"{inside}0.pair"][0] = v
