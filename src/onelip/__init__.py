"""1-Lipschitz critics you can prove, and the study that tests every claim about spectral normalization."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onelip.certificate.certify import Certificate, certify
    from onelip.constraint.activation import FullSort, GroupSort, MaxMin
    from onelip.constraint.apply import constrain, refresh
    from onelip.constraint.bake import bake
    from onelip.constraint.clip import clip_weights
    from onelip.constraint.describe import describe
    from onelip.constraint.penalty import gradient_penalty
    from onelip.linear.interval import NormInterval
    from onelip.linear.norm import operator_norm, reshaped_norm

__version__ = "0.1.0"

# Resolved on first use, so that `onelip --help` need not import torch.
_PUBLIC = {
    "Certificate": "certificate.certify",
    "FullSort": "constraint.activation",
    "GroupSort": "constraint.activation",
    "MaxMin": "constraint.activation",
    "NormInterval": "linear.interval",
    "bake": "constraint.bake",
    "certify": "certificate.certify",
    "clip_weights": "constraint.clip",
    "constrain": "constraint.apply",
    "describe": "constraint.describe",
    "gradient_penalty": "constraint.penalty",
    "operator_norm": "linear.norm",
    "refresh": "constraint.apply",
    "reshaped_norm": "linear.norm",
}

__all__ = [
    "Certificate",
    "FullSort",
    "GroupSort",
    "MaxMin",
    "NormInterval",
    "bake",
    "certify",
    "clip_weights",
    "constrain",
    "describe",
    "gradient_penalty",
    "operator_norm",
    "refresh",
    "reshaped_norm",
]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"onelip.{_PUBLIC[name]}"), name)
    if name == "transport":
        return importlib.import_module("onelip.transport")
    raise AttributeError(f"module 'onelip' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "transport"])
