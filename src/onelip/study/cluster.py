"""Workers on the nodes of a Ray cluster, which need to share no disk with the engine or with each other.

A worker is sent the run folder as far as it has come and sends back what changes, each second: records,
samples, checkpoints. So the engine's folder is at most a second behind, and a run that is lost with its
node is continued elsewhere from the newest checkpoint that had arrived, as after any interruption.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayError

from onelip.errors import ArgumentError, CheckpointError, refusal
from onelip.gan.checkpoint import checkpoints, step_of
from onelip.gan.run import RunFolder, RunResult
from onelip.study.jobs import Job, Outcome, Start, Worker
from onelip.study.mirror import everything, put
from onelip.study.station import Station
from onelip.study.store import put_record

MOST_LOSSES = 5  # in a row, without a new checkpoint between them
CONNECT_SECONDS = 5.0


@contextmanager
def connected(address: str, workers: int) -> Iterator[Start]:
    """Connect to a cluster: `auto`, the one of $RAY_ADDRESS or of this machine, else one of its own here;
    `local`, one of its own; or HOST:PORT. Raises ArgumentError where nothing answers.
    """
    _require_answer(address)
    try:
        _connect("local" if address == "local" else address, workers)
    except ConnectionError:
        if address != "auto":
            raise
        _connect("local", workers)
    try:
        yield partial(ClusterWorker, ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(Station))
    finally:
        ray.shutdown()


def _connect(address: str, workers: int) -> None:
    own = {"num_cpus": workers, "include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except ConnectionError:
        raise
    except Exception as error:  # Ray's own words for other versions, and for a node that does not start
        received = f"{address} ({str(error).strip().partition(chr(10))[0]})"
        remedy = "all machines need the same Python, Ray and onelip; /tmp/ray/session_latest/logs says more"
        raise ArgumentError("ray_address", "that of a cluster that works", received, remedy) from error


def _require_answer(address: str) -> None:
    """Ray itself tries for minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    remedy = "start one with `ray start --head`, or leave --ray-address out"
    if not host or not port.isdecimal():
        raise ArgumentError("ray_address", "auto, local or HOST:PORT", address, remedy)
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        requirement = "that of a running Ray cluster"
        raise ArgumentError("ray_address", requirement, f"{address} ({refusal(error)})", remedy) from None


class ClusterWorker(Worker):
    """Trains `job` on some node, and on another when that is lost. Holds the run folder meanwhile."""

    def __init__(self, stations: Any, job: Job):
        self.stations = stations  # the class Station, as Ray makes it elsewhere
        self.job = job
        self.held = ExitStack()
        self.station: Any = None
        self.call: Any = None
        self.heard = self.stopping = False
        self.losses = self.began = 0

    def stop(self) -> None:
        if self.station is not None and not self.stopping:
            self.station.stop.remote()
        self.stopping = True

    def poll(self, say: Callable[[str], None]) -> Outcome | None:
        try:
            outcome = self._poll(say)
        except CheckpointError as error:
            outcome = Outcome(self.job, None, str(error))
        except OSError as error:  # here, not on its node: the other runs go on
            outcome = Outcome(self.job, None, refusal(error, self.job.path))
        if outcome is not None:
            self._leave()
            self.held.close()
        return outcome

    def _poll(self, say: Callable[[str], None]) -> Outcome | None:
        if self.station is None:
            if self.stopping:
                return self._interrupted("not begun")
            self.held.enter_context(RunFolder(self.job.path).lock())
            self._send_out()
            return None
        ready, _ = ray.wait([self.call], timeout=0)
        if not ready:
            # A cluster that is full may not have begun: there is nothing to wait for.
            return self._interrupted("not begun") if self.stopping and not self.heard else None
        try:
            news = ray.get(self.call)
        except RayError as error:
            return self._lost(error, say)
        self.heard = True
        self.call = self.station.take.remote()
        for run, store, said, outcome in news:
            put(self.job.path, run)
            if self.job.store is not None:
                put_record(self.job.store, self.job.name, self.job.config, store)
            if said is not None:
                say(f"{self.job.name}: {said}")
            if outcome is not None:
                return outcome
        return None

    def _send_out(self) -> None:
        gpus = int(self.job.config.device.startswith("cuda"))
        self.began = self._step()
        self.station = self.stations.options(num_gpus=gpus).remote(self.job, everything(self.job.path))
        self.call = self.station.take.remote()
        self.heard = False

    def _lost(self, error: RayError, say: Callable[[str], None]) -> Outcome | None:
        """Continue elsewhere, unless this happens again and again."""
        self._leave()
        if self.stopping:
            return self._interrupted("its node was lost")
        step, reason = self._step(), str(error).partition("\n")[0]
        self.losses = 1 + (self.losses if step == self.began else 0)
        if self.losses >= MOST_LOSSES:
            lost = f"{self.losses} workers were lost in a row, the last one at step {step}: {reason}"
            return Outcome(self.job, None, lost)
        say(f"{self.job.name}: its worker was lost ({reason}); continuing from step {step}")
        self._send_out()
        return None

    def _leave(self) -> None:
        """A worker that is merely out of reach trains for nobody from now on."""
        if self.station is not None:
            ray.kill(self.station)

    def _interrupted(self, why: str) -> Outcome:
        return Outcome(self.job, RunResult("interrupted", self._step(), why))

    def _step(self) -> int:
        """The step of the newest checkpoint that has arrived."""
        newest = checkpoints(RunFolder(self.job.path).checkpoints_path)[:1]
        return step_of(newest[0]) if newest else 0
