"""A real drive written as Foxglove messages, the way nuscenes2mcap does, and read back."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from recordings.logs.mcap import McapRecording
from recordings.open import open_recording
from recordings.recording import Recording
from scene.box import Boxes, count_points
from scene.pose import SE3
from scene.recording import RecordingId
from tests.support.foxglove_writer import FoxgloveWriter, cloud, make, pose, transform, vector
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.integration
NUM_SWEEPS = 6
POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4")])


def scene_update(time_ns: int, boxes_map: Boxes) -> object:
    entities = []
    for i in range(len(boxes_map)):
        at = SE3.from_yaw(float(boxes_map.yaw_rad[i]), boxes_map.center_xyz_m[i])
        cube = make("CubePrimitive", pose=pose(at), size=vector(boxes_map.size_lwh_m[i]))
        category = make("KeyValuePair", key="category", value=str(boxes_map.category[i]))
        entities.append(
            make(
                "SceneEntity", time_ns, frame_id="map", id=str(boxes_map.track_id[i]),
                frame_locked=True, metadata=[category], cubes=[cube],
            )
        )  # fmt: skip
    return make("SceneUpdate", entities=entities)


def write(source: Recording, path: Path, encoding: str) -> None:
    truth = source.ground_truth or {}
    mounting = source.calibration.of(source.sensor)
    with FoxgloveWriter(path, encoding) as writer:
        for sweep in islice(source.sweeps(), NUM_SWEEPS):
            time = sweep.timestamp_ns
            map_SE3_ego = source.trajectory.at(time)
            writer.write("/tf", transform(time, "map", "base_link", map_SE3_ego), time)
            writer.write("/tf", transform(time, "base_link", "LIDAR_TOP", mounting), time)
            points = np.zeros(len(sweep), POINT)
            xyz = mounting.inverse().transform_points(sweep.points_ego_m.astype(np.float64))
            for k, name in enumerate("xyz"):
                points[name] = xyz[:, k]
            points["intensity"] = sweep.intensity
            writer.write("/LIDAR_TOP", cloud(time, "LIDAR_TOP", points), time)
            if time in truth:
                boxes = truth[time].transform(map_SE3_ego)
                writer.write("/markers/annotations", scene_update(time, boxes), time)


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_a_real_drive_through_foxglove_is_the_same(tmp_path: Path, encoding: str) -> None:
    source = open_recording(shared_data("av2_layout/pandaset_002"))
    write(source, tmp_path / "a.mcap", encoding)
    found = McapRecording([tmp_path / "a.mcap"], RecordingId("a"))
    assert found.sensor == "LIDAR_TOP"
    assert found.calibration.assumed == frozenset()
    assert source.ground_truth
    assert found.ground_truth is not None
    sweeps = list(found.sweeps())
    assert found.damage == []
    assert len(sweeps) == NUM_SWEEPS
    num_boxes = 0
    for sweep, original in zip(sweeps, source.sweeps(), strict=False):
        time = original.timestamp_ns
        assert sweep.timestamp_ns == time
        np.testing.assert_allclose(sweep.points_ego_m, original.points_ego_m, atol=1e-4)
        np.testing.assert_allclose(sweep.intensity, original.intensity, atol=1e-6)
        expected = source.ground_truth.get(time)
        if expected is None or not len(expected):
            continue
        boxes = found.ground_truth[time]
        np.testing.assert_array_equal(boxes.track_id, expected.track_id)
        np.testing.assert_array_equal(boxes.category, expected.category)
        # The ego frame tilts against the map by a degree or two: an upright box turns with it.
        np.testing.assert_allclose(boxes.corners_bev_m(), expected.corners_bev_m(), atol=0.02)
        counts = [count_points(sweep.points_ego_m, b).num_points for b in (boxes, expected)]
        assert np.abs(counts[0] - counts[1]).sum() <= 0.02 * counts[1].sum() + 2
        num_boxes += len(boxes)
    assert num_boxes > 0
