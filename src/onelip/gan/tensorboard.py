"""The run's scalars for TensorBoard, where it is installed; the JSON lines are always written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onelip.gan.flat import flatten


@contextmanager
def scalar_writer(
    folder: Path, first_step: int, say: Callable[[str], None]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that writes one record; events of a killed run from `first_step` on are purged."""
    try:
        from torch.utils.tensorboard import SummaryWriter

        opened = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)
    except ImportError:
        yield lambda record: None
        return
    except UnicodeEncodeError:
        say("nothing is written for TensorBoard, which takes no folder whose name is not UTF-8")
        yield lambda record: None
        return
    with opened as writer:

        def write(record: dict[str, Any]) -> None:
            scalars = flatten(record)
            step = scalars.pop("step")
            for name, value in scalars.items():
                writer.add_scalar(name, value, step)

        yield write
