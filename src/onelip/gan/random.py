"""Random numbers as functions of (seed, step, stream): a resumed run draws what an uninterrupted one does."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What numbers are drawn for. Separate streams: measuring more often must not change training."""

    INITIALIZATION = 0
    TRAINING = 1
    OBSERVATION = 2
    SAMPLING = 3


def derived_seed(seed: int, step: int, stream: Stream) -> int:
    """A well-mixed seed for one step of one stream (NumPy's SeedSequence)."""
    return int(np.random.SeedSequence((seed, step, int(stream))).generate_state(1, np.uint64)[0] >> 1)


def generator_for(seed: int, step: int, stream: Stream) -> torch.Generator:
    """The generator that all random numbers of this step are drawn from, in order, on the CPU.

    >>> a, b = (torch.rand((), generator=generator_for(0, 7, Stream.TRAINING)) for _ in range(2))
    >>> bool(a == b)
    True
    """
    return torch.Generator().manual_seed(derived_seed(seed, step, stream))
