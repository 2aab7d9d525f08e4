"""IDX files written by hand, and the real ones truncated and altered."""

import gzip
import shutil
import struct
from pathlib import Path

import pytest
import torch

from onelip.data import ImageSet, load
from onelip.data import sources as sources_module
from onelip.data.idx import read_idx
from onelip.data.sources import SOURCES, folders
from onelip.errors import DataError

MNIST = Path(__file__).parents[2] / "data" / "mnist"
IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
DIGEST = "0" * 64


def idx(*shape, data=None):
    size = int(torch.tensor(shape).prod())
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    return header + (bytes(range(size)) if data is None else data)


@pytest.fixture
def copy(tmp_path):
    """A folder with copies of MNIST's test files."""
    for name in (IMAGES, LABELS):
        shutil.copy(MNIST / name, tmp_path)
    return tmp_path


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No folder has data and every download fails; the folder in which the command runs is empty."""

    def refuse(*_):
        raise OSError("no route to host")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONELIP_DATA", raising=False)
    monkeypatch.setattr("pooch.retrieve", refuse)
    monkeypatch.setattr(sources_module, "__file__", str(tmp_path / "src/onelip/data/sources.py"))


@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4)])
@pytest.mark.parametrize("compress", [gzip.compress, bytes], ids=["gzip", "plain"])
def test_idx_files_give_their_array(tmp_path, shape, compress):
    path = tmp_path / "file"
    path.write_bytes(compress(idx(*shape)))
    expected = torch.arange(torch.tensor(shape).prod()).to(torch.uint8).reshape(shape)
    assert torch.equal(read_idx(path), expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no IDX file .* found none of 0"),
        (b"\0\0\x08", "is no IDX file .* found 00 00 08 of 3"),
        (b"<html>", "is no IDX file of unsigned bytes: .* found 3c 68 74"),
        (b"\0\0\x0d\x01\0\0\0\x01abcd", "is no IDX file of unsigned bytes"),
        (b"\0\0\x08\0", "is no IDX file"),
        (idx(2, 3)[:9], "is no IDX file"),
        (idx(2, 3)[:-1], r"header announces 6 bytes of data \(2 × 3\), found 5"),
        (idx(2, 3) + b"x", "announces 6 .* found 7"),
        (idx(0, data=b""), "announces 0 .* found 0"),
        (gzip.compress(idx(2, 3), mtime=0)[:-9], "truncated or damaged"),
        (gzip.compress(idx(40), mtime=0)[:20] + b"\xff" * 30, "truncated or damaged"),
        (gzip.compress(idx(2, 3), mtime=0)[:-8] + bytes(8), "truncated or damaged"),
    ],
)
def test_damage_is_named_in_one_line(tmp_path, content, message):
    path = tmp_path / "damaged-file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as refusal:
        read_idx(path)
    assert str(refusal.value).startswith(f"{path} is ")
    assert "\n" not in str(refusal.value)


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        read_idx(tmp_path)


def test_content_is_checked_against_its_digest(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(idx(3))
    with pytest.raises(DataError, match=f"file is altered: .* must be {DIGEST}, found [0-9a-f]{{64}}"):
        read_idx(path, sha256=DIGEST)


@pytest.mark.parametrize(("split", "count"), [("train", 60_000), ("test", 10_000)])
def test_mnist_is_whole(split, count):
    data = load("mnist", MNIST, split)
    assert isinstance(data, ImageSet)
    assert (data.name, data.sample_shape, data.count) == ("mnist", (1, 28, 28), count)
    assert data.pixels.dtype == torch.uint8
    assert data.labels is not None
    assert data.labels.shape == (count,)
    assert data.labels.unique().tolist() == list(range(10))
    # The mean that torch's MNIST example normalises with is 0.1307; that of the test images is 0.1325.
    assert data.pixels.float().mean() / 255 == pytest.approx(0.131, abs=2e-3)


@pytest.mark.parametrize("name", [IMAGES, LABELS])
@pytest.mark.parametrize("damage", ["missing", "truncated", "altered"])
def test_missing_truncated_and_altered_files_are_refused(copy, name, damage):
    path = copy / name
    content = bytearray(gzip.decompress(path.read_bytes()))
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    else:
        content[-1] ^= 1
        path.write_bytes(content)
    with pytest.raises(DataError, match=f"{name} is {damage}") as refusal:
        load("mnist", copy, "test")
    assert "\n" not in str(refusal.value)


def test_compression_does_not_matter(copy):
    path = copy / IMAGES
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    path.unlink()
    assert load("mnist", copy, "test").count == 10_000


def test_one_data_set_is_not_taken_for_the_other(copy):
    with pytest.raises(DataError, match="altered"):
        load("fashion-mnist", copy, "test")


@pytest.mark.parametrize("place", ["variable/mnist", "variable", "data/mnist"])
def test_files_are_found_without_naming_their_folder(offline, monkeypatch, tmp_path, place):
    monkeypatch.setenv("ONELIP_DATA", str(tmp_path / "variable"))
    (tmp_path / place).mkdir(parents=True)
    for name in (IMAGES, LABELS):
        shutil.copy(MNIST / name, tmp_path / place)
    assert load("mnist", split="test").count == 10_000


def test_search_order_and_what_each_data_set_may_share(offline, monkeypatch, tmp_path):
    named, here, checkout = tmp_path / "named", Path("data"), tmp_path / "data"
    monkeypatch.setenv("ONELIP_DATA", str(named))
    assert folders(SOURCES["mnist"]) == [named / "mnist", named, here / "mnist", checkout / "mnist"]
    fashion = [root / "fashion-mnist" for root in (named, here, checkout, Path("/usr/share/datasets"))]
    assert folders(SOURCES["fashion-mnist"]) == fashion


def test_a_named_folder_is_the_only_one_searched(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path / IMAGES} is missing"):
        load("mnist", tmp_path, "test")


def test_what_is_not_on_disk_is_fetched_and_checked(offline, monkeypatch, copy):
    asked = []

    def serve(url, known_hash, fname, path):
        asked.append((url, known_hash, fname, path.name))
        return str(MNIST / fname)

    for path in copy.glob("*.gz"):
        path.unlink()
    monkeypatch.setattr("pooch.retrieve", serve)
    assert load("mnist", split="test").count == 10_000
    assert asked == [
        (SOURCES["mnist"].url + f"{file.stem}.gz", file.archive_sha256, f"{file.stem}.gz", "mnist")
        for file in SOURCES["mnist"].splits["test"]
    ]


@pytest.mark.parametrize("name", ["mnist", "stacked-mnist"])
def test_offline_says_how_to_point_to_the_files(offline, name):
    with pytest.raises(
        DataError, match=r"failed \(OSError\): name the folder .* or set ONELIP_DATA"
    ) as refusal:
        load(name)
    assert "train-images-idx3-ubyte.gz of mnist is in none of data/mnist, " in str(refusal.value)
    assert "\n" not in str(refusal.value)
