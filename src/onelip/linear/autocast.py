"""Proofs compute in the formats and on the devices that they name, whatever is switched on around them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from onelip.errors import ArgumentError


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


@contextmanager
def on_cpu() -> Iterator[None]:
    """Tensors of no named device on the CPU, whatever torch.set_default_device says; a decorator as well."""
    if torch.get_default_device().type == "cpu":
        yield
    else:
        with torch.device("cpu"):
            yield


def require_subnormals() -> None:
    """Raises ArgumentError where this thread takes subnormal numbers for zero: bounds count on them."""
    if (torch.tensor([2.0**-1074], dtype=torch.float64, device="cpu") * 1).view(torch.int64).item() == 0:
        wanted, remedy = "one that computes with subnormal numbers", "call torch.set_flush_denormal(False)"
        raise ArgumentError("the thread", wanted, "one that flushes them to zero", remedy)
