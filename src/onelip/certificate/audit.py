"""`onelip audit`: the certificate of a network in a file or behind a factory, as a table and in words."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_map_only

from onelip.certificate.archive import read_program
from onelip.certificate.certify import Certificate, Layer, certify
from onelip.errors import ArgumentError
from onelip.files import require_place, write_json
from onelip.named import named
from onelip.rounding import decimal

EXIT_EXCEEDED = 1


@dataclass(frozen=True, eq=False)
class AuditResult:
    """A certificate, what dominates it and what to do, and whether it meets the wanted bound."""

    certificate: Certificate
    advice: tuple[str, ...]
    max_lipschitz: float | None

    @property
    def passed(self) -> bool:
        """False where the upper bound exceeds `max_lipschitz`; a bound that is not wanted is met."""
        return self.max_lipschitz is None or self.certificate.upper <= self.max_lipschitz

    def to_json(self) -> dict[str, Any]:
        """Plain data; an infinite bound is the string "inf", because JSON has no such number."""
        c = self.certificate
        witness = c.witness and {
            "x": c.witness.x.tolist(),
            "y": c.witness.y.tolist(),
            "ratio": c.witness.ratio,
        }
        found = {
            "input_shape": list(c.input_shape),
            "lower": c.lower,
            "upper": c.upper,
            "method": c.method,
            "why": c.why,
            "max_lipschitz": self.max_lipschitz,
            "passed": self.passed,
            "advice": list(self.advice),
            "layers": [asdict(layer) for layer in c.layers],
            "witness": witness,
        }
        return tree_map_only(float, lambda number: "inf" if number == math.inf else number, found)


def audit(
    network: nn.Module | ExportedProgram, input_shape: tuple[int, ...], max_lipschitz: float | None = None
) -> AuditResult:
    """Certify a network and say what dominates the bound.

    >>> result = audit(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), (2,), max_lipschitz=100.0)
    >>> result.passed, len(result.certificate.layers)
    (True, 2)
    """
    if max_lipschitz is not None and not 0 <= max_lipschitz < math.inf:
        remedy = "leave it out, or pass --max-lipschitz 1"
        raise ArgumentError("max_lipschitz", "a finite number of at least 0", max_lipschitz, remedy)
    certificate = certify(network, input_shape)
    return AuditResult(certificate, tuple(_advice(certificate)), max_lipschitz)


def run_audit(
    file: Path | None,
    input_shape: str,
    factory: str | None = None,
    weights: Path | None = None,
    json_out: Path | None = None,
    max_lipschitz: float | None = None,
    console: Console | None = None,
) -> int:
    """The command: load, certify, print, write. Returns the exit code, 1 where max_lipschitz is exceeded.

    file: a torch.export program (.pt2). factory: "package.module:function" for a module instead, found
    from the current folder too, with `weights` from a .safetensors file. input_shape: such as "1,28,28".
    """
    shape = parse_shape(input_shape)
    if (file is None) == (factory is None):
        received = "both" if file else "neither"
        remedy = "give one of them: onelip audit model.pt2, or --factory package.module:function"
        raise ArgumentError("file", "given, or factory", received, remedy)
    if weights is not None and factory is None:
        raise ArgumentError("weights", "given with factory", weights, "a .pt2 file holds its own weights")
    if json_out is not None:
        require_place(json_out)  # before the work
    network = read_program(file) if file is not None else build(factory or "", weights)
    result = audit(network, shape, max_lipschitz)
    render(result, console or Console())
    if json_out is not None:
        write_json(json_out, result.to_json())
    return 0 if result.passed else EXIT_EXCEEDED


def parse_shape(text: str) -> tuple[int, ...]:
    """The shape of one sample from the command line.

    >>> parse_shape("1,28,28")
    (1, 28, 28)
    """
    sizes = text.replace("x", ",").split(",")
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        remedy = "give the shape of one sample, such as 1,28,28"
        raise ArgumentError("input_shape", "positive integers with commas", repr(text), remedy)
    return tuple(int(size) for size in sizes)


def build(factory: str, weights: Path | None = None) -> nn.Module:
    """The module that "package.module:function" returns, with weights from a .safetensors file."""
    function = named("factory", factory)
    try:
        made = function()
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        received = f"{factory}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        remedy = "call it by hand, without arguments"
        raise ArgumentError("factory", "a function that can be called", received, remedy) from error
    if not isinstance(made, nn.Module):
        raise ArgumentError(
            "factory", "a function that returns an nn.Module", type(made).__name__, "return one"
        )
    if weights is not None:
        _load_weights(made, weights)
    return made


def _load_weights(module: nn.Module, weights: Path) -> None:
    if weights.suffix != ".safetensors":
        remedy = "save them with safetensors.torch.save_file(module.state_dict(), 'weights.safetensors')"
        raise ArgumentError("weights", "a .safetensors file, which holds no code", weights.name, remedy)
    try:
        module.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        received = f"{weights.name}: {' '.join(str(error).split())[:300]}"
        raise ArgumentError(
            "weights", "the weights of this network", received, "check file and factory"
        ) from error


def render(result: AuditResult, console: Console) -> None:
    """The table, a layer a row, the certificate, and the words."""
    table = Table("layer", "operator", "reshaped norm", "norm of the operator", "up to here", "how")
    for layer in result.certificate.layers:
        norm = "" if layer.norm is None else str(layer.norm)
        reshaped = "" if layer.reshaped is None else f"{layer.reshaped:.4g}"
        how = layer.norm.method if layer.norm and layer.reshaped is not None else layer.method
        name, operator = escape(layer.name), escape(layer.operator)
        table.add_row(name, operator, reshaped, norm, decimal(layer.cumulative, 5, "upper"), how)
    console.print(table)
    console.print(str(result.certificate), highlight=False, markup=False)
    for sentence in result.advice:
        console.print(sentence, highlight=False, markup=False)
    if result.max_lipschitz is not None:
        verdict = "met" if result.passed else "exceeded"
        console.print(f"The bound of {result.max_lipschitz:g} is {verdict}.", highlight=False)


def _advice(certificate: Certificate) -> list[str]:
    if certificate.upper == math.inf:
        return [
            f"No finite bound: {certificate.why}.",
            "Replace that operator by one whose slope is bounded.",
        ]
    sentences = []
    if certificate.upper > 0:
        share = certificate.lower / certificate.upper
        sentences.append(f"The witness reaches {share:.0%} of the proved bound: the truth lies between.")
    growing = [layer for layer in certificate.layers if layer.norm is not None and layer.norm.upper > 1]
    if not growing:
        return [*sentences, "No layer alone stretches distances."]
    worst = max(growing, key=lambda layer: layer.norm.upper if layer.norm else 0.0)
    assert worst.norm is not None, "filtered above"
    where = f"{worst.operator} in {worst.name!r}" if worst.name else worst.operator
    factor = decimal(worst.norm.upper, 5, "upper")
    return [*sentences, f"{where} dominates, with a factor of up to {factor}. {_remedy(worst)}"]


def _remedy(layer: Layer) -> str:
    if layer.reshaped is not None:
        return "onelip.constrain(network, 'spectral', input_shape=...) keeps it at a target while training."
    if "norm" in layer.operator:
        return "A normalisation stretches by γ/√ε or γ/√variance: fold it into the weights, or leave it out."
    if "pool" in layer.operator:
        return "Make the stride equal to the kernel, or pool by averages."
    return "Scale its output down, or choose an operator with slope at most 1."
