import os
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader

from scene.box import Boxes, points_in_boxes
from scene.errors import ConfigError
from scene.pose import SE3
from scene.recording import RecordingId
from scene.taxonomy import CATEGORY_NAMES
from simulation import fleet
from simulation.fleet import FleetConfig, generate_fleet
from simulation.ros import CLOUD_TOPIC, TRUTH_TOPIC
from storage.ros2 import typestore

SMALL = FleetConfig(num_early=1, num_late=1, sweeps_per_recording=3, columns=360)


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return generate_fleet(tmp_path_factory.mktemp("fleet"), SMALL)


def messages(path: Path) -> dict[str, list]:
    found: dict[str, list] = {}
    with path.open("rb") as stream:
        for schema, channel, message in make_reader(stream).iter_messages():
            assert schema is not None
            decoded = typestore().deserialize_cdr(message.data, schema.name)
            found.setdefault(channel.topic, []).append((message.log_time, decoded))
    return found


def test_topics_and_rates(drives: list[Path]) -> None:
    for path in drives:
        RecordingId(path.stem)
        found = messages(path)
        assert set(found) == {CLOUD_TOPIC, TRUTH_TOPIC, "/odom", "/tf_static"}
        times = np.array([t for t, _ in found[CLOUD_TOPIC]])
        assert len(times) == 3
        assert np.diff(times) == pytest.approx(2e8)
        poses = np.array([t for t, _ in found["/odom"]])
        assert np.diff(poses) == pytest.approx(2e7)
        assert poses[0] <= times[0]
        assert poses[-1] >= times[-1]


def test_boxes_hold_points_after_the_whole_chain_of_frames(drives: list[Path]) -> None:
    found = messages(drives[1])
    mount = found["/tf_static"][0][1].transforms[0].transform.translation
    poses = {t: m.pose.pose for t, m in found["/odom"]}
    truth = dict(found[TRUTH_TOPIC])
    for time, cloud in found[CLOUD_TOPIC]:
        raw = np.frombuffer(bytes(cloud.data), dtype=np.uint8).reshape(-1, cloud.point_step)
        points = raw[:, :12].copy().view("<f4") + np.array([mount.x, mount.y, mount.z])
        q, p = poses[time].orientation, poses[time].position
        pose = SE3.from_quaternion(np.array([q.w, q.x, q.y, q.z]), np.array([p.x, p.y, p.z]))
        boxes = [d.bbox for d in truth[time].detections]
        kinds = [d.results[0].hypothesis.class_id for d in truth[time].detections]
        assert set(kinds) <= set(CATEGORY_NAMES)
        centers = np.array(
            [[b.center.position.x, b.center.position.y, b.center.position.z] for b in boxes]
        )
        sizes = np.array([[b.size.x, b.size.y, b.size.z] for b in boxes])
        yaws = [2 * np.arctan2(b.center.orientation.z, b.center.orientation.w) for b in boxes]
        placed = Boxes.make(centers, sizes, np.array(yaws), kinds)
        inside = points_in_boxes(pose.transform_points(points), placed, margin_m=0.1)
        assert (inside.sum(axis=1) > 0).all()


def test_again_is_free_and_a_lost_or_changed_file_is_made_again(
    drives: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before = drives[0].parent, [p.read_bytes() for p in drives]
    with monkeypatch.context() as patch:
        patch.setattr(fleet, "_record", lambda *_: pytest.fail("made again"))
        assert generate_fleet(folder, SMALL) == drives
    drives[0].unlink()
    drives[1].write_bytes(before[1][: len(before[1]) // 2])
    (folder / f".{drives[0].name}.part").write_bytes(b"left by a killed process")
    seen: list[tuple[int, int]] = []
    generate_fleet(folder, SMALL, lambda done, total: seen.append((done, total)))
    assert [p.read_bytes() for p in drives] == before
    assert seen == [(1, 2), (2, 2)]
    assert not list(folder.glob(".*.part"))


def test_a_failure_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        generate_fleet(tmp_path, FleetConfig(num_early=1, num_late=0, sweeps_per_recording=1))
    assert not list(tmp_path.glob("*.mcap"))


def test_names_sort_by_time_and_do_not_collide() -> None:
    names = [d.name for d in fleet._drives(FleetConfig(num_early=40, num_late=40))]
    assert names == sorted(set(names))


def test_rate_must_divide_the_sensor_s() -> None:
    with pytest.raises(ConfigError, match="must divide"):
        FleetConfig(sweep_hz=3.0)
