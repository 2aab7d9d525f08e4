"""The table of presets: which runs a study consists of, in named groups.

A setting is a name and the fields in which its runs depart from the preset's common ones; groups may share
settings, and a run that two groups name is trained once. Settings A to F are those of Miyato, Kataoka,
Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks", ICLR 2018, table 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, NamedTuple

from onelip.data.names import PLANAR
from onelip.errors import ArgumentError, require_name
from onelip.gan.config import TrainConfig

Settings = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Group:
    """Settings × seeds."""

    settings: Settings
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Preset:
    """Groups and the fields that all of their runs share.

    any_seed: whether other seeds may take the place of the groups' own; else they are chosen from.
    """

    groups: dict[str, Group]
    common: dict[str, Any] = field(default_factory=dict)
    any_seed: bool = False


MOST_SEEDS = 1_000_000  # more would be a slip, and take hours to list
FIVE, THREE = tuple(range(5)), tuple(range(3))

CONSTRAINTS: Settings = {
    name: {"method": name} for name in ("none", "clip", "gp", "sn", "sn-operator", "orthogonal")
}
BASELINE: dict[str, Any] = {"method": "r1r2", "loss": "relativistic"}
METHODS: Settings = CONSTRAINTS | {"r1r2": BASELINE}

SN_LOSSES: Settings = {
    f"sn-{loss}": {"method": "sn", "loss": loss} for loss in ("hinge", "non-saturating", "minimax")
}

MNIST_STEPS = 1_500
# One critic step a generator step, as the baseline is published; three times the steps take about as long.
SINGLE: dict[str, Any] = {"critic_steps": 1, "steps": 3 * MNIST_STEPS, "evaluate_every": 450}
SINGLE_STEP: Settings = {
    "r1r2-single": BASELINE | SINGLE,
    "sn-hinge-single": SN_LOSSES["sn-hinge"] | SINGLE,
    "sn-operator-hinge-single": {"method": "sn-operator", "loss": "hinge"} | SINGLE,
}

MIYATO: Settings = {
    "A": {"critic_lr": 1e-4, "generator_lr": 1e-4, "beta1": 0.5, "beta2": 0.9, "critic_steps": 5},
    "B": {"critic_lr": 1e-4, "generator_lr": 1e-4, "beta1": 0.5, "beta2": 0.999, "critic_steps": 1},
    "C": {"critic_lr": 2e-4, "generator_lr": 2e-4, "beta1": 0.5, "beta2": 0.999, "critic_steps": 1},
    "D": {"critic_lr": 1e-3, "generator_lr": 1e-3, "beta1": 0.5, "beta2": 0.9, "critic_steps": 5},
    "E": {"critic_lr": 1e-3, "generator_lr": 1e-3, "beta1": 0.5, "beta2": 0.999, "critic_steps": 5},
    "F": {"critic_lr": 1e-3, "generator_lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "critic_steps": 5},
}


def optimizer_settings(methods: tuple[str, ...]) -> Settings:
    """`<letter>-<method>`: each method under each of the six, Adam throughout."""
    return {
        f"{letter}-{method}": {"method": method, "optimizer": "adam"} | fields
        for letter, fields in MIYATO.items()
        for method in methods
    }


def sweep(method: str, name: str, values: Sequence[float | int]) -> Settings:
    """One field of one method; the default value is the setting `method` itself.

    >>> list(sweep("clip", "clip", (0.001, 0.01)))
    ['clip-clip0.001', 'clip']
    """
    default = getattr(TrainConfig(method=method).resolved(), name)
    settings = {}
    for value in values:
        setting = method if value == default else f"{method}-{name.replace('_', '-')}{value:g}"
        settings[setting] = {"method": method} if value == default else {"method": method, name: value}
    return settings


def on(data: str) -> Settings:
    """`<data>-<method>`: every method on a data set."""
    return {f"{data}-{name}": method | {"data": data} for name, method in METHODS.items()}


def costs() -> Settings:
    """Short runs over widths and batch sizes, convolutional and MLP, for time and memory alone."""
    sizes = [("mnist", width, 64) for width in (4, 8, 16, 32)]
    sizes += [("mnist", 8, 16), ("mnist", 8, 256)]
    sizes += [("ring", width, 64) for width in (4, 16, 32)] + [("ring", 16, 512)]
    short: dict[str, Any] = {"steps": 30, "evaluate_every": 0, "certify_every": 0}
    return {
        f"cost-{data}-w{width}-b{batch}-{name}": method
        | {"data": data, "width": width, "batch": batch}
        | short
        for data, width, batch in sizes
        for name, method in METHODS.items()
    }


PRESETS: dict[str, Preset] = {
    "quick": Preset({"main": Group({m: {"method": m} for m in ("clip", "gp", "sn")}, (0,))}, any_seed=True),
    "paper": Preset(
        {
            "main": Group(CONSTRAINTS, FIVE),
            "losses": Group({"sn": CONSTRAINTS["sn"]} | SN_LOSSES, FIVE),
            "baseline": Group({"r1r2": BASELINE} | SINGLE_STEP, FIVE),
            "settings": Group(optimizer_settings(("clip", "gp", "sn")), FIVE),
            "settings-operator": Group(optimizer_settings(("sn-operator",)), THREE),
            "clip": Group(sweep("clip", "clip", (0.001, 0.01, 0.1, 1.0)), THREE),
            "penalty": Group(sweep("gp", "penalty", (0.1, 1.0, 10.0, 100.0)), THREE),
            "target": Group(sweep("sn", "target", (0.25, 0.5, 1.0, 2.0, 4.0)), THREE),
            "iterations": Group(
                sweep("sn", "power_iterations", (1, 2, 3, 5, 10))
                | sweep("sn-operator", "power_iterations", (1, 3, 10)),
                FIVE,
            ),
            "ring": Group(on("ring"), FIVE),
            "grid": Group(on("grid"), FIVE),
            "stacked": Group(on("stacked-mnist"), THREE),
            "cost": Group(costs(), FIVE),
        },
        common={
            "width": 8,
            "steps": MNIST_STEPS,
            "device": "cpu",
            "evaluate_every": 150,
            "certify_every": 150,
            "layers_every": 150,
            "samples_every": 150,
            "checkpoint_every": 150,
        },
    ),
}


class RunName(NamedTuple):
    """What a run is called, <setting>-<seed>; settings have dashes of their own.

    >>> RunName.of("sn-operator-0"), str(RunName("sn", "1"))
    (RunName(setting='sn-operator', seed='0'), 'sn-1')
    """

    setting: str
    seed: str

    @classmethod
    def of(cls, name: str) -> RunName:
        setting, _, seed = name.rpartition("-")
        return cls(setting, seed)

    def __str__(self) -> str:
        return f"{self.setting}-{self.seed}"


def expand(
    preset: str,
    seeds: str | None = None,
    overrides: dict[str, Any] | None = None,
    groups: str | None = None,
    only: str = "*",
) -> dict[str, TrainConfig]:
    """The runs of a preset by name, `<setting>-<seed>`, resolved and checked.

    groups: names with commas between them, all by default. only: a pattern that names must match.

    >>> list(expand("quick", seeds="0-1"))
    ['clip-0', 'gp-0', 'sn-0', 'clip-1', 'gp-1', 'sn-1']
    >>> list(expand("paper", groups="losses", seeds="0", only="*hinge*"))
    ['sn-hinge-0']
    """
    runs = {}
    for group in chosen_groups(preset, groups).values():
        # Seed by seed, so that a study that is stopped has compared all settings.
        for seed in _seeds(preset, group, seeds):
            for setting, fields in group.settings.items():
                name = str(RunName(setting, str(seed)))
                if fnmatch(name, only) and name not in runs:
                    runs[name] = _config(preset, fields | (overrides or {}) | {"seed": seed})
    if not runs:
        received = f"--groups {groups} --seeds {seeds} --only {only}"
        raise ArgumentError("the choice of runs", "one that names a run", received, "see --dry-run")
    return runs


def chosen_groups(preset: str, groups: str | None = None) -> dict[str, Group]:
    """The groups of a preset by name; ArgumentError for an unknown one."""
    require_name("preset", preset, PRESETS)
    table = PRESETS[preset].groups
    names = list(table) if groups is None else groups.split(",")
    for name in names:
        require_name("groups", name, table)
    return {name: table[name] for name in names}


def _config(preset: str, fields: dict[str, Any]) -> TrainConfig:
    config = TrainConfig(**PRESETS[preset].common | fields)
    # Points in the plane are drawn, not read: a folder is for the other runs of the same study.
    return dataclasses.replace(config, data_dir=None if config.data in PLANAR else config.data_dir).resolved()


def _seeds(preset: str, group: Group, seeds: str | None) -> tuple[int, ...]:
    if seeds is None:
        return group.seeds
    given = parse_seeds(seeds)
    return given if PRESETS[preset].any_seed else tuple(seed for seed in group.seeds if seed in given)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds as a list, a range, or both.

    >>> parse_seeds("0-2,7")
    (0, 1, 2, 7)
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ArgumentError("seeds", "numbers and ranges", text, "pass for example --seeds 0-4")
        low, high = int(first), int(last if dash else first)
        if high < low:
            raise ArgumentError("seeds", "ranges from the lower to the higher", text, f"write {high}-{low}")
        if high - low + len(seeds) >= MOST_SEEDS:
            requirement = f"at most {MOST_SEEDS:,} numbers"
            raise ArgumentError("seeds", requirement, text, "pass for example --seeds 0-4")
        seeds += range(low, high + 1)
    if len(set(seeds)) < len(seeds):
        raise ArgumentError("seeds", "different numbers", text, "pass for example --seeds 0-4")
    return tuple(seeds)
