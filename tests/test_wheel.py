"""The wheel: complete, typed, and usable outside the repository."""

import os
import subprocess
import sys
import zipfile

import pytest


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), "."]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


def test_it_carries_the_code_its_types_and_its_licence(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {"onelip/py.typed", "onelip/cli.py", "onelip/linear/maps.py"} <= set(names)
    for name in ("page.html", "page.css", "charts.js", "page.js"):
        assert f"onelip/study/report/{name}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests", "data", "results")) for name in names)


def test_it_trains_outside_the_repository(wheel, tmp_path):
    # Isolated from the editable install: only the wheel provides onelip here.
    code = (
        f"import sys; sys.path.insert(0, {str(wheel)!r}); import onelip;"
        f"assert onelip.__file__.startswith({str(wheel)!r}), onelip.__file__;"
        "from pathlib import Path; from onelip.gan.config import TrainConfig;"
        "from onelip.gan.loop import train;"
        "config = TrainConfig(data='ring', width=4, steps=2);"
        "print(train(config, Path('run')).status)"
    )
    process = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, env={**os.environ}
    )
    assert process.stdout.strip() == "finished", process.stderr
