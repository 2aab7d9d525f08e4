"""The configuration of one training run, and the defaults that each method was published with.

No torch here: the command line is built from these classes, and `--help` should be instant.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from onelip.data.names import DATASETS, PLANAR, WITHOUT_FEATURES
from onelip.errors import ArgumentError, require_name

LOSSES = ("wasserstein", "hinge", "minimax", "non-saturating", "least-squares", "relativistic")
OPTIMIZERS = ("adam", "rmsprop")

# The optimizers that each method was published with, at 5 to 10 times their learning rates: the quick study
# takes 900 generator steps where the papers took 100,000 (the README's table has both).
# clip: Arjovsky, Chintala, Bottou 2017. gp: Gulrajani et al. 2017. sn: Miyato et al. 2018.
# r1r2: Huang et al. 2024 (with the relativistic loss). none: the optimizer of gp, so that only the constraint
# differs; orthogonal: that of sn; its activation differs too.
METHODS: dict[str, dict[str, Any]] = {
    "none": {"optimizer": "adam", "critic_lr": 5e-4, "generator_lr": 5e-4, "beta1": 0.0, "beta2": 0.9},
    "clip": {"optimizer": "rmsprop", "critic_lr": 5e-4, "generator_lr": 5e-4, "beta1": 0.0, "beta2": 0.99},
    "gp": {"optimizer": "adam", "critic_lr": 5e-4, "generator_lr": 5e-4, "beta1": 0.0, "beta2": 0.9},
    "sn": {"optimizer": "adam", "critic_lr": 1e-3, "generator_lr": 1e-3, "beta1": 0.0, "beta2": 0.9},
    "sn-operator": {"optimizer": "adam", "critic_lr": 1e-3, "generator_lr": 1e-3, "beta1": 0.0, "beta2": 0.9},
    "orthogonal": {"optimizer": "adam", "critic_lr": 1e-3, "generator_lr": 1e-3, "beta1": 0.0, "beta2": 0.9},
    "r1r2": {"optimizer": "adam", "critic_lr": 1e-3, "generator_lr": 1e-3, "beta1": 0.0, "beta2": 0.99},
}


@dataclass(frozen=True)
class TrainConfig:
    """One run. A value left at None takes the default of the method."""

    method: str = "sn"
    """How the critic is held: none, clip, gp, sn (norm of the reshaped kernel), sn-operator (of the applied
    convolution), orthogonal (with MaxMin in place of leaky ReLU), or r1r2 (zero-centred penalties)."""
    loss: str = "wasserstein"
    """wasserstein, hinge, minimax, non-saturating, least-squares or relativistic."""
    data: str = "mnist"
    """mnist, fashion-mnist, stacked-mnist, ring, grid, or images (your own, in --data-dir)."""
    data_dir: str | None = None
    """Folder of the data; by default the usual places, then a download."""
    seed: int = 0
    """Initial weights and every random number of the run follow from it."""
    steps: int = 900
    """Generator steps."""
    critic_steps: int = 5
    """Critic steps before each generator step."""
    batch: int = 64
    """Real, and as many generated, samples a critic step."""
    width: int = 16
    """Channels of the critic's first layer; the other layers are multiples of it. ring, grid: each hidden
    layer has 16 · width units."""
    latent: int = 64
    """Dimensions of the generator's Gaussian input."""
    optimizer: str | None = None
    """adam or rmsprop."""
    critic_lr: float | None = None
    """Learning rate of the critic."""
    generator_lr: float | None = None
    """Learning rate of the generator."""
    beta1: float | None = None
    """Adam's momentum."""
    beta2: float | None = None
    """Adam's decay of squared gradients; RMSProp's alpha."""
    clip: float = 0.01
    """clip: every parameter of the critic stays within [-clip, clip]."""
    penalty: float = 10.0
    """gp: weight λ of the penalty (‖∇f‖ - 1)²."""
    gamma: float = 1.0
    """r1r2: weight γ/2 of the penalties ‖∇f‖² on real and on generated samples."""
    target: float = 1.0
    """sn, sn-operator, orthogonal: norm of each layer."""
    power_iterations: int | None = None
    """sn, sn-operator: power iterations a critic step; by default 1 for sn, as published."""
    tolerance: float | None = None
    """sn, sn-operator: instead, as many as keep the estimate this close, relative; sn-operator: 0.01."""
    device: str = "auto"
    """cpu, cuda, or auto: a GPU where there is one."""
    gradients_every: int = 10
    """Steps between measurements of the critic's input gradients."""
    layers_every: int = 50
    """Steps between measurements of every layer's norms."""
    samples_every: int = 100
    """Steps between sample grids from fixed noise."""
    checkpoint_every: int = 50
    """Steps between checkpoints."""
    evaluate_every: int = 0
    """Steps between evaluations of 2,000 generated samples, and of the critic on test data; 0: none."""
    certify_every: int = 0
    """Steps between certificates of the critic's Lipschitz constant; 0: none."""

    def resolved(self) -> TrainConfig:
        """This configuration, checked, with the method's defaults in place of None.

        >>> TrainConfig(method="gp").resolved().critic_lr
        0.0005
        >>> TrainConfig(method="spn").resolved()
        Traceback (most recent call last):
        onelip.errors.ArgumentError: method must be one of none, clip, gp, ..., got 'spn': did you mean sn?
        """
        require_name("method", self.method, METHODS)
        config = self._filled()
        config._validate()
        return config

    def _filled(self) -> TrainConfig:
        defaults = {k: v for k, v in METHODS[self.method].items() if getattr(self, k) is None}
        if self.power_iterations is None and self.tolerance is None:
            defaults |= {"tolerance": 0.01} if self.method == "sn-operator" else {"power_iterations": 1}
        if self.data == "images" and self.data_dir is not None:
            # Here the folder is the data set: its name must say the same from everywhere.
            defaults["data_dir"] = str(Path(self.data_dir).resolve())
        return dataclasses.replace(self, **defaults)

    def _validate(self) -> None:
        require_name("loss", self.loss, LOSSES)
        require_name("data", self.data, DATASETS)
        require_name("optimizer", str(self.optimizer), OPTIMIZERS)
        if self.data == "images" and self.data_dir is None:
            raise ArgumentError("data_dir", "given for data = images", None, "pass --data-dir FOLDER")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise ArgumentError("device", "auto, cpu or cuda", self.device, "leave it at auto")
        require_seed(self.seed)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in _POSITIVE and value is not None and not (value > 0 and math.isfinite(value)):
                default = METHODS[self.method].get(field.name, field.default or 1)
                flag = field.name.replace("_", "-")
                raise ArgumentError(field.name, "positive and finite", value, f"pass --{flag} {default}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ArgumentError(name, "in [0, 1)", getattr(self, name), "leave it to the method")
        if not 0 <= self.penalty < math.inf:
            raise ArgumentError("penalty", "zero or positive, and finite", self.penalty, "pass --penalty 10")
        for name in ("evaluate_every", "certify_every"):
            if getattr(self, name) < 0:
                raise ArgumentError(name, "zero or positive", getattr(self, name), "0 means never")
        if self.method == "orthogonal" and self.data not in PLANAR and self.width % 2:
            requirement = "even for orthogonal on images, whose channels are sorted in pairs"
            raise ArgumentError("width", requirement, self.width, f"pass --width {self.width + 1}")
        if self.evaluate_every and self.data in WITHOUT_FEATURES:
            remedy = "evaluate the finished run with `onelip evaluate --features`"
            raise ArgumentError("evaluate_every", f"0 for {self.data}", self.evaluate_every, remedy)
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            raise ArgumentError("tolerance", "between 0 and 1", self.tolerance, "pass --tolerance 0.01")
        if self.tolerance is not None and self.power_iterations is not None:
            received = f"{self.tolerance} and {self.power_iterations}"
            raise ArgumentError("tolerance or power_iterations", "one of the two", received, "leave one out")
        self._refuse_what_is_not_read()

    def _refuse_what_is_not_read(self) -> None:
        """An option that would change nothing is a misunderstanding, and recorded it would mislead."""
        default = TrainConfig(method=self.method)._filled()
        for name, (owner, readers) in _READ_BY.items():
            value, chosen = getattr(self, name), getattr(self, owner)
            if chosen not in readers and value != getattr(default, name):
                remedy = f"only {owner} = {' or '.join(readers)} reads it"
                raise ArgumentError(name, f"left out for {owner} = {chosen}", value, remedy)


def config_of(found: Any) -> TrainConfig:
    """The resolved configuration that a file holds. Raises TypeError for a field or a value of another kind.

    >>> config_of({"width": "1"})
    Traceback (most recent call last):
    TypeError: width cannot be '1'
    """
    fields, kinds = dict(**found), get_type_hints(TrainConfig)
    for field in dataclasses.fields(TrainConfig):
        name, value = field.name, fields.get(field.name, field.default)
        kind = kinds[name]
        fits = isinstance(value, kind) or (isinstance(value, int) and isinstance(0.0, kind))
        left_open = value is None and name in METHODS["none"]  # which the method would fill
        if not fits or left_open or isinstance(value, bool):
            raise TypeError(f"{name} cannot be {value!r}")
    return TrainConfig(**fields)


_POSITIVE = {
    *("steps", "critic_steps", "batch", "width", "latent", "critic_lr", "generator_lr"),
    *("clip", "gamma", "target", "power_iterations"),
    *("gradients_every", "layers_every", "samples_every", "checkpoint_every"),
}

# The field that decides whether an option is read, and its values under which it is.
_SPECTRAL = ("sn", "sn-operator")
_READ_BY: dict[str, tuple[str, tuple[str, ...]]] = {
    "clip": ("method", ("clip",)),
    "penalty": ("method", ("gp",)),
    "gamma": ("method", ("r1r2",)),
    "target": ("method", (*_SPECTRAL, "orthogonal")),
    "tolerance": ("method", _SPECTRAL),
    "power_iterations": ("method", _SPECTRAL),
    "beta1": ("optimizer", ("adam",)),
    "data_dir": ("data", tuple(name for name in DATASETS if name not in PLANAR)),
}

# Where a run was computed is no part of what was computed, unless a folder is the data set.
_PLACE = frozenset({"data_dir", "device"})
_PLACE_OF_IMAGES = _PLACE - {"data_dir"}


def require_seed(seed: int) -> None:
    """Raise ArgumentError for one that no generator of random numbers takes."""
    if seed < 0:
        raise ArgumentError("seed", "zero or a positive integer", seed, "pass --seed 0")


def require_threads(threads: int) -> None:
    """Raise ArgumentError for a number that no run is fastest with: torch crashes on very many.

    More than the machine has may be meant: a run ends with the bits of the number that it began with.
    """
    most = max(64, 4 * (os.cpu_count() or 1))
    if not 1 <= threads <= most:
        raise ArgumentError("threads", f"1 to {most}", threads, "leave it out for the fastest number")


def differing_fields(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The fields in which two configurations would train differently.

    >>> differing_fields({"seed": 0, "device": "cpu"}, {"seed": 1, "device": "cuda"})
    {'seed': (0, 1)}
    """
    place = _PLACE_OF_IMAGES if "images" in (a.get("data"), b.get("data")) else _PLACE
    names = sorted((a.keys() | b.keys()) - place)
    return {name: (a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)}


def in_words(differing: dict[str, tuple[Any, Any]], now: str = "now") -> str:
    """Differing fields in words.

    >>> in_words({"seed": (0, 1)})
    'seed (there 0, now 1)'
    """
    return ", ".join(f"{name} (there {a}, {now} {b})" for name, (a, b) in differing.items())
