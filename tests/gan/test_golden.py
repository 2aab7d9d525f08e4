"""Each method's first 20 steps against committed metrics.

Regenerate after a deliberate change of the training with `python -m tests.gan.test_golden`.
"""

import dataclasses
import json
import tempfile
from pathlib import Path

import pytest

from onelip.gan.config import METHODS, TrainConfig
from onelip.gan.loop import train
from onelip.gan.records import flatten
from onelip.gan.run import RunFolder
from tests.gan.conftest import CLOCK

GOLDEN = Path(__file__).with_name("golden.json")
CONFIG = TrainConfig(width=8, latent=16, batch=16, steps=20, device="cpu", layers_every=20)
STEPS = (1, 2, 5, 10, 20)

# Relative, float32: processors differ in the order of sums, and 20 steps of two players amplify that.
TOLERANCE = 2e-3


def metrics(method: str, path: Path) -> dict[str, dict[str, float]]:
    train(dataclasses.replace(CONFIG, method=method), path)
    flat = {record["step"]: flatten(record) for record in RunFolder(path).records()}
    return {str(s): {k: v for k, v in flat[s].items() if k not in CLOCK | {"step"}} for s in STEPS}


@pytest.mark.parametrize("method", METHODS)
def test_twenty_steps_repeat_the_committed_metrics(method, tmp_path):
    expected = json.loads(GOLDEN.read_text())[method]
    measured = metrics(method, tmp_path / "run")
    assert measured.keys() == expected.keys()
    for step, values in expected.items():
        assert measured[step] == pytest.approx(values, rel=TOLERANCE, abs=TOLERANCE / 100), step


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        golden = {method: metrics(method, Path(folder) / method) for method in METHODS}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
