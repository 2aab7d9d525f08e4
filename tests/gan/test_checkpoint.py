"""A checkpoint is whole or refused by name; the one before it takes its place."""

import pytest
import torch

from onelip.errors import CheckpointError
from onelip.gan.checkpoint import checkpoints, load_checkpoint, load_newest, save_checkpoint

CPU = torch.device("cpu")


def state(value: float) -> dict:
    return {"weights": {"w": torch.full((3,), value)}, "step": 1}


DAMAGE = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "one bit": lambda content: content[:300] + bytes([content[300] ^ 1]) + content[301:],
    "digest": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
}


def test_the_newest_two_are_kept_and_the_newest_is_loaded(tmp_path):
    for step in (5, 10, 100):
        save_checkpoint(tmp_path, step, state(step))
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000100.pt", "step-00000010.pt"]
    step, loaded, warnings = load_newest(tmp_path, CPU)
    assert (step, warnings) == (100, [])
    assert torch.equal(loaded["weights"]["w"], torch.full((3,), 100.0))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_is_named_and_the_older_one_used(tmp_path, damage):
    save_checkpoint(tmp_path, 1, state(1))
    newest = save_checkpoint(tmp_path, 2, state(2))
    newest.write_bytes(DAMAGE[damage](newest.read_bytes()))
    step, loaded, warnings = load_newest(tmp_path, CPU)
    assert step == 1
    assert loaded["weights"]["w"][0] == 1
    assert [str(newest) in warning for warning in warnings] == [True]


def test_with_all_damaged_nothing_is_started_over_silently(tmp_path):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, state(step)).write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="delete"):
        load_newest(tmp_path, CPU)


def test_what_a_killed_process_left_goes_with_the_next_checkpoint(tmp_path):
    dead, other = tmp_path / ".step-00000005.pt.4711.partial", tmp_path / ".notes.partial"
    for path in (dead, other):
        path.write_bytes(b"half")
    newest = save_checkpoint(tmp_path, 6, state(6))
    assert sorted(tmp_path.iterdir()) == [other, newest]


def test_no_checkpoint_is_step_zero(tmp_path):
    assert load_newest(tmp_path / "nowhere", CPU) == (0, {}, [])


def test_a_copy_that_a_sync_left_is_no_checkpoint(tmp_path):
    newest = save_checkpoint(tmp_path, 9, state(9))
    newest.with_name("step-00000010 (copy of another machine).pt").write_bytes(b"whatever")
    assert checkpoints(tmp_path) == [newest]
    assert load_newest(tmp_path, CPU)[0] == 9


def test_a_pickle_that_would_execute_is_not_executed(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    path = save_checkpoint(tmp_path, 1, {"payload": Hostile()})
    with pytest.raises(Exception, match="weights_only"):
        load_checkpoint(path, CPU)
    assert not (tmp_path / "executed").exists()
