"""Stored pairs: what loads is the pair that was saved; anything else is one clear line."""

import pytest
import safetensors.torch
import torch
from torch import nn

from onelip.errors import DataError
from onelip.transport import funnel_pair, load_pair

PAIR = funnel_pair(3, 5, seed=0)
STATE = {"centers": PAIR.centers, "bias": PAIR.bias}


@pytest.mark.parametrize("prefix", ["", "net.", "benchmark.net."])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_stored_pair_is_the_pair(tmp_path, prefix, suffix):
    file = tmp_path / f"pair{suffix}"
    state = {prefix + name: tensor for name, tensor in STATE.items()}
    (safetensors.torch.save_file if suffix == ".safetensors" else torch.save)(state, file)
    loaded = load_pair(file)
    assert torch.equal(loaded.centers, PAIR.centers)
    assert torch.equal(loaded.bias, PAIR.bias)


def test_float32_parameters_become_a_float64_pair(tmp_path):
    torch.save({name: nn.Parameter(tensor.float()) for name, tensor in STATE.items()}, tmp_path / "pair.pt")
    loaded = load_pair(str(tmp_path / "pair.pt"))
    assert loaded.centers.dtype == loaded.bias.dtype == torch.float64
    assert not loaded.centers.requires_grad


class Trojan:
    def __reduce__(self):
        return (print, ("code from a file must never run",))


BAD = [
    ({"center": PAIR.centers, "bias": PAIR.bias}, r"must hold two dense tensors, .* \['bias', 'center'\]"),
    ({"centers": PAIR.centers}, r"found \['centers'\]"),
    ({**STATE, "extra": PAIR.bias}, "must hold two dense tensors"),
    ({"a.centers": PAIR.centers, "b.bias": PAIR.bias}, "behind one prefix or none"),
    ({"centers": PAIR.centers, "bias": [0.0] * 5}, "must hold two dense tensors"),
    ({"centers": PAIR.centers, "bias": PAIR.bias[:4]}, r"bias must be .* \[N\], got .* shape \[4\]"),
    ({"centers": PAIR.centers.to_sparse(), "bias": PAIR.bias}, "must hold two dense tensors"),
    ({"centers": PAIR.centers[0], "bias": PAIR.bias}, r"centers must be .* \[N, D\]"),
    ({"centers": PAIR.centers * torch.nan, "bias": PAIR.bias}, "centers must be finite, got 15 of 15"),
    ({"centers": PAIR.centers.long(), "bias": PAIR.bias}, "centers must be floating-point"),
    ([PAIR.centers, PAIR.bias], "must hold a dict of two tensors, found list"),
    (Trojan(), "neither a torch file of plain tensors nor safetensors"),
    (nn.Linear(2, 2), "neither a torch file of plain tensors"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_a_file_of_another_form_is_refused_in_one_line(tmp_path, capsys, content, message):
    torch.save(content, tmp_path / "pair.pt")
    assert_refused(tmp_path / "pair.pt", message)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["pair.pt", "pair.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 cut off", b"\x00" * 64, b"plain text", b"hello world", b"R"]
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert_refused(tmp_path / name, "neither a torch file of plain tensors nor safetensors")


def test_a_missing_file_is_named(tmp_path):
    assert_refused(tmp_path / "none.pt", r"none\.pt is missing")
    assert_refused(tmp_path, "is missing")


def assert_refused(file, message):
    with pytest.raises(DataError, match=message) as error:
        load_pair(file)
    assert "\n" not in str(error.value)
    assert "weights_only" not in str(error.value)  # torch's advice to load the file as code
