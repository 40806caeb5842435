"""Messages read together equal messages read one by one, and what does not fit is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.logs import log_batches
from recordings.logs.batches import Batch, BatchReader
from recordings.logs.mcap import McapRecording
from scene.pose import SE3
from scene.recording import RecordingId
from tests.support.ros_writer import RosWriter, types

NAME = RecordingId("drive")
START_NS = 1_700_000_000_000_000_000


def write(path: Path, count: int = 200) -> None:
    rng = np.random.default_rng(0)
    with RosWriter(path, chunk_bytes=40_000) as writer:
        for index in range(count):
            time = START_NS + index * 10_000_000
            pose = SE3.from_yaw(0.01 * index, rng.normal(0, 50, 3))
            writer.odometry("/odom", time, "map" if index < 120 else "odom", "base_link", pose)
            writer.pose_stamped("/pose", time, "map", pose)
            child = ("base_link", "arm", "a_longer_name")[index % 3]
            writer.transform("/tf", time, "map", child, pose)
            writer.imu("/imu", time if index % 50 else 0, "imu", rng.normal(0, 1, 10))
            writer.gnss("/gnss", time, tuple(rng.normal(48, 1, 3).tolist()))
        writer.transform("/tf_static", START_NS, "base_link", "imu", SE3.identity())


def facts(path: Path) -> dict[str, Any]:
    opened = McapRecording([path], NAME)
    track = opened.trajectory
    values = {
        "times": track.timestamps_ns, "quat": track.quat_wxyz, "shift": track.translation_m,
    }  # fmt: skip
    for signal in opened.signals:
        values[f"{signal.name} times"] = signal.timestamps_ns
        values[f"{signal.name} values"] = signal.values
    return {
        "arrays": {name: value.tobytes() for name, value in values.items()},
        "fields": [(s.name, s.kind, s.frame, s.fields) for s in opened.signals],
        "topics": list(opened.topics),
        "damage": list(opened.damage),
    }


def test_a_recording_is_the_same_read_in_batches_and_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mcap"
    write(path)
    taken = []
    take = log_batches._take_batch

    def counted(*args: Any) -> bool:
        done = take(*args)
        taken.append((args[1].topic, done))
        return done

    monkeypatch.setattr(log_batches, "_take_batch", counted)
    together = facts(path)
    assert {topic for topic, done in taken if done} == {"/odom", "/pose", "/tf", "/imu", "/gnss"}
    monkeypatch.setattr(log_batches, "_FEWEST", 10**9)
    assert facts(path) == together
    assert len(together["fields"]) == 2


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_broken_messages_are_never_read_as_others(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any byte of a stored file changed: both ways say the same, or the same error."""
    path = tmp_path_factory.mktemp("flip") / "a.mcap"
    with RosWriter(path, chunk_bytes=100_000, compression="") as writer:
        for index in range(20):
            pose = SE3.from_yaw(0.01 * index, np.array([index, 0.0, 0.0]))
            writer.odometry("/odom", START_NS + index * 10**7, "map", "base_link", pose)
    raw = bytearray(path.read_bytes())
    first = raw.index(b"\x00\x01\x00\x00")
    at = data.draw(st.integers(first, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(_without_checksum(bytes(raw)))
    results = []
    with pytest.MonkeyPatch.context() as patch:
        for fewest in (2, 10**9):
            patch.setattr(log_batches, "_FEWEST", fewest)
            try:
                results.append(facts(path))
            except Exception as error:  # the two must agree, whatever it is
                results.append((type(error), str(error)))
    assert results[0] == results[1]


def _without_checksum(raw: bytes) -> bytes:
    """Clear the checksum of the first chunk: what is in it is to be looked at."""
    at = raw.index(b"\x06", 8)
    while int.from_bytes(raw[at + 1 : at + 9], "little") > len(raw):
        at = raw.index(b"\x06", at + 1)
    crc = at + 9 + 24
    return raw[:crc] + bytes(4) + raw[crc + 4 :]


@pytest.mark.parametrize("kind", ["sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/JointState"])
def test_lengths_that_lie_are_refused(kind: str) -> None:
    """Random bytes as a message: refused or read inside their bounds."""
    rng = np.random.default_rng(1)
    definitions = types().fielddefs
    for _ in range(50):
        raw = np.concatenate([np.array([0, 1, 0, 0], np.uint8), rng.integers(0, 9, 60, np.uint8)])
        reader = BatchReader(definitions, kind, lambda message: (), one_layout=True)
        batch = Batch(raw, np.array([0]), np.array([64]), np.array([1]))
        found = reader.read(batch)
        assert found is None or len(found) == 1
