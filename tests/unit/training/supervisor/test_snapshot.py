import os

import pytest
import torch  # noqa: TID253

from scene.errors import TrainError
from training.supervisor.snapshot import Snapshots, room_for


@pytest.fixture
def memory():
    file = os.memfd_create("test")
    yield file
    os.close(file)


def state(value):
    return {
        "net.w": torch.full((2, 3, 4, 5), float(value)).to(memory_format=torch.channels_last),
        "net.n": torch.tensor(value),
        "optimizer.0.exp_avg": torch.arange(7.0) * value,
    }


def equal(found, value):
    expected = state(value)
    return list(found.tensors) == list(expected) and all(
        torch.equal(found.tensors[name], tensor) for name, tensor in expected.items()
    )


def test_the_newest_is_read_back_whole_by_another_mapping(memory):
    room = room_for(state(1))
    writer, reader = Snapshots(memory, room), Snapshots(memory, room)
    assert reader.newest() is None
    assert reader.step == -1
    for step in (1, 2, 3):
        writer.write(step, state(step), {"seconds": step / 2})
        found = reader.newest()
        assert found is not None
        assert (found.step, found.progress) == (step, {"seconds": step / 2})
        assert equal(found, step)
        assert reader.step == step


@pytest.mark.parametrize("sequence", [0, 99])
def test_a_half_written_slot_is_passed_over_for_the_older_one(memory, sequence):
    room = room_for(state(1))
    snapshots = Snapshots(memory, room)
    snapshots.write(1, state(1), {})
    snapshots.write(2, state(2), {})
    snapshots._slots[1][5] ^= 1  # killed in the copy: some bytes are of another step
    snapshots._heads["sequence"][1] = sequence
    found = snapshots.newest()
    assert found is not None
    assert found.step == 1
    assert equal(found, 1)


def test_nothing_whole_and_too_much_are_refused(memory):
    snapshots = Snapshots(memory, 4096)
    with pytest.raises(TrainError, match="no whole snapshot"):
        snapshots.demand()
    with pytest.raises(TrainError, match="exceeds"):
        snapshots.write(1, {"net.w": torch.zeros(2000)}, {})


def test_tensors_may_be_added_later(memory):
    snapshots = Snapshots(memory, room_for(state(1)))
    snapshots.write(0, {"net.w": state(1)["net.w"]}, {})
    snapshots.write(1, state(1), {})
    found = snapshots.newest()
    assert found is not None
    assert equal(found, 1)
