"""Proofs compute in the formats that they name, whatever autocast around them would put in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def without_autocast() -> Iterator[None]:
    """No autocast, on the CPU and on an accelerator; a decorator as well.

    >>> one = torch.ones(1, 1)
    >>> with torch.autocast("cpu", dtype=torch.bfloat16), without_autocast():
    ...     (one @ one).dtype
    torch.float32
    """
    accelerator = torch.accelerator.current_accelerator()
    with ExitStack() as stack:
        for device in {"cpu", accelerator.type if accelerator else "cpu"}:
            stack.enter_context(torch.autocast(device, enabled=False))
        yield
