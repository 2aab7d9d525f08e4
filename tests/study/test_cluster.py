"""The engine on a Ray cluster of two nodes: stopped, continued, and with a node that is lost on the way."""

import dataclasses
import errno
import io
import os
import signal
import socket
import sys
from contextlib import ExitStack

import pytest
from rich.console import Console

from onelip.errors import ArgumentError
from onelip.gan.run import RunFolder
from onelip.study.engine import engine
from onelip.study.jobs import Job
from onelip.study.progress import LineProgress
from onelip.study.study import run_study
from tests.gan.conftest import SMALL, assert_same_run

RARELY = ("gradients_every", "layers_every", "samples_every")
# Long enough to be lost in the middle, with little beside the steps.
LONG = {
    "steps": 1500,
    "checkpoint_every": 50,
    "gradients_every": 500,
    "layers_every": 500,
    "samples_every": 500,
}
CONFIGS = {
    name: dataclasses.replace(SMALL, **{"data": "ring", "seed": 1} | changes).resolved()
    for name, changes in {"short-1": {"steps": 6}, "long-1": LONG}.items()
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The runs as they are when nothing happens to them, made by the other engine."""
    out = tmp_path_factory.mktemp("whole")
    run_study(CONFIGS, out, 2, Watched(RunFolder(out), None))
    return out / "runs"


@pytest.fixture(scope="module")
def cluster():
    """A head without processors and a node with two."""
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")  # Ray reads it when it is imported
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        missing = pytest.fail if "ray" in os.environ.get("ONELIP_REQUIRE", "") else pytest.skip
        missing("Ray is not installed: pip install 'onelip[ray]'")
    head = {"num_cpus": 0, "include_dashboard": False} | agent_ports()
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


def agent_ports():
    """For a node's agents: where these choose for themselves, Ray gives up on a busy machine after 15 s."""
    names = ("metrics_agent", "metrics_export", "dashboard_agent_listen", "runtime_env_agent")
    with ExitStack() as stack:
        sockets = {f"{name}_port": stack.enter_context(socket.socket()) for name in names}
        for each in sockets.values():
            each.bind(("", 0))
        return {name: each.getsockname()[1] for name, each in sockets.items()}


class Watched(LineProgress):
    """Calls `then` once, when a new checkpoint of the run in `folder` has arrived."""

    def __init__(self, folder: RunFolder, then):
        self.said = io.StringIO()
        super().__init__({name: config.steps for name, config in CONFIGS.items()}, Console(file=self.said))
        self.folder, self.then = folder, then
        self.before = self.checkpoints()

    def checkpoints(self):
        return set(self.folder.checkpoints_path.glob("*.pt"))

    def update(self, name, step):
        super().update(name, step)
        if self.then is not None and self.checkpoints() - self.before:
            then, self.then = self.then, None
            then()


def study(out, cluster, then):
    progress = Watched(RunFolder(out / "runs" / "long-1"), then)
    with engine("ray", cluster.address, 2) as start:
        outcomes = run_study(CONFIGS, out, 2, progress, start=start)
    return {o.job.name: o.result for o in outcomes}, progress.said.getvalue()


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_runs_survive_a_signal_and_the_loss_of_their_node(cluster, whole, tmp_path):
    node = cluster.add_node(num_cpus=2, **agent_ports())
    results, _ = study(tmp_path, cluster, lambda: os.kill(os.getpid(), signal.SIGINT))
    stopped = results["long-1"]
    assert stopped.status == "interrupted"
    assert f"saved {tmp_path / 'runs' / 'long-1' / 'checkpoints'}" in stopped.message

    def lose():
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=2, **agent_ports())

    results, said = study(tmp_path, cluster, lose)
    assert results["long-1"].status == "finished"
    assert "long-1: its worker was lost" in said
    starts = [start["step"] for start in RunFolder(tmp_path / "runs" / "long-1").starts()]
    assert len(starts) == 3
    assert starts[0] == 1
    assert starts[1] == stopped.step + 1
    assert starts[2] > starts[1]
    for name in CONFIGS:
        assert RunFolder(tmp_path / "runs" / name).result().status == "finished"
        assert_same_run(whole / name, tmp_path / "runs" / name)
        assert (tmp_path / "store" / "runs" / f"{name}.json").exists()


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:1", "there:port"])
def test_an_address_where_nothing_answers_is_refused_at_once(address):
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(ArgumentError, match="ray_address must be"), engine("ray", address, 1):
        pass


def test_an_address_that_does_not_answer_in_time_is_said_to_be_one(monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed")

    def wait(*_):
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", wait)
    with pytest.raises(ArgumentError, match=r"got here:1 \(timed out\)"), engine("ray", "here:1", 1):
        pass


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/full/metrics.jsonl"),
            "/full/metrics.jsonl: No sp",
        ),
        (OSError("cannot be read"), "sn-0: cannot be read"),
    ],
)
def test_what_the_engine_s_disk_refuses_is_the_end_of_one_run(tmp_path, monkeypatch, error, said):
    worker = cluster_worker(tmp_path)

    def full(*_):
        raise error

    monkeypatch.setattr(worker, "_poll", full)
    outcome = worker.poll(print)
    assert outcome.result is None
    assert said in outcome.error


def test_five_losses_in_a_row_end_the_run(tmp_path, monkeypatch):
    """As docs/scaling.md says; a checkpoint between them begins the count anew."""
    from ray.exceptions import RayError

    worker, said, lost = cluster_worker(tmp_path), [], RayError("gone")
    monkeypatch.setattr(worker, "_send_out", lambda: None)
    for _ in range(4):
        assert worker._lost(lost, said.append) is None
    monkeypatch.setattr(worker, "_step", lambda: 50)
    assert worker._lost(lost, said.append) is None
    worker.began = 50
    for _ in range(3):
        assert worker._lost(lost, said.append) is None
    assert "5 workers were lost in a row, the last one at step 50" in worker._lost(lost, said.append).error
    assert len(said) == 8


def cluster_worker(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed")
    from onelip.study.cluster import ClusterWorker

    return ClusterWorker(None, Job(tmp_path / "sn-0", SMALL.resolved(), None))


def test_without_ray_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "onelip.study.cluster", raising=False)
    with pytest.raises(ArgumentError, match=r"pip install 'onelip\[ray\]'"), engine("ray", "auto", 1):
        pass


def test_a_run_that_is_stopped_before_it_is_sent_out_does_not_begin(cluster, tmp_path):
    worker = cluster_worker(tmp_path)
    worker.stop()
    outcome = worker.poll(print)
    assert (outcome.result.status, outcome.result.message) == ("interrupted", "not begun")
