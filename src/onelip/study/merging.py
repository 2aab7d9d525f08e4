"""Stores of several machines put together: what one lacks and another has is copied."""

from __future__ import annotations

from pathlib import Path

from onelip.errors import CheckpointError
from onelip.files import write_atomically
from onelip.gan.config import TrainConfig
from onelip.study.plane import plane_path
from onelip.study.presets import RunName
from onelip.study.runs import StoredRun
from onelip.study.store import entry, is_stored, read_record, record_path, strip_path


def merge(sources: list[Path], into: Path) -> int:
    """Copy what `into` lacks from the other stores; how many runs. Nothing is copied where two contradict.

    Two runs of a name contradict in their configurations, or where one finished and the other diverged; the
    numbers of one run on two machines differ by nature, and those that are there already stay. Raises
    CheckpointError for a contradiction, a damaged record and a folder without runs.
    """
    found: dict[str, tuple[Path, StoredRun]] = {}
    for source in sources:
        paths = sorted((source / "runs").glob("*.json"))
        if not paths:
            raise CheckpointError(f"{source} is no store of runs: name the folder that holds runs/*.json")
        for path in paths:
            run = read_record(source, path.stem)
            first, _ = found.setdefault(path.stem, (source, run))
            for store in {first, into}:
                _require_alike(store, run, source)
    return sum(_copy(name, run.config, source, into) for name, (source, run) in found.items())


def _require_alike(store: Path, run: StoredRun, source: Path) -> None:
    """Raises CheckpointError where the store holds another run of this name, or one that ended otherwise."""
    if not is_stored(store, run.name, run.config):
        return
    there, here = (record.summary["status"] for record in (read_record(store, run.name), run))
    if there != here:
        said = f"{run.name} {there} in {store} and {here} in {source}"
        raise CheckpointError(f"{said}: delete the record that is not to count")


def _copy(name: str, config: TrainConfig, source: Path, into: Path) -> bool:
    with entry(into, name, config) as missing:
        if missing:
            _copy_pictures(source, into, name)  # before the record, which says that all is there
            write_atomically(record_path(into, name), record_path(source, name).read_bytes())
    return missing


def _copy_pictures(source: Path, into: Path, name: str) -> None:
    """What the store draws of a setting comes from its run of seed 0, and goes where that goes."""
    setting, seed = RunName.of(name)
    if seed != "0":
        return
    for picture in (strip_path(source, setting), plane_path(source, setting)):
        if picture.exists():
            copy = into / picture.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(copy, picture.read_bytes())
