"""What is exported, read by the libraries that other people read these formats with."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from recordings.export.run import export_recording
from scene.box import Boxes, points_in_boxes
from scene.pose import SE3
from tests.support.box_proof import corners_m
from tests.support.drawing import without_drawing
from tests.support.nuscenes_tables_devkit import INSTALL, load_tables_devkit
from tests.support.tiny_recording import CAMERA, LIDAR, TinyRecording, jpeg

pytestmark = pytest.mark.integration


def export(to: str, folder: Path) -> TinyRecording:
    source = TinyRecording()
    export_recording(source, to, folder)
    return source


def truth_of(source: TinyRecording, time: int) -> Boxes:
    assert source.ground_truth is not None
    return source.ground_truth[time]


def clear(points: np.ndarray, boxes: Boxes) -> np.ndarray:
    """Return the points that lie 2 mm or more from every face."""
    near = points_in_boxes(points, boxes, 0.002) & ~points_in_boxes(points, boxes, -0.002)
    return points[~near.any(axis=0)]


def test_mcap_by_the_ros2_decoder_of_foxglove(tmp_path: Path) -> None:
    decoder = pytest.importorskip("mcap_ros2.decoder", reason="make peers")
    from mcap.reader import make_reader

    source = export("mcap", tmp_path / "out")
    messages: dict[str, list] = {}
    times = []
    with (tmp_path / "out" / "tiny.drive.mcap").open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[decoder.DecoderFactory()])
        for _, channel, record, message in reader.iter_decoded_messages():
            messages.setdefault(channel.topic, []).append(message)
            times.append(record.log_time)
    assert times == sorted(times)
    counts = {topic: len(found) for topic, found in messages.items()}
    assert counts == {
        "/tf_static": 1, "/tf": 12, "/odom": 12, "/lidar/points": 6, "/boxes": 5, "/imu": 60,
        "/fix": 60, "/front_camera/image/compressed": 6, "/front_camera/camera_info": 1,
    }  # fmt: skip
    lidar_SE3_ego = source.calibration.of(LIDAR).inverse()
    for sweep, cloud in zip(source.sweeps(), messages["/lidar/points"], strict=True):
        assert [field.name for field in cloud.fields] == ["x", "y", "z", "intensity", "ring", "t"]
        layout = {1: "<u1", 4: "<u2", 6: "<u4", 7: "<f4"}
        dtype = np.dtype(
            {
                "names": [field.name for field in cloud.fields],
                "formats": [layout[field.datatype] for field in cloud.fields],
                "offsets": [field.offset for field in cloud.fields],
                "itemsize": cloud.point_step,
            }
        )
        table = np.frombuffer(bytes(cloud.data), dtype)
        expected = lidar_SE3_ego.transform_points(sweep.points_ego_m.astype(np.float64))
        np.testing.assert_allclose(np.stack([table[n] for n in "xyz"], 1), expected, atol=1e-5)
        np.testing.assert_array_equal(table["t"], sweep.offset_ns)
        np.testing.assert_array_equal(table["ring"], sweep.ring)
        assert cloud.header.frame_id == LIDAR
    first = messages["/odom"][0]
    assert (first.header.frame_id, first.child_frame_id) == ("map", "base_link")
    # 0.5 m east in 50 ms, seen from a vehicle that has turned by 0.3 rad.
    assert first.twist.twist.linear.x == pytest.approx(10 * np.cos(0.3) + np.sin(0.3), abs=0.02)
    assert bytes(messages["/front_camera/image/compressed"][2].data) == jpeg(2)
    static = {t.child_frame_id: t for t in messages["/tf_static"][0].transforms}
    assert set(static) == {LIDAR, CAMERA}
    box = messages["/boxes"][0].detections[0]
    boxes = truth_of(source, source.times[0])
    assert box.bbox.size.x == boxes.size_lwh_m[0, 0]
    assert (box.id, box.results[0].hypothesis.class_id) == ("car-a", "car")


def test_pcd_by_open3d(tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d", reason="make peers")
    source = export("pcd", tmp_path / "out")
    for sweep in source.sweeps():
        path = tmp_path / "out" / f"{sweep.timestamp_ns}.pcd"
        cloud = open3d.t.io.read_point_cloud(str(path))
        np.testing.assert_array_equal(cloud.point.positions.numpy(), sweep.points_ego_m)
        np.testing.assert_array_equal(cloud.point.intensity.numpy()[:, 0], sweep.intensity)
        np.testing.assert_array_equal(cloud.point.ring.numpy()[:, 0], sweep.ring)
        np.testing.assert_array_equal(cloud.point.offset_ns.numpy()[:, 0], sweep.offset_ns)


def test_las_by_laspy(tmp_path: Path) -> None:
    laspy = pytest.importorskip("laspy", reason="pip install 'starloop[las]'")
    source = export("las", tmp_path / "out")
    for sweep in source.sweeps():
        las = laspy.read(tmp_path / "out" / f"{sweep.timestamp_ns}.las")
        np.testing.assert_allclose(las.xyz, sweep.points_ego_m, rtol=0, atol=0.51e-4)
        np.testing.assert_allclose(las.intensity / 65535, sweep.intensity, atol=1e-5)
        np.testing.assert_allclose(las.gps_time * 1e9, sweep.offset_ns, atol=1)
        np.testing.assert_array_equal(las["offset_ns"], sweep.offset_ns)
        np.testing.assert_array_equal(las["ring"], sweep.ring)


def test_nuscenes_by_its_devkit(tmp_path: Path) -> None:
    devkit = load_tables_devkit()
    if devkit is None:
        pytest.skip(INSTALL)
    source = export("nuscenes", tmp_path / "out")
    data = devkit.NuScenes(version="v1.0-starloop", dataroot=str(tmp_path / "out"), verbose=False)
    (scene,) = data.scene
    assert scene["nbr_samples"] == len(data.sample) == 5
    sweeps = {sweep.timestamp_ns // 1000: sweep for sweep in source.sweeps()}
    token, seen = scene["first_sample_token"], 0
    while token:
        sample = data.get("sample", token)
        sweep = sweeps[sample["timestamp"]]
        path, found, _ = data.get_sample_data(sample["data"]["LIDAR_TOP"])
        points = np.fromfile(path, dtype=np.float32).reshape(-1, 5)
        np.testing.assert_allclose(points[:, 3], sweep.intensity * 255, atol=1e-4)
        np.testing.assert_array_equal(points[:, 4], sweep.ring)
        boxes = truth_of(source, sweep.timestamp_ns)
        assert len(found) == len(boxes)
        cloud = data.get("sample_data", sample["data"]["LIDAR_TOP"])
        mount = data.get("calibrated_sensor", cloud["calibrated_sensor_token"])
        place = SE3.from_quaternion(np.array(mount["rotation"]), np.array(mount["translation"]))
        ours = place.transform_points(points[:, :3].astype(np.float64))
        np.testing.assert_allclose(ours, sweep.points_ego_m, atol=1e-4)
        assert abs(place.yaw_rad + np.pi / 2) < np.pi / 4  # x to the right, as nuScenes has it
        for i, box in enumerate(found):
            theirs = place.transform_points(box.corners().T)
            expected = corners_m(boxes.take(np.array([i])))[0]
            distance = np.linalg.norm(theirs[:, None] - expected[None], axis=2)
            np.testing.assert_allclose(distance.min(axis=1), 0, atol=1e-6)
            sharp = place.inverse().transform_points(
                clear(sweep.points_ego_m, boxes).astype(np.float64)
            )
            inside = devkit.points_in_box(box, sharp.T)
            counted = points_in_boxes(clear(sweep.points_ego_m, boxes), boxes)[i]
            np.testing.assert_array_equal(inside, counted)
        seen += len(found)
        assert CAMERA in sample["data"]
        token = sample["next"]
    assert seen == len(data.sample_annotation) == 16
    assert {i["nbr_annotations"] for i in data.instance} == {4}
    car = next(i for i in data.instance if data.get("category", i["category_token"])["name"]
               == "vehicle.car")  # fmt: skip
    velocity = data.box_velocity(car["first_annotation_token"])
    np.testing.assert_allclose(velocity[:2], [8.0, 0.0], atol=1e-4)  # its times are floats
    keys = [d for d in data.sample_data if d["sensor_modality"] == "lidar"]
    assert [d["is_key_frame"] for d in keys] == [True, True, False, True, True, True]


def test_argoverse2_by_its_package(tmp_path: Path) -> None:
    pytest.importorskip("av2", reason="pip install --no-deps av2==0.3.6")
    with without_drawing("av2"):
        cuboids = importlib.import_module("av2.structures.cuboid").CuboidList
        clouds = importlib.import_module("av2.structures.sweep").Sweep
        cameras = importlib.import_module("av2.geometry.camera.pinhole_camera").PinholeCamera
        files = importlib.import_module("av2.utils.io")
        source = export("av2", tmp_path / "out")
        folder = tmp_path / "out"
        poses = files.read_city_SE3_ego(folder)
        assert list(poses) == source.trajectory.timestamps_ns.tolist()
        found = cuboids.from_feather(folder / "annotations.feather")
        camera = cameras.from_feather(folder, CAMERA)
        sweeps = {
            time: clouds.from_feather(folder / "sensors" / "lidar" / f"{time}.feather")
            for time in source.times
        }
    for time, pose in poses.items():
        expected = source.trajectory.at(time)
        np.testing.assert_allclose(pose.rotation, expected.rotation, atol=1e-9)
        np.testing.assert_allclose(pose.translation, expected.translation_m, atol=1e-9)
    assert camera.intrinsics.fx_px == 50.0
    optical = source.calibration.of(CAMERA)
    np.testing.assert_allclose(camera.ego_SE3_cam.rotation, optical.rotation, atol=1e-9)
    for sweep in source.sweeps():
        theirs = sweeps[sweep.timestamp_ns]
        np.testing.assert_array_equal(theirs.xyz.astype(np.float32), sweep.points_ego_m)
        np.testing.assert_allclose(theirs.intensity / 255, sweep.intensity, atol=1e-6)
        np.testing.assert_array_equal(theirs.laser_number, sweep.ring)
        np.testing.assert_array_equal(theirs.offset_ns, sweep.offset_ns)
        mount = source.calibration.of(LIDAR)
        np.testing.assert_allclose(theirs.ego_SE3_up_lidar.translation, mount.translation_m)
    by_time: dict[int, list] = {}
    for cuboid in found.cuboids:
        by_time.setdefault(cuboid.timestamp_ns, []).append(cuboid)
    points = {sweep.timestamp_ns: sweep.points_ego_m for sweep in source.sweeps()}
    for time, there in by_time.items():
        boxes = truth_of(source, time)
        expected = corners_m(boxes)
        sharp = clear(points[time], boxes)
        counted = points_in_boxes(sharp, boxes)
        for i, cuboid in enumerate(there):
            distance = np.linalg.norm(cuboid.vertices_m[:, None] - expected[i][None], axis=2)
            np.testing.assert_allclose(distance.min(axis=1), 0, atol=1e-9)
            _, inside = cuboid.compute_interior_points(sharp.astype(np.float64))
            np.testing.assert_array_equal(inside, counted[i])
    assert len(found.cuboids) == 16


def test_openlabel_by_the_schema_of_the_standard(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="make oracle")
    schema = pytest.importorskip("vcd.schema", reason="make oracle")
    assert schema.openlabel_schema_version == "1.0.0"
    source = export("openlabel", tmp_path / "out")
    text = json.loads((tmp_path / "out" / "openlabel.json").read_text())
    jsonschema.Draft7Validator(schema.openlabel_schema).validate(text)
    wrong = json.loads(json.dumps(text))
    wrong["openlabel"]["frames"]["0"]["objects"]["0"]["object_data"]["cuboid"][0]["val"] = [1.0]
    assert not jsonschema.Draft7Validator(schema.openlabel_schema).is_valid(wrong)
    del source


def test_rerun_by_its_own_reader(tmp_path: Path) -> None:
    chunk = pytest.importorskip("rerun.chunk", reason="pip install 'starloop[rerun]'")
    source = export("rerun", tmp_path / "out")
    reader = chunk.RrdReader(str(tmp_path / "out" / "tiny.drive.rrd"))
    found: dict[str, dict[int, dict]] = {}
    for part in reader.stream().to_chunks():
        batch = part.to_record_batch()
        if "frame" in part.timeline_names:
            rows = found.setdefault(part.entity_path, {})
            for row in batch.to_pylist():
                rows[row["frame"]] = row
    for number, sweep in enumerate(source.sweeps()):
        row = found["/map/ego/points"][number]
        points = np.array(row["Points3D:positions"], dtype=np.float32)
        np.testing.assert_array_equal(points, sweep.points_ego_m)
        np.testing.assert_array_equal(np.array(row["intensity"], np.float32), sweep.intensity)
        assert row["ring"] == sweep.ring.tolist()  # type: ignore[union-attr]
        pose = source.trajectory.at(sweep.timestamp_ns)
        moved = found["/map/ego"][number]["Transform3D:translation"][0]
        np.testing.assert_allclose(moved, pose.translation_m, atol=1e-5)
        if number == 2:
            assert 2 not in found["/map/ego/boxes"]
            continue
        boxes = truth_of(source, sweep.timestamp_ns)
        row = found["/map/ego/boxes"][number]
        assert row["track_id"] == boxes.track_id.tolist()
        if len(boxes):
            np.testing.assert_allclose(row["Boxes3D:centers"], boxes.center_xyz_m, atol=1e-5)
            np.testing.assert_allclose(row["Boxes3D:half_sizes"], boxes.size_lwh_m / 2, atol=1e-6)
            half = boxes.yaw_rad / 2
            turn = np.array(row["Boxes3D:quaternions"])
            np.testing.assert_allclose(turn[:, 2:], np.stack([np.sin(half), np.cos(half)], 1),
                                       atol=1e-6)  # fmt: skip
