"""What is written is read back the same by our own readers, but for what the format cannot hold."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from recordings.export.run import export_recording
from recordings.open import open_recording
from recordings.recording import Recording
from scene.box import Boxes
from tests.support.box_proof import assert_same_boxes
from tests.support.tiny_recording import CAMERA, LIDAR, TinyRecording, jpeg


class Held(NamedTuple):
    """What a format holds."""

    points_m: float = 2e-5
    intensity: float = 1e-6
    offsets: bool = True
    ring: bool = True
    times: bool = True
    all_poses: bool = True
    map_origin: bool = True
    track_ids: bool = True
    unlabelled: bool = True
    images: bool = False
    sensor: str = LIDAR


FORMATS = {
    "mcap": Held(images=True),
    "pcd": Held(points_m=0, sensor="lidar"),
    "las": Held(points_m=6e-5, intensity=1e-5, offsets=False, ring=False, sensor="lidar"),
    "av2": Held(
        points_m=0, intensity=0.5 / 255, unlabelled=False, images=True, sensor="up_lidar"
    ),
    "nuscenes": Held(
        offsets=False, track_ids=False, images=True, sensor="LIDAR_TOP"
    ),
    "kitti": Held(
        offsets=False, ring=False, all_poses=False, map_origin=False,
        track_ids=False, unlabelled=False, sensor="velodyne",
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=sorted(FORMATS))
def trip(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TinyRecording, Recording, Held]:
    if request.param == "las":
        pytest.importorskip("laspy", reason="pip install 'starloop[las]'")
    folder = tmp_path_factory.mktemp("export") / request.param
    source = TinyRecording()
    export_recording(source, request.param, folder)
    return source, open_recording(folder), FORMATS[request.param]


def test_points_and_times(trip: tuple[TinyRecording, Recording, Held]) -> None:
    source, again, held = trip
    assert again.sensor == held.sensor
    sweeps, found = list(source.sweeps()), list(again.sweeps())
    assert len(found) == len(sweeps)
    for expected, sweep in zip(sweeps, found, strict=True):
        np.testing.assert_allclose(
            sweep.points_ego_m, expected.points_ego_m, rtol=0, atol=held.points_m
        )
        np.testing.assert_allclose(sweep.intensity, expected.intensity, rtol=0, atol=held.intensity)
        assert (sweep.timestamp_ns == expected.timestamp_ns) == held.times
        if held.offsets:
            np.testing.assert_array_equal(sweep.offset_ns, expected.offset_ns)
        elif again.format == "las":  # the reader counts from the first point
            since_first = expected.offset_ns - expected.offset_ns[0]
            np.testing.assert_allclose(sweep.offset_ns, since_first, atol=1)
        else:
            assert not sweep.offset_ns.any()
        if held.ring:
            np.testing.assert_array_equal(sweep.ring, expected.ring)
        else:
            assert sweep.ring is None
    assert again.damage == []


def test_poses(trip: tuple[TinyRecording, Recording, Held]) -> None:
    source, again, held = trip
    times = np.array(source.times)
    found_times = times if held.times else np.arange(len(times)) * 100_000_000
    for time, found_time in zip(times.tolist(), found_times.tolist(), strict=True):
        expected, found = source.trajectory.at(time), again.trajectory.at(found_time)
        if not held.map_origin:
            expected = source.trajectory.at(int(times[0])).inverse() @ expected
            found = again.trajectory.at(int(found_times[0])).inverse() @ found
        np.testing.assert_allclose(found.rotation, expected.rotation, atol=1e-9)
        np.testing.assert_allclose(found.translation_m, expected.translation_m, atol=1e-6)
    if (held.all_poses and not held.images) or held.sensor == LIDAR:
        np.testing.assert_array_equal(
            again.trajectory.timestamps_ns, source.trajectory.timestamps_ns
        )


def test_boxes(trip: tuple[TinyRecording, Recording, Held]) -> None:
    source, again, held = trip
    assert source.ground_truth is not None
    assert again.ground_truth is not None
    names: set[tuple[str, str]] = set()
    frames = zip(source.times, source.sweeps(), again.sweeps(), strict=True)
    for number, (time, sweep, found) in enumerate(frames):
        expected = source.ground_truth.get(time)
        boxes = again.ground_truth.get(found.timestamp_ns)
        if expected is None:
            assert number == 2
            assert (boxes is None) if held.unlabelled else (boxes is not None and not len(boxes))
            continue
        assert boxes is not None
        boxes = assert_same_boxes(expected, boxes, sweep.points_ego_m, found.points_ego_m)
        names |= set(zip(expected.track_id.tolist(), boxes.track_id.tolist(), strict=True))
        moving = ~np.isnan(expected.velocity_xy_mps) & ~np.isnan(boxes.velocity_xy_mps)
        if held.unlabelled:  # else an empty frame between two changes nothing, but its time counts
            np.testing.assert_allclose(
                boxes.velocity_xy_mps[moving], expected.velocity_xy_mps[moving], atol=1e-6
            )
    assert len({a for a, _ in names}) == len({b for _, b in names}) == len(names) == 4
    assert all(a == b for a, b in names) == held.track_ids


def test_calibration_and_images(trip: tuple[TinyRecording, Recording, Held]) -> None:
    source, again, held = trip
    if not held.images:
        assert list(again.images()) == []
        return
    for name in (LIDAR, CAMERA):
        expected = source.calibration.of(name)
        found = again.calibration.of(held.sensor if name == LIDAR else name)
        if again.format == "nuscenes" and name == LIDAR:  # x to the right
            turn = expected.inverse() @ found
            np.testing.assert_allclose(turn.rotation, [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], atol=1e-9)
            np.testing.assert_allclose(turn.translation_m, 0, atol=1e-9)
            continue
        np.testing.assert_allclose(found.rotation, expected.rotation, atol=1e-9)
        np.testing.assert_allclose(found.translation_m, expected.translation_m, atol=1e-9)
    camera, model = again.calibration.cameras[CAMERA], source.calibration.cameras[CAMERA]
    np.testing.assert_allclose(camera.matrix, model.matrix)
    assert (camera.width_px, camera.height_px) == (64, 48)
    images = list(again.images())
    assert [image.timestamp_ns for image in images] == [i.timestamp_ns for i in source.images()]
    assert all(image.data in (None, jpeg(i)) for i, image in enumerate(images))


def test_signals_leave_as_ros_messages(tmp_path: Path) -> None:
    source = TinyRecording()
    result = export_recording(source, "mcap", tmp_path / "out")
    again = open_recording(tmp_path / "out")
    found = {signal.name: signal for signal in again.signals}
    for signal in source.signals:
        same = found[signal.name]
        assert (same.kind, same.frame) == (signal.kind, signal.frame)
        np.testing.assert_array_equal(same.timestamps_ns, signal.timestamps_ns)
        columns = [same.fields.index(field) for field in signal.fields]
        np.testing.assert_array_equal(same.values[:, columns], signal.values)
        others = [i for i, field in enumerate(same.fields) if field not in signal.fields]
        assert np.isnan(same.values[:, others]).all() or signal.kind == "gnss"
    assert result.losses == ("velocities of boxes: readers find them from the tracks",)


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    losses = export_recording(TinyRecording(), "kitti", tmp_path / "kitti").losses
    for word in ("signals", "mounting", "ring", "times of single points", "images", "track ids",
                 "barrier", "velocities"):  # fmt: skip
        assert any(word in line for line in losses), word
    losses = export_recording(TinyRecording(ring=False), "av2", tmp_path / "av2").losses
    assert any("laser_number" in line for line in losses)


def test_a_recording_without_beam_numbers_poses_and_boxes(tmp_path: Path) -> None:
    """Nothing is made up: what was not known is not known afterwards."""
    from recordings.recording import identity_trajectory
    from scene.calibration import Calibration
    from scene.pose import SE3

    for to in ("mcap", "pcd", "av2"):
        source = TinyRecording(ring=False)
        source.trajectory = identity_trajectory(source.times)
        source.calibration = Calibration({LIDAR: SE3.identity()}, frozenset({"map", LIDAR}))
        source.ground_truth, source.signals = None, []
        export_recording(source, to, tmp_path / to)
        again = open_recording(tmp_path / to)
        assert "map" in again.calibration.assumed, to
        assert again.ground_truth is None
        assert all(sweep.ring is None for sweep in again.sweeps())


def test_numbers_of_kitti_tracks_are_kept(tmp_path: Path) -> None:
    source = TinyRecording()
    assert source.ground_truth is not None
    source.ground_truth = {
        time: Boxes.make(
            b.center_xyz_m, b.size_lwh_m, b.yaw_rad, b.category,
            track_id=["12", "3", "x", ""][: len(b)],
        )
        for time, b in source.ground_truth.items()
    }  # fmt: skip
    export_recording(source, "kitti", tmp_path / "out")
    rows = (tmp_path / "out/label_02/0000.txt").read_text().splitlines()
    assert {tuple(row.split()[1:3]) for row in rows} == {
        ("12", "Car"), ("3", "Truck"), ("13", "Pedestrian"), ("-1", "Barrier")
    }  # fmt: skip
