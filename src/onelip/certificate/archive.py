"""Read an exported program (.pt2) without executing anything that it holds.

torch.export.load unpickles sample inputs, weights and constants where an archive asks for it, evaluates
shape expressions as Python and resolves operator names anywhere under torch. So an archive is read here
member by member, each checked, and what passed is written into a fresh archive, without sample inputs:
torch loads that one. Everything that is not known to be plain data is refused.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram
from torch.export.pt2_archive._package import PT2ArchiveWriter, load_pt2

from onelip.errors import ArgumentError, DataError, OnelipError, typed_line

_MODEL = "models/model.json"
_SAMPLES = "data/sample_inputs/model.pt"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_PLAIN = re.compile(r"archive_format|archive_version|byteorder|data/(weights/weight|constants/tensor)_\d+")
_IGNORED = re.compile(r"\.data/.*|extra/.*")
_TARGET = re.compile(
    r"torch\.ops\.aten\.(?!from_file\b)\w+(\.\w+)?|torch\.sym_(int|float|max|min|not|sqrt|ite)|math\.(ceil|floor|trunc)"
    r"|_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|eq|ne|lt|le|gt|ge|and_|or_)"
)
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict")
_SHAPE_FUNCTIONS = (
    "Symbol", "Integer", "Add", "Mul", "Pow", "Max", "Min", "Mod", "FloorDiv", "CleanDiv", "CeilDiv",
    "PythonMod", "Eq", "Ne", "Lt", "Le", "Gt", "Ge",
)  # fmt: skip
_SHAPE_SYNTAX = (
    ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.BinOp, ast.UnaryOp,
    ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Div, ast.Mod, ast.Pow, ast.USub,
)  # fmt: skip
_HOW_TO_CONVERT = (
    "in the program that made it, load the weights into the module and call "
    "torch.export.save(torch.export.export(module.eval(), (example,)), 'model.pt2')"
)


def read_program(path: Path) -> ExportedProgram:
    """The exported program in `path`. No pickle is loaded, and no code in the file is run.

    Raises ArgumentError for a file that is no torch.export archive (with the way to convert it), DataError
    for one with members that would have to be unpickled or evaluated.
    """
    members = _checked(_members(path), path)
    buffer = io.BytesIO()
    with PT2ArchiveWriter(buffer) as writer:  # type: ignore[arg-type]
        for name, content in members.items():
            writer.write_bytes(name, content)
        writer.write_bytes(_SAMPLES, b"")
    buffer.seek(0)
    with _damage_named(path):
        # torch.export.load would log what goes wrong with its traceback, and raise something else.
        return load_pt2(buffer).exported_programs["model"]


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """A damaged archive fails in many ways: each becomes one line."""
    try:
        yield
    except OnelipError:
        raise
    except Exception as error:
        raise DataError(f"{path} is damaged: {typed_line(error)}") from error


def _members(path: Path) -> dict[str, bytes]:
    """Name, without the archive's folder, and content of every member, each of its checksum."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "not there"
        raise ArgumentError(
            "file", "an exported program (.pt2)", f"{path}, which is {found}", "check the path"
        )
    with _damage_named(path):
        if not zipfile.is_zipfile(path):
            raise _not_a_program(path, "a pickle or another format")
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(set(names)) != len(names):
                raise DataError(f"{path} holds two members of one name")
            if any(name.endswith("data.pkl") for name in names):
                raise _not_a_program(path, "a pickle written by torch.save or torch.jit.save")
            members = {name.partition("/")[2]: archive.read(name) for name in names}
    if _MODEL not in members or members.get("archive_format") != b"pt2":
        raise _not_a_program(path, "a zip file of another kind, or of torch before 2.8")
    return members


def _not_a_program(path: Path, what: str) -> ArgumentError:
    return ArgumentError("file", "an exported program (.pt2)", f"{path.name}, {what}", _HOW_TO_CONVERT)


def _checked(members: dict[str, bytes], path: Path) -> dict[str, bytes]:
    checked: dict[str, bytes] = {}
    for name, content in members.items():
        if name == _SAMPLES or _IGNORED.fullmatch(name):
            continue
        if name == _MODEL:
            checked[name] = _checked_json(content, path, _model)
        elif name in _CONFIGS:
            checked[name] = _checked_json(content, path, _payload)
        elif _PLAIN.fullmatch(name):
            checked[name] = content
        else:
            raise DataError(f"{path} holds {name}, which may be code: it is not loaded")
    return checked


def _checked_json(content: bytes, path: Path, check: Callable[[Any], Any]) -> bytes:
    try:
        return json.dumps(check(json.loads(content))).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is not loaded: {error}") from error


def _payload(document: Any) -> Any:
    """Weights and constants as raw numbers, none of them pickled."""
    for name, entry in document["config"].items():
        if entry.get("use_pickle") is not False or entry.get("tensor_meta") is None:
            raise ValueError(f"{name} would have to be unpickled; {_HOW_TO_CONVERT}")
        if not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
            raise ValueError(f"{name} is stored as {entry['path_name']}, which may be code")
    return document


def _model(document: Any) -> Any:
    """The graph, with operators of ATen alone and without code in guards, metadata and shape expressions."""
    document.pop("guards_code", None)
    for part in _dicts(document):
        for key in part.keys() & _CHECKS.keys():
            _CHECKS[key](part[key])
        if "metadata" in part and isinstance(part["metadata"], dict):
            part["metadata"] = {k: v for k, v in part["metadata"].items() if k == "nn_module_stack"}
    return document


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _dicts(item)


def _target(target: Any) -> None:
    if isinstance(target, str) and not _TARGET.fullmatch(target):
        constrained = target.startswith("torch.ops.onelip.")
        remedy = ": call onelip.bake before torch.export" if constrained else ""
        raise ValueError(f"its graph calls {target!r}, which is no operator of ATen{remedy}")


def _shape_expression(expression: Any) -> None:
    """srepr of a SymPy expression in sizes: calls of a few constructors on numbers and names."""
    for node in ast.walk(ast.parse(str(expression), mode="eval")):
        known = isinstance(node, _SHAPE_SYNTAX)
        if isinstance(node, ast.Call):
            known = isinstance(node.func, ast.Name) and node.func.id in _SHAPE_FUNCTIONS
        if isinstance(node, ast.Name):
            known = node.id in _SHAPE_FUNCTIONS or re.fullmatch(r"[su]\d+", node.id) is not None
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            known = node.value.isidentifier() and "__" not in node.value
        if not known:
            raise ValueError(f"a size is given as {str(expression)[:60]!r}, which may be code")


def _tree(specification: Any) -> None:
    """How inputs and outputs are nested: tuples, lists and dicts, whose contexts are plain."""
    if not specification:
        return
    for part in _dicts(json.loads(specification)):
        context = json.loads(part["context"]) if part.get("context") else None
        plain = context is None or (
            isinstance(context, list) and all(isinstance(c, str | int) for c in context)
        )
        if part.get("type") not in _CONTAINERS or not plain:
            raise ValueError(f"its inputs are nested in {part.get('type')!r}, which may be code")


def _never(value: Any) -> None:
    if value is not None:
        raise ValueError("it holds custom objects or nested graphs, which may be code")


_CHECKS: dict[str, Callable[[Any], None]] = {
    "target": _target,
    "expr_str": _shape_expression,
    "in_spec": _tree,
    "out_spec": _tree,
    **dict.fromkeys(("as_operator", "as_custom_obj", "as_graph", "as_opaque"), _never),
}
