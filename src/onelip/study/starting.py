"""Start processes that no signal reaches before they know what to do with it.

Ctrl-C, and a SIGTERM to the group, reach a process that is still importing, too, and would end it in a
traceback.
"""

from __future__ import annotations

import signal
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

HELD = (signal.SIGINT, signal.SIGTERM)


def start_held(process: BaseProcess) -> None:
    """Start a process for which SIGINT and SIGTERM wait until it calls `release`."""
    # With its first process multiprocessing starts one that tracks resources, and unblocks both signals then.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release() -> None:
    """In the process, once its handlers are set: what has waited arrives now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
