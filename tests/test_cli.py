"""Bad input gets one clear line and exit code 2: nothing lost, no traceback."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from torch import nn

from onelip.cli import _RUN
from onelip.gan.networks import build_critic

ONELIP = str(Path(sys.executable).with_name("onelip"))
MNIST = Path("data/mnist").resolve()


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run([ONELIP, *arguments], cwd=cwd, capture_output=True, text=True)


def truncated(folder: Path) -> None:
    shutil.copytree(MNIST, folder / "data")
    file = folder / "data" / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:100_000])


def altered(folder: Path) -> None:
    shutil.copytree(MNIST, folder / "data")
    file = folder / "data" / "train-labels-idx1-ubyte.gz"
    content = bytearray(gzip.decompress(file.read_bytes()))
    content[100] ^= 1
    file.write_bytes(gzip.compress(bytes(content)))


def empty(folder: Path) -> None:
    (folder / "data").mkdir()


def mixed_sizes(folder: Path) -> None:
    (folder / "data").mkdir()
    for side in (16, 17):
        Image.new("L", (side, side)).save(folder / "data" / f"{side}.png")


def a_file_in_the_way(folder: Path) -> None:
    (folder / "out").write_text("")


def began(folder: Path, *arguments: str) -> None:
    """What a run in the folder `out` leaves behind when it has just begun."""
    (folder / "out").mkdir()
    (folder / "out" / "config.json").write_text(run("train", *arguments, "--dry-run", cwd=folder).stdout)
    (folder / "out" / "starts.json").write_text("{}")


def another_config(folder: Path) -> None:
    began(folder, "--width", "3")


def images_of_another_folder(folder: Path) -> None:
    """A run of one folder's images in the way of one of another's: the folder is the data set."""
    began(folder, "--data", "images", "--data-dir", "others")


def not_json(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "theory.json").write_text("{")


def fields_of_another_version(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "config.json").write_text(json.dumps({"breadth": 3}))


def a_width_in_words(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "config.json").write_text(json.dumps({"width": "1"}))


def a_torn_record(folder: Path) -> None:
    configuration = run("train", "--dry-run", cwd=folder).stdout
    (folder / "out" / "runs" / "sn-0").mkdir(parents=True)
    (folder / "out" / "runs" / "sn-0" / "config.json").write_text(configuration)
    (folder / "out" / "runs" / "sn-0" / "metrics.jsonl").write_bytes(b"\0\0\0\n")


USERS_CODE = """
from torch import nn

class Leaves(nn.Module):
    def forward(self, x):
        raise SystemExit(0)

class Ends(BaseException):
    pass

def ends():
    raise Ends("for good")
"""


def users_code(folder: Path) -> None:
    (folder / "users_code.py").write_text(USERS_CODE)
    (folder / "script.py").write_text("raise SystemExit(0)")


def a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def nothing(folder: Path) -> None:
    pass


TRAIN = ("train", "--steps", "2", "--out", "out")
RING = (*TRAIN, "--data", "ring", "--width", "1", "--threads", "1")
STUDY = ("study", "quick", "--data", "ring", "--steps", "2", "--out", "q")
AUDIT = ("audit", "--input-shape", "3", "--factory")
CASES = [
    ("truncated data", truncated, (*TRAIN, "--data-dir", "data"), "train-images-idx3-ubyte.gz"),
    ("altered data", altered, (*TRAIN, "--data-dir", "data"), "train-labels-idx1-ubyte.gz"),
    ("missing data", empty, (*TRAIN, "--data-dir", "data"), "train-images-idx3-ubyte.gz is missing"),
    ("mixed sizes", mixed_sizes, (*TRAIN, "--data", "images", "--data-dir", "data"), "17.png"),
    ("unknown method", nothing, (*TRAIN, "--method", "pg"), "did you mean gp?"),
    ("unknown loss", nothing, (*TRAIN, "--loss", "hing"), "did you mean hinge?"),
    ("unknown preset", nothing, ("study", "quik"), "did you mean quick?"),
    ("negative width", nothing, (*TRAIN, "--width", "-3"), "width must be positive"),
    ("zero batch", nothing, (*TRAIN, "--batch", "0"), "batch must be positive"),
    ("zero threads", nothing, (*TRAIN, "--threads", "0"), "threads must be 1 to"),
    ("threads without end", nothing, (*TRAIN, "--threads", "3000000000"), "threads must be 1 to"),
    ("threads of no machine", nothing, (*TRAIN, "--threads", "100000"), "threads must be 1 to"),
    ("a batch beyond memory", nothing, (*RING, "--batch", "100000000000"), "too large for this machine"),
    ("seeds without end", nothing, ("study", "quick", "--seeds", "0-99999999999"), "seeds must be at most"),
    ("a file for a store", a_file_in_the_way, (*STUDY, "--store", "out"), "Not a directory"),
    ("zero workers", nothing, ("study", "quick", "--workers", "0"), "workers must be positive"),
    ("unknown group", nothing, ("study", "paper", "--groups", "mian"), "did you mean main?"),
    ("no run chosen", nothing, ("study", "paper", "--only", "wgan*"), "names a run"),
    ("unknown word of study", nothing, ("study", "clams"), "did you mean claims?"),
    ("stores without merge", nothing, ("study", "quick", "here"), "stores must be left out of study quick"),
    (
        "groups of claims",
        nothing,
        ("study", "claims", "--groups", "main"),
        "left out of study claims",
    ),
    (
        "an address without its engine",
        nothing,
        ("study", "quick", "--ray-address", "here:1"),
        "ray_address must be left out",
    ),
    ("an option of another method", nothing, (*TRAIN, "--penalty", "5"), "only method = gp reads it"),
    ("seeds of no digit", nothing, ("study", "quick", "--seeds", "²"), "seeds must be"),
    ("no such device", nothing, (*TRAIN, "--data", "ring", "--device", "cuda:99"), "one of cpu"),
    ("no device at all", nothing, (*TRAIN, "--device", "cudafoo"), "device must be auto, cpu or cuda"),
    (
        "endless penalty",
        nothing,
        (*TRAIN, "--penalty", "inf"),
        "penalty must be zero or positive",
    ),
    (
        "images of another folder",
        images_of_another_folder,
        (*TRAIN, "--data", "images", "--data-dir", "mine"),
        "data_dir (there",
    ),
    ("fields of another version", fields_of_another_version, TRAIN, "config.json is damaged"),
    ("sample of a damaged run", a_width_in_words, ("sample", "run"), "config.json is damaged (width cannot"),
    ("evaluation of a damaged run", a_width_in_words, ("evaluate", "run"), "config.json is damaged (width"),
    ("damaged theory", not_json, ("theory", "--out", "out"), "theory.json is not JSON"),
    ("damaged metrics", a_torn_record, ("report", "out"), "metrics.jsonl is damaged"),
    ("sample of a negative seed", nothing, ("sample", "nowhere", "--seed", "-1"), "seed must be zero or"),
    ("sample as jpeg", nothing, ("sample", "nowhere", "--out", "x.jpg"), "ends in .png or .npz"),
    ("evaluation of no run", nothing, ("evaluate", "nowhere"), "nowhere/config.json is missing"),
    ("w1bench nowhere", a_file_in_the_way, ("w1bench", "--json", "out/here.json"), "out: File exists"),
    ("merge of nothing", nothing, ("study", "merge"), "onelip study merge A B --into C"),
    ("merge of no store", nothing, ("study", "merge", "nowhere"), "nowhere is no store"),
    ("bad seeds", nothing, ("study", "quick", "--seeds", "a-b"), "seeds must be"),
    ("out is a file", a_file_in_the_way, TRAIN, "out: File exists"),
    ("out is of another run", another_config, TRAIN, "another configuration"),
    ("out cannot be made", nothing, (*TRAIN[:-1], "/proc/onelip"), "/proc/onelip"),
    ("sample of no run", nothing, ("sample", "nowhere"), "nowhere/config.json is missing"),
    ("a factory in a script", users_code, (*AUDIT, "script:make"), "script:make: SystemExit"),
    ("a forward that leaves", users_code, (*AUDIT, "users_code:Leaves"), "SystemExit"),
    ("a factory that ends all", users_code, (*AUDIT, "users_code:ends"), "no certificate: Ends: for good"),
    ("json to a pipe", a_pipe, (*AUDIT, "torch.nn:ReLU", "--json", "pipe"), "pipe: not a regular file"),
    ("no samples", nothing, ("sample", "nowhere", "--count", "0"), "count must be positive"),
]


@pytest.mark.parametrize(
    ("prepare", "arguments", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_bad_input_is_one_line_and_exit_code_2(prepare, arguments, message, tmp_path):
    prepare(tmp_path)
    process = run(*arguments, cwd=tmp_path)
    assert process.returncode == 2, process.stdout + process.stderr
    assert message in process.stderr
    assert process.stderr.count("\n") == 1, process.stderr
    assert "Traceback" not in process.stdout + process.stderr


def test_a_full_disk_is_one_line(tmp_path):
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    arguments = ["onelip", *TRAIN, "--data", "ring"]
    call = f"if __name__ == '__main__':\n    sys.argv = {arguments!r}\n    main()"
    code = f"{limit}\nfrom onelip.cli import main\n{call}\n"
    (tmp_path / "limited.py").write_text(code)
    process = subprocess.run([sys.executable, "limited.py"], cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 2
    assert "File too large" in process.stderr
    assert "Traceback" not in process.stdout + process.stderr


def test_dry_run_prints_the_resolved_configuration_and_trains_nothing(tmp_path):
    process = run("train", "--method", "gp", "--dry-run", cwd=tmp_path)
    config = json.loads(process.stdout)
    assert config["critic_lr"] == 5e-4
    assert config["penalty"] == 10
    assert not list(tmp_path.iterdir())


def test_images_of_ones_own_are_trained_on_and_sampled(tmp_path):
    (tmp_path / "mine").mkdir()
    for i in range(10):
        Image.effect_noise((20, 12), 40 + i).convert("RGB").save(tmp_path / "mine" / f"{i}.jpg")
    images = (*TRAIN, "--data", "images", "--width", "4", "--data-dir")
    assert run(*images, "mine, misspelt", cwd=tmp_path).returncode == 2
    process = run(*images, "mine", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert run("sample", "out", "--count", "4", "--out", "grid.png", cwd=tmp_path).returncode == 0
    with Image.open(tmp_path / "grid.png") as picture:
        assert (picture.size, picture.mode) == ((40, 24), "RGB")


def test_the_help_says_what_the_width_is_in_the_plane(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # no line is broken
    (hidden, *_) = (layer for layer in build_critic(3, (2,)) if isinstance(layer, nn.Linear))
    assert f"has {hidden.out_features // 3} · width units" in run("train", "--help", cwd=tmp_path).stdout


def test_the_package_is_the_command(tmp_path):
    command = [sys.executable, "-m", "onelip", "sample", "nowhere"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 2
    assert "nowhere/config.json is missing" in process.stderr


@pytest.mark.parametrize("command", ["train", "study"])
def test_what_an_encoding_lacks_is_replaced(command, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    process = run(command, "--help", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")


def test_a_folder_whose_name_is_no_text_is_trained_in(tmp_path):
    """Without scalars for TensorBoard, which takes UTF-8 alone, and with a note."""
    folder = os.fsdecode(b"bad\xff")
    (tmp_path / folder).mkdir()
    command = [ONELIP, *RING, "--out", f"{folder}/run"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True)
    said = process.stdout + process.stderr
    assert process.returncode == 0, said
    assert b"nothing is written for TensorBoard" in said
    assert (tmp_path / folder / "run" / "result.json").exists()


@pytest.mark.parametrize("options", _RUN, ids=lambda options: options.__name__)
def test_help_says_what_each_command_does(options, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # no line is broken
    command, says = options.__name__.lower(), options.__doc__.splitlines()[0]
    own, whole = (run(*words, "--help", cwd=tmp_path).stdout for words in ([command], []))
    assert f"usage: onelip {command} " in own
    assert says in own
    assert re.search(rf"• {command} +{re.escape(says)}", whole)
