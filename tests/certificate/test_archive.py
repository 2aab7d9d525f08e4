"""Exported programs are read, and nothing in a file is executed: hostile archives of every kind we know."""

import io
import json
import os
import pickle
import random
import re
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import onelip
from onelip.certificate.archive import read_program
from onelip.certificate.certify import certify
from onelip.errors import ArgumentError, DataError, OnelipError

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("shift", torch.ones(2), persistent=False)

    def forward(self, x):
        return torch.cat([self.layer(x) + self.shift, torch.tensor([1.0]).expand(x.shape[0], 1)], 1)


@pytest.fixture
def program():
    torch.manual_seed(0)
    shapes = ({0: torch.export.Dim("batch")},)
    return torch.export.export(Network().eval(), (torch.randn(4, 3),), dynamic_shapes=shapes)


@pytest.fixture
def archive(program, tmp_path):
    path = tmp_path / "model.pt2"
    torch.export.save(program, path)
    return path


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, trap: Path):
        self.trap = trap

    def __reduce__(self):
        return os.system, (f"touch {self.trap}",)


def pickled(value) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def edited(path: Path, changes: dict[str, object]) -> Path:
    """A copy of the archive: bytes replace or add a member, functions edit its JSON."""
    out = path.with_name("edited.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        root = old.namelist()[0].partition("/")[0]
        contents = {name.partition("/")[2]: old.read(name) for name in old.namelist()}
        for name, change in changes.items():
            if callable(change):
                document = json.loads(contents[name])
                change(document)
                contents[name] = json.dumps(document).encode()
            else:
                contents[name] = change
        for name, content in contents.items():
            new.writestr(f"{root}/{name}", content)
    return out


def test_a_saved_program_comes_back_as_it_was(program, archive):
    x = torch.randn(4, 3)
    loaded = read_program(archive)
    assert torch.equal(loaded.module()(x), program.module()(x))


def test_sample_inputs_are_never_unpickled(archive, tmp_path):
    trap = tmp_path / "trap"
    hostile = edited(archive, {SAMPLES: pickled(((Bomb(trap),), {}))})
    read_program(hostile)
    assert not trap.exists()


def test_the_hostile_archive_would_work_on_torch_alone(archive, tmp_path):
    """Without this the test above could not fail."""
    trap = tmp_path / "trap"
    torch.load(io.BytesIO(pickled(((Bomb(trap),), {}))), weights_only=False)
    assert trap.exists()


def use_pickle(document):
    document["config"]["layer.weight"]["use_pickle"] = True


def custom_object(document):
    document["config"]["thing"] = {"path_name": "custom_obj_0", "is_param": False, "use_pickle": True,
                                   "tensor_meta": None}  # fmt: skip


def opaque_object(document):
    document["config"]["thing"] = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False,
                                   "tensor_meta": {}}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "member", "change"),
    [
        (WEIGHTS, "data/weights/weight_0", use_pickle),
        (CONSTANTS, "data/constants/custom_obj_0", custom_object),
        (CONSTANTS, "data/constants/opaque_obj_0", opaque_object),
    ],
)
def test_weights_and_constants_that_need_pickle_are_refused(archive, tmp_path, config, member, change):
    trap = tmp_path / "trap"
    hostile = edited(archive, {config: change, member: pickle.dumps(Bomb(trap))})
    with pytest.raises(DataError):
        read_program(hostile)
    assert not trap.exists()


def call(target):
    def change(document):
        document["graph_module"]["graph"]["nodes"][0]["target"] = target

    return change


def size(expression):
    def change(document):
        values = document["graph_module"]["graph"]["tensor_values"]
        values["x"]["sizes"][0] = {"as_expr": {"expr_str": expression, "hint": None}}

    return change


def nesting(specification):
    def change(document):
        document["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps(
            [1, specification]
        )

    return change


def argument(kind):
    def change(document):
        document["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"] = {kind: {"name": "x"}}

    return change


@pytest.mark.parametrize(
    "change",
    [
        call("torch.os.system"),
        call("torch.ops.aten.from_file.default"),
        call("torch.ops.prim.device.default"),
        call("_operator.attrgetter"),
        call("#extension:op"),
        size("__import__('os').system('touch trap')"),
        size("Symbol('s0').__class__"),
        size("().__class__.__base__.__subclasses__()"),
        size("[x for x in (1,)][0]"),
        size("lambda: 1"),
        nesting({"type": "collections.defaultdict", "context": "{}", "children_spec": []}),
        nesting({"type": "builtins.dict", "context": '{"__enum__": true}', "children_spec": []}),
        argument("as_operator"),
        argument("as_custom_obj"),
        argument("as_graph"),
    ],
)  # fmt: skip
def test_graphs_that_could_run_code_are_refused(archive, change):
    with pytest.raises(DataError, match="is not loaded"):
        read_program(edited(archive, {MODEL: change}))


def test_guards_are_not_kept(archive):
    def guard(document):
        document["guards_code"] = ["open('trap', 'w')"]

    assert read_program(edited(archive, {MODEL: guard})) is not None
    assert not Path("trap").exists()


@pytest.mark.parametrize(
    "member", ["data/aotinductor/model/code.so", "data/weights/model.pt", "models/other.json"]
)
def test_unknown_members_are_refused(archive, member):
    with pytest.raises(DataError, match="may be code"):
        read_program(edited(archive, {member: b"x"}))


def test_two_members_of_one_name_are_refused(archive):
    with zipfile.ZipFile(archive, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr(file.namelist()[0], b"x")
    with pytest.raises(DataError, match="two members"):
        read_program(archive)


def test_pickles_are_refused_with_the_way_to_convert_them(tmp_path):
    trap, path = tmp_path / "trap", tmp_path / "weights.pt"
    for content in (pickled(Bomb(trap)), pickle.dumps(Bomb(trap)), b"nonsense"):
        path.write_bytes(content)
        with pytest.raises(ArgumentError, match=r"torch\.export\.save"):
            read_program(path)
    assert not trap.exists()


def test_missing_and_damaged_files_are_named(tmp_path, archive):
    with pytest.raises(ArgumentError, match="not there"):
        read_program(tmp_path / "none.pt2")
    with pytest.raises(DataError, match="is not loaded"):
        read_program(edited(archive, {MODEL: b"{"}))
    with pytest.raises(DataError, match="damaged"):
        read_program(edited(archive, {MODEL: lambda document: document.pop("graph_module")}))


def outcome(path: Path, content: bytes, x: torch.Tensor) -> tuple[str, torch.Tensor | None]:
    """What the one line says, or what the program that was read makes of x."""
    path.write_bytes(content)
    try:
        return "", read_program(path).module()(x)
    except OnelipError as error:
        return str(error), None


# What a bit in the records around the members can hit, and what zipfile then raises.
RECORDS = [
    (b"PK\x01\x02", 10, 0, "NotImplementedError"),  # how a member is compressed
    (b"PK\x01\x02", 8, 0, "RuntimeError"),  # whether it is encrypted
    (b"PK\x01\x02", 46, 1, "BadZipFile"),  # its name
    (b"PK\x01\x02", 16, 3, "BadZipFile"),  # its checksum
    (b"PK\x01\x02", 45, 6, "EOFError|BadZipFile|OverflowError"),  # where it is
    (b"PK\x03\x04", 30, 7, "UnicodeDecodeError"),  # its name once more
    (b"PK\x06\x06", 43, 6, "OSError|BadZipFile"),  # how long the list of members is
]


@pytest.mark.parametrize(("record", "offset", "bit", "error"), RECORDS)
def test_one_bit_off_in_a_record_is_damage(archive, record, offset, bit, error):
    content = bytearray(archive.read_bytes())
    content[content.rindex(record) + offset] ^= 1 << bit  # the sample inputs are a zip file, too
    said, _ = outcome(archive, bytes(content), torch.zeros(4, 3))
    assert re.search(f"model.pt2 is damaged: ({error})", said)


def test_one_bit_off_anywhere_is_one_line_or_changes_nothing(program, archive, capfd, caplog):
    content, x = archive.read_bytes(), torch.randn(4, 3)
    expected, choose = program.module()(x), random.Random(0)
    for _ in range(100):
        flipped = bytearray(content)
        flipped[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
        said, y = outcome(archive, bytes(flipped), x)
        assert torch.equal(y, expected) if y is not None else "\n" not in said
    assert not any(capfd.readouterr())
    assert not caplog.records


def test_what_torch_cannot_load_is_one_line_and_no_more(archive, capfd, caplog):
    def rename(document):
        document["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"]["as_tensor"]["name"] = "z"

    with pytest.raises(DataError, match="is damaged") as raised:
        read_program(edited(archive, {MODEL: rename}))
    assert "\n" not in str(raised.value)
    assert not any(capfd.readouterr())
    assert not caplog.records


def test_a_constrained_network_is_to_be_baked_before_it_is_saved(tmp_path):
    network, x = onelip.constrain(nn.Linear(2, 2), "spectral").eval(), torch.zeros(2, 2)
    torch.export.save(torch.export.export(network, (x,)), tmp_path / "constrained.pt2")
    with pytest.raises(DataError, match=r"call onelip.bake before torch.export"):
        read_program(tmp_path / "constrained.pt2")
    torch.export.save(torch.export.export(onelip.bake(network), (x,)), tmp_path / "baked.pt2")
    assert certify(read_program(tmp_path / "baked.pt2"), (2,)).upper <= 1 + 1e-6
