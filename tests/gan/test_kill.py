"""SIGKILL at random moments: the continued run equals one that was never interrupted, bit for bit."""

import dataclasses
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onelip.gan.loop import train
from onelip.gan.run import RunFolder
from tests.gan.conftest import SMALL, assert_same_run

TRAIN = """
import sys, torch
from pathlib import Path
from onelip.gan.config import TrainConfig
from onelip.gan.loop import train
torch.set_num_threads(1)
config = TrainConfig(**eval(sys.argv[1]))
print(train(config, Path(sys.argv[2])).status)
"""


def start(config, path: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", TRAIN, repr(vars(config)), str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("method", ["gp", "sn-operator"])
def test_killed_at_random_steps_and_continued(method, tmp_path):
    draw = random.Random(method)
    config = dataclasses.replace(SMALL, method=method, steps=40, checkpoint_every=5)
    folder = RunFolder(tmp_path / "killed")
    for target in sorted(draw.sample(range(2, 36), 2)):
        with start(config, folder.path) as process:
            while folder.last_step() < target and process.poll() is None:
                time.sleep(0.001)
            time.sleep(draw.random() * 0.03)  # somewhere inside a step, a record or a checkpoint
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, "it finished before it could be killed: raise the steps"
    with start(config, folder.path) as process:
        assert process.communicate()[0].strip() == "finished"
    train(config, tmp_path / "whole")
    assert_same_run(tmp_path / "whole", folder.path)
    assert len(folder.starts()) == 3
