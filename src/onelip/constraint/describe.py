"""What is constrained in a module, to which norm, and what was left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import nn
from torch.nn.utils import parametrize

from onelip.constraint.orthogonal import OrthogonalKernel, OrthogonalMatrix
from onelip.constraint.pickling import parametrizations
from onelip.constraint.spectral import SpectralNorm
from onelip.linear.autocast import without_autocast
from onelip.linear.interval import NormInterval
from onelip.linear.layers import LINEAR_LAYERS
from onelip.linear.norm import operator_norm

Constraint = SpectralNorm | OrthogonalMatrix | OrthogonalKernel


@dataclass(frozen=True)
class LayerReport:
    """norm: the interval of the operator norm of the weight in use, in eval mode.

    input_shape: the input for which; None means for inputs of every size.
    """

    name: str
    kind: str
    target: float
    norm: NormInterval
    input_shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Description:
    """layers: what is constrained. left_alone: (name, reason) for everything else that holds parameters."""

    layers: tuple[LayerReport, ...]
    left_alone: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        rows = [("layer", "kind", "target", "operator norm", "at inputs of")]
        rows += [
            (
                report.name,
                report.kind,
                f"{report.target:g}",
                str(report.norm),
                "every size" if report.input_shape is None else " × ".join(map(str, report.input_shape)),
            )
            for report in self.layers
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join(lines + [f"left alone: {name} ({reason})" for name, reason in self.left_alone])


@without_autocast()
def describe(module: nn.Module) -> Description:
    """Per constrained layer its kind, target and interval; and what was left unconstrained, and why.

    >>> import torch
    >>> from onelip.constraint.apply import constrain
    >>> network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    >>> _ = network[0].weight.data.copy_(torch.eye(2))
    >>> print(describe(constrain(network, "spectral", allow=[nn.BatchNorm1d])))
    layer  kind      target  operator norm     at inputs of
    0      spectral  1       0.99999 … 1.00...  2
    left alone: 1 (BatchNorm1d: no linear layer)
    """
    layers: list[LayerReport] = []
    left_alone: list[tuple[str, str]] = []
    constrained: set[nn.Module] = set()
    for name, child in module.named_modules():
        if child in constrained:
            continue
        constraint = constraint_of(child)
        if constraint is not None:
            constrained.update(child.modules())
            layers.append(_report(name or "module", child, constraint))
        elif any(True for _ in child.parameters(recurse=False)):
            reason = "not constrained" if isinstance(child, LINEAR_LAYERS) else "no linear layer"
            left_alone.append((name or "module", f"{type(child).__name__}: {reason}"))
    return Description(tuple(layers), tuple(left_alone))


def constraint_of(module: nn.Module) -> Constraint | None:
    """The constraint on the module's weight, if there is one of ours."""
    if not parametrize.is_parametrized(module, "weight"):
        return None
    first = cast(nn.ModuleList, parametrizations(module)["weight"])[0]
    return first if isinstance(first, Constraint) else None


def _report(name: str, layer: nn.Module, constraint: Constraint) -> LayerReport:
    norm = operator_norm(layer, constraint.in_shape, name=name)
    return LayerReport(name, constraint.kind, constraint.target, norm, constraint.in_shape)
