"""The audit as the command calls it: files, factories, tables, JSON, exit codes, one-line errors."""

import io
import json
import re
import sys

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file
from torch import nn

from onelip.certificate.audit import audit, render, run_audit
from onelip.certificate.certify import certify
from onelip.errors import ArgumentError

FACTORY = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(72, 1))

def broken():
    raise KeyError("no such thing")

def number():
    return 3

def leaves():
    raise SystemExit(0)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "my_critics.py").write_text(FACTORY)
    (tmp_path / "my_script.py").write_text("raise SystemExit(0)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_critics", None)


def run(**options):
    out = io.StringIO()
    code = run_audit(
        **{"file": None, "input_shape": "1,8,8", "console": Console(file=out, width=120), **options}
    )
    return code, out.getvalue()


def test_a_program_from_a_file_as_table_and_json(tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 1)).eval()
    torch.export.save(torch.export.export(network, (torch.randn(2, 1, 8, 8),)), tmp_path / "m.pt2")
    code, text = run(file=tmp_path / "m.pt2", json_out=tmp_path / "deep" / "audit.json")
    assert code == 0
    assert all(
        word in text for word in ("conv2d", "linear", "reshaped norm", "Lipschitz constant ≤", "witness")
    )
    document = json.loads((tmp_path / "deep" / "audit.json").read_text())
    assert document["lower"] <= document["upper"]
    assert [layer["operator"] for layer in document["layers"]] == ["conv2d", "relu", "linear"]
    x, y = (torch.tensor(document["witness"][name], dtype=torch.float64) for name in "xy")
    with torch.no_grad():
        fx, fy = network.double()(torch.stack([x, y]))
    assert ((fx - fy).norm() / (x - y).norm()).item() == pytest.approx(document["lower"], rel=1e-6)


def test_max_lipschitz_decides_the_exit_code(folder):
    assert run(factory="my_critics:make", max_lipschitz=50.0)[0] == 0
    code, text = run(factory="my_critics:make", max_lipschitz=1e-6)
    assert code == 1
    assert "is exceeded" in text


def test_weights_from_safetensors_are_the_ones_certified(folder):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(72, 1))
    save_file(
        {name: torch.zeros_like(value) for name, value in network.state_dict().items()}, "w.safetensors"
    )
    code, text = run(factory="my_critics:make", weights=folder / "w.safetensors", max_lipschitz=0.0)
    assert code == 0
    assert "constant ≤ 0 " in text


def test_an_infinite_bound_says_why_and_is_never_met():
    class Gate(nn.Module):
        def forward(self, x):
            return x * torch.tanh(x)

    result = audit(Gate(), (2,), max_lipschitz=1e9)
    assert not result.passed
    assert "product of two" in result.advice[0]
    assert result.to_json()["upper"] == "inf"
    json.dumps(result.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("network", "shape", "expected"),
    [
        (nn.LayerNorm(4), (4,), "normalisation"),
        (nn.MaxPool1d(3, 1), (1, 6), "stride equal to the kernel"),
        (nn.ReLU(), (4,), "No layer alone stretches"),
        (nn.SELU(), (4,), "slope at most 1"),
    ],
    ids=str,
)
def test_the_advice_names_what_dominates(network, shape, expected):
    assert any(expected in sentence for sentence in audit(network, shape).advice)


def test_errors_are_one_line_each(folder):
    (folder / "w.pt").write_bytes(b"x")
    (folder / "w.safetensors").write_bytes(b"x")
    save_file({"other": torch.zeros(1)}, "other.safetensors")
    cases = [
        ({}, "file must be given, or factory, got neither"),
        ({"file": folder / "m.pt2", "factory": "a:b"}, "got both"),
        ({"file": folder / "m.pt2", "weights": folder / "w.pt"}, "weights must be given with factory"),
        ({"factory": "my_critics"}, "package.module:name"),
        ({"factory": "nowhere:make"}, "ModuleNotFoundError"),
        ({"factory": "my_critics:absent"}, "AttributeError"),
        ({"factory": "my_critics:broken"}, "no such thing"),
        ({"factory": "my_critics:leaves"}, "SystemExit"),
        ({"factory": "my_script:make"}, "SystemExit"),
        ({"factory": "my_critics:number"}, "returns an nn.Module"),
        ({"factory": "my_critics:make", "weights": folder / "w.pt"}, "safetensors.torch.save_file"),
        ({"factory": "my_critics:make", "weights": folder / "w.safetensors"}, "weights of this network"),
        ({"factory": "my_critics:make", "weights": folder / "other.safetensors"}, "Missing key"),
        ({"factory": "my_critics:make", "weights": folder / "none.safetensors"}, "weights of this network"),
        ({"factory": "my_critics:make", "input_shape": "1,x,8"}, "positive integers"),
        ({"factory": "my_critics:make", "input_shape": "1,9,9"}, "a shape that the network takes"),
        ({"factory": "my_critics:make", "max_lipschitz": -1.0}, "at least 0"),
        ({"factory": "my_critics:make", "max_lipschitz": float("nan")}, "at least 0"),
        ({"factory": "my_critics:make", "max_lipschitz": float("inf")}, "a finite number"),
    ]  # fmt: skip
    for options, message in cases:
        with pytest.raises(ArgumentError) as raised:
            run(**options)
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)


def test_norms_beyond_the_largest_number_are_words_in_json():
    layer = nn.Linear(8, 8).double()
    layer.weight.data.fill_(1e308)
    document = audit(layer, (8,)).to_json()
    assert document["upper"] == document["layers"][0]["norm"]["upper"] == "inf"
    json.dumps(document, allow_nan=False)


def test_names_are_no_markup():
    network = nn.Sequential()
    network.add_module("[/x]", nn.ReLU())
    out = io.StringIO()
    render(audit(network, (2,)), Console(file=out, width=120))
    assert "[/x]" in out.getvalue()


def test_what_is_printed_is_still_a_bound():
    """Rounded to the nearest, an upper bound of 1.0000004 reads as the 1 that it exceeds."""
    network = nn.Sequential(nn.Linear(1, 1).double(), nn.Identity())
    network[0].weight.data.fill_(1.0000004)
    out = io.StringIO()
    result = audit(network, (1,), max_lipschitz=1.0)
    render(result, Console(file=out, width=120))
    assert not result.passed
    (low, high), *_ = re.findall(r"(\S+) ≤ Lipschitz constant ≤ (\S+)", out.getvalue())
    assert float(low) <= result.certificate.lower
    assert float(high) >= result.certificate.upper
    (norms,) = re.findall(r"(\S+) … (\S+) +│ (\S+)", out.getvalue())
    layer = result.certificate.layers[0]
    assert float(norms[0]) <= layer.norm.lower
    assert float(norms[1]) >= layer.norm.upper
    assert float(norms[2]) >= layer.cumulative
    (factor,) = re.findall(r"factor of up to (\S+)\. ", out.getvalue())
    assert float(factor) >= layer.norm.upper


def test_a_certificate_in_words_is_one_line_of_bounds():
    certificate = certify(nn.Linear(3, 2), (3,))
    low, high = re.fullmatch(r"(\S+) ≤ Lipschitz constant ≤ (\S+) +\(ℓ2, .*\)", str(certificate)).groups()
    assert float(low) <= certificate.lower <= certificate.upper <= float(high)
    assert "tensor" not in repr(certificate)
