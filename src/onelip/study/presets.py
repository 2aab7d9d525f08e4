"""The table of presets: which runs a study consists of."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from onelip.errors import ArgumentError
from onelip.gan.config import TrainConfig, require_name


@dataclass(frozen=True)
class Preset:
    """Settings × seeds; a setting is the fields in which a run departs from the defaults."""

    settings: tuple[dict[str, Any], ...]
    seeds: tuple[int, ...]


PRESETS: dict[str, Preset] = {
    "quick": Preset(settings=({"method": "clip"}, {"method": "gp"}, {"method": "sn"}), seeds=(0,)),
}


def expand(
    preset: str, seeds: str | None = None, overrides: dict[str, Any] | None = None
) -> dict[str, TrainConfig]:
    """The runs of a preset by name, resolved and checked.

    >>> list(expand("quick", seeds="0-1"))
    ['clip-0', 'clip-1', 'gp-0', 'gp-1', 'sn-0', 'sn-1']
    """
    require_name("preset", preset, PRESETS)
    table = PRESETS[preset]
    chosen = table.seeds if seeds is None else parse_seeds(seeds)
    runs = {}
    for setting in table.settings:
        for seed in chosen:
            config = TrainConfig(**setting, seed=seed)
            runs[f"{config.method}-{seed}"] = dataclasses.replace(config, **(overrides or {})).resolved()
    return runs


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds as a list, a range, or both.

    >>> parse_seeds("0-2,7")
    (0, 1, 2, 7)
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ArgumentError("seeds", "numbers and ranges", text, "pass for example --seeds 0-4")
        seeds += range(int(first), int(last if dash else first) + 1)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ArgumentError("seeds", "one or more different numbers", text, "pass for example --seeds 0-4")
    return tuple(seeds)
