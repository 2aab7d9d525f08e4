"""Which layers of a module to constrain: every linear one that is named, and nothing unknown passed over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from onelip.errors import ArgumentError, UnknownOperatorError
from onelip.linear.layers import is_linear, require_no_hooks, require_numbers

Names = str | Sequence[str]


def select(
    module: nn.Module, only: Names, exclude: Names, allow: Sequence[str | type[nn.Module]]
) -> dict[str, nn.Module]:
    """The linear layers whose names match `only`, not `exclude`; plain parameters and no forward hooks."""
    named = linear_layers(module, allow)
    layers = {n: layer for n, layer in named.items() if _matches(n, only) and not _matches(n, exclude)}
    if named:
        _require_matches("only", _patterns(only), named)
        _require_matches("exclude", _patterns(exclude), named)
    _require_matches("allow", [e for e in allow if isinstance(e, str)], dict(module.named_modules()))
    if not layers:
        requirement = "a network with linear layers to constrain"
        remedy = "see only= and exclude=" if named else "pass the network that holds them"
        raise ArgumentError("module", requirement, type(module).__name__, remedy)
    for name, layer in layers.items():
        for leaf, parameter in layer.named_parameters():
            require_numbers(parameter, f"{name or 'module'}.{leaf}")
        if set(layer._parameters) != {"weight", "bias"}:
            raise ArgumentError(
                f"{name or 'module'}.weight", "a plain parameter", "a computed one", "remove what computes it"
            )
        require_no_hooks(layer, name or "module")
    return layers


def linear_layers(module: nn.Module, allow: Sequence[str | type[nn.Module]] = ()) -> dict[str, nn.Module]:
    """The linear layers by qualified name, each once; any other owner of parameters raises unless allowed."""
    layers: dict[str, nn.Module] = {}
    left_alone: set[nn.Module] = set()
    for name, child in module.named_modules():
        if child in left_alone or any(_allows(entry, name, child) for entry in allow):
            left_alone.update(child.modules())
        elif is_linear(child):
            layers[name] = child
            left_alone.update(child.modules())
        elif any(True for _ in child.parameters(recurse=False)):
            kind = type(child).__name__
            raise UnknownOperatorError(
                f"{name or 'the module itself'!r} ({kind}) has parameters that no constraint is known for: "
                f"pass allow=[{name!r}] or allow=[{kind}] to leave it alone"
            )
    return layers


def _allows(entry: str | type[nn.Module], name: str, module: nn.Module) -> bool:
    return fnmatchcase(name, entry) if isinstance(entry, str) else isinstance(module, entry)


def _matches(name: str, patterns: Names) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _patterns(patterns))


def _patterns(patterns: Names) -> list[str]:
    return [patterns] if isinstance(patterns, str) else list(patterns)


def _require_matches(argument: str, patterns: list[str], names: Iterable[str]) -> None:
    """What matches nothing is a misunderstanding: the layer that was meant would be constrained, or not."""
    names = list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ArgumentError(argument, f"names or patterns of {', '.join(names)}", pattern, "see fnmatch")
