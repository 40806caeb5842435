"""Real drives through the readers, checked against other people's decoders and annotations."""

from __future__ import annotations

import importlib
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.feather
import pytest

from recordings.clouds.pcd_file import read_points
from recordings.datasets.kitti import EGO_SE3_VELODYNE, KittiRecording
from recordings.datasets.kitti_poses import _relative_poses
from recordings.datasets.kitti_text import read_numbers
from recordings.discovery import group_keys
from recordings.logs.mcap import McapRecording
from recordings.logs.mcap_file import McapFile
from recordings.open import open_recording
from recordings.recording import Damage, Recording
from recordings.rules.quality import Facts, QualityCheck
from scene.box import Boxes, count_points, points_in_boxes
from scene.errors import FormatError
from scene.recording import RecordingId
from scene.taxonomy import to_category
from tests.support.drawing import without_drawing
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.integration

AV2 = "argoverse2/sensor/val/7fab2350-7eaf-3b7e-a39d-6937a4c1bede"
PANDASET = "av2_layout/pandaset_002"
KITTI = "kitti_raw/2011_09_26/2011_09_26_drive_0001_sync"
PANDASET_MCAP = "mcap/derived_pandaset_002_front_ros2"
MCAP_FILE = f"{PANDASET_MCAP}/pandaset_002_front_ros2.mcap"


def counted(recording: Recording, every: int = 1) -> tuple[Boxes, Boxes]:
    """Return the boxes of every n-th sweep as the file has them, and with points counted by us."""
    assert recording.ground_truth is not None
    theirs, ours = [], []
    for sweep in islice(recording.sweeps(), 0, None, every):
        boxes = recording.ground_truth[sweep.timestamp_ns]
        theirs.append(boxes)
        ours.append(count_points(sweep.points_ego_m, boxes))
    return Boxes.concatenate(theirs), Boxes.concatenate(ours)


def test_argoverse2_boxes_hold_exactly_the_points_that_the_annotators_counted() -> None:
    recording = open_recording(shared_data(AV2))
    theirs, ours = counted(recording)
    assert len(theirs) == 148
    np.testing.assert_array_equal(ours.num_points, theirs.num_points)
    speed = np.hypot(*theirs.velocity_xy_mps.T)
    assert not np.isnan(speed).any()
    assert speed.max() < 20
    assert recording.damage == []
    assert recording.calibration.assumed == frozenset()


def test_argoverse2_sweeps_are_the_files_columns() -> None:
    folder = shared_data(AV2)
    for sweep in open_recording(folder).sweeps():
        table = pyarrow.feather.read_table(folder / f"sensors/lidar/{sweep.timestamp_ns}.feather")
        for axis, name in enumerate("xyz"):
            np.testing.assert_array_equal(sweep.points_ego_m[:, axis], table[name].to_numpy())
        np.testing.assert_array_equal(sweep.offset_ns, table["offset_ns"].to_numpy())
        np.testing.assert_array_equal(sweep.ring, table["laser_number"].to_numpy())
        intensity = table["intensity"].to_numpy() / 255
        np.testing.assert_allclose(sweep.intensity, intensity, atol=1e-6)


def test_pandaset_boxes_hold_the_annotated_points() -> None:
    theirs, ours = counted(open_recording(shared_data(PANDASET)), every=5)
    assert len(theirs) > 400
    # The export turned tilted cuboids upright and rounded to 1 mm: points on a face may differ.
    assert np.abs(ours.num_points - theirs.num_points).max() <= 3
    assert (ours.num_points == theirs.num_points).mean() > 0.95


def test_pandaset_mcap_equals_the_same_drive_in_argoverse2_layout() -> None:
    folder, log = shared_data(PANDASET_MCAP), open_recording(shared_data(PANDASET))
    recording = McapRecording([folder / Path(MCAP_FILE).name], RecordingId("p"), -200_000_000)
    whole = {sweep.timestamp_ns: sweep for sweep in log.sweeps()}
    count = 0
    for sweep in recording.sweeps():
        full = whole[sweep.timestamp_ns]
        # The bag holds the front 100 degrees within 80 m; every point is one of the log's.
        key = {row.tobytes(): i for i, row in enumerate(full.points_ego_m)}
        index = np.array([key[row.tobytes()] for row in sweep.points_ego_m])
        np.testing.assert_allclose(sweep.intensity, full.intensity[index], atol=1e-6)
        np.testing.assert_array_equal(sweep.offset_ns, full.offset_ns[index])
        expected = log.trajectory.at(sweep.timestamp_ns)
        found = recording.trajectory.at(sweep.timestamp_ns)
        np.testing.assert_allclose(found.translation_m, expected.translation_m, atol=1e-9)
        np.testing.assert_allclose(found.rotation, expected.rotation, atol=1e-9)
        count += len(sweep)
    assert count == 226_646
    assert recording.calibration.assumed == frozenset()
    assert len(recording.calibration.ego_SE3_sensor) == 7


def test_point_clouds_equal_what_rosbags_decodes() -> None:
    from rosbags.highlevel import AnyReader

    folder = shared_data(PANDASET_MCAP)
    ours = {sweep.timestamp_ns: sweep for sweep in open_recording(folder).sweeps()}
    with AnyReader([folder]) as reader:
        clouds = [c for c in reader.connections if c.msgtype.endswith("PointCloud2")]
        for connection, _, raw in reader.messages(clouds):
            message = reader.deserialize(raw, connection.msgtype)
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            rows = message.data.reshape(-1, message.point_step)
            xyz = rows[:, :12].copy().view("<f4")
            np.testing.assert_array_equal(ours[stamp].points_ego_m, xyz)
            times = rows[:, 16:20].copy().view("<u4")[:, 0]
            np.testing.assert_array_equal(ours[stamp].offset_ns, times)
    assert len(ours) == 8


def test_nav2_trajectory_equals_the_tf_messages_interpolated_by_scipy() -> None:
    from scipy.spatial.transform import Rotation, Slerp

    path = shared_data("mcap/nav2_turtlebot.mcap")
    recording = open_recording(path)
    assert recording.sensor == ""
    assert list(recording.sweeps()) == []
    codes = [finding.code for finding in QualityCheck(Facts.of(recording)).finish()]
    assert codes == []
    edges = _transforms_of(path)
    correction, odometry = edges["map", "odom"], edges["odom", "base_link"]
    stamps = np.array(sorted(correction))
    turns = Rotation.from_matrix(np.stack([correction[t][:3, :3] for t in stamps]))
    slerp = Slerp((stamps - stamps[0]) / 1e9, turns)
    places = np.stack([correction[t][:3, 3] for t in stamps])
    inside = [t for t in sorted(odometry) if stamps[0] <= t <= stamps[-1]]
    assert len(inside) > 2000
    for time in inside[::20]:
        map_odom = np.eye(4)
        map_odom[:3, :3] = slerp([(time - stamps[0]) / 1e9]).as_matrix()[0]
        map_odom[:3, 3] = [np.interp(time, stamps, places[:, axis]) for axis in range(3)]
        expected = map_odom @ odometry[time]
        found = recording.trajectory.at(time)
        np.testing.assert_allclose(found.translation_m, expected[:3, 3], atol=1e-6)
        np.testing.assert_allclose(found.rotation, expected[:3, :3], atol=1e-6)


def _transforms_of(path: Path) -> dict[tuple[str, str], dict[int, np.ndarray]]:
    """Return parent_SE3_child matrices of /tf by edge and stamp, read by mcap and rosbags."""
    from mcap.reader import make_reader
    from rosbags.typesys import Stores, get_typestore
    from scipy.spatial.transform import Rotation

    store = get_typestore(Stores.ROS2_HUMBLE)
    found: dict[tuple[str, str], dict[int, np.ndarray]] = {}
    with path.open("rb") as stream:
        for schema, _, message in make_reader(stream).iter_messages(topics=["/tf"]):
            assert schema is not None
            value = store.deserialize_cdr(message.data, schema.name)
            for item in value.transforms:
                t, r = item.transform.translation, item.transform.rotation
                matrix = np.eye(4)
                matrix[:3, :3] = Rotation.from_quat([r.x, r.y, r.z, r.w]).as_matrix()
                matrix[:3, 3] = t.x, t.y, t.z
                stamp = item.header.stamp.sec * 10**9 + item.header.stamp.nanosec
                edge = (item.header.frame_id, item.child_frame_id)
                found.setdefault(edge, {}).setdefault(stamp, matrix)
    return found


def test_container_walk_equals_the_mcap_package_on_its_conformance_set() -> None:
    from mcap.stream_reader import StreamReader

    files = sorted(shared_data("mcap_conformance").rglob("*.mcap"))
    assert len(files) >= 30
    total = 0
    for path in files:
        with path.open("rb") as stream:
            records = list(StreamReader(stream).records)
        expected = [
            (r.channel_id, r.log_time, bytes(r.data))
            for r in records
            if type(r).__name__ == "Message"
        ]
        damage: list[Damage] = []
        file = McapFile(path)
        found = [
            (m.channel_id, m.log_time_ns, bytes(m.data))
            for block in file.blocks(damage)
            for m in file.messages(block, damage)
        ]
        assert found == expected, path.name
        assert damage == [], path.name
        total += len(found)
    assert total > 20


def test_a_real_mcap_cut_at_any_place_gives_its_leading_sweeps(tmp_path: Path) -> None:
    data = shared_data(MCAP_FILE).read_bytes()
    whole = [s.points_ego_m.tobytes() for s in open_recording(shared_data(MCAP_FILE)).sweeps()]
    path, counts = tmp_path / "cut.mcap", []
    for share in (0.3, 0.55, 0.8, 0.999):
        path.write_bytes(data[: int(len(data) * share)])
        recording = open_recording(path)
        found = [s.points_ego_m.tobytes() for s in recording.sweeps()]
        assert found == whole[: len(found)]
        assert recording.damage or share > 0.99
        counts.append(len(found))
    assert counts == sorted(counts)
    assert counts[0] >= 1
    assert counts[-1] == 8


@pytest.mark.parametrize(
    "name",
    [
        "cloudini_lidar_xyzi",
        "pcl/car6",
        "pcl/milk",
        "pcl/lamppost",
        "pcl/bun0",
        "pcl/sac_plane_test",
    ],
)
def test_pcd_equals_open3d(name: str) -> None:
    open3d = pytest.importorskip(
        "open3d",
        exc_type=ImportError,
        reason="pip install starloop[bench]; apt install libusb-1.0-0",
    )
    path = shared_data(f"pcd/{name}.pcd")
    options = {"remove_nan_points": False, "remove_infinite_points": False}
    expected = np.asarray(open3d.io.read_point_cloud(str(path), **options).points)
    found = read_points(path).xyz_m
    assert len(found) == len(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6, equal_nan=True)
    (sweep,) = open_recording(path).sweeps()
    assert len(sweep) == (np.isfinite(found).all(axis=1) & (found != 0).any(axis=1)).sum()


def test_kitti_boxes_poses_and_ground() -> None:
    folder = shared_data(KITTI)
    recording = KittiRecording(folder, RecordingId("drive_0001"))
    assert recording.ground_truth is not None
    assert sum(len(boxes) for boxes in recording.ground_truth.values()) == 572
    check, counts, num_points = QualityCheck(Facts.of(recording)), [], 0
    for sweep in recording.sweeps():
        check.add(sweep)
        boxes = recording.ground_truth[sweep.timestamp_ns]
        counts += count_points(sweep.points_ego_m, boxes).num_points.tolist()
        num_points += len(sweep)
    assert recording.damage == []
    assert num_points == 2_229_878
    # Boxes stand on the ground and hold the object: a bottom-centre mistake empties small ones.
    assert np.mean(np.array(counts) >= 5) > 0.95
    found = check.finish()
    assert [finding.code for finding in found if finding.severity == "error"] == []
    assert "REC013" not in {finding.code for finding in found}  # the ground is at z = 0


def test_kitti_oxts_poses_equal_the_scanner_poses() -> None:
    folder = shared_data(KITTI)
    recording = KittiRecording(folder, RecordingId("drive_0001"))
    times = recording.trajectory.timestamps_ns
    rows = read_numbers(folder / "poses_velodyne.txt", 12).reshape(-1, 3, 4)
    expected = _relative_poses(rows, times, EGO_SE3_VELODYNE)
    start = recording.trajectory.at(int(times[0])).inverse()
    for i, time in enumerate(times):
        found = start @ recording.trajectory.at(int(time))
        np.testing.assert_allclose(found.translation_m, expected.translation_m[i], atol=1e-4)
        np.testing.assert_allclose(found.rotation, expected.at(int(time)).rotation, atol=1e-6)


def test_kitti_tracklets_equal_the_object_benchmarks_labels() -> None:
    """label_2 gives the same cars in camera coordinates, annotated through another chain."""
    folder = shared_data(KITTI)
    recording = KittiRecording(folder, RecordingId("drive_0001"))
    assert recording.ground_truth is not None
    calibration = {
        line.split(":")[0]: np.array(line.split(":")[1].split(), dtype=float)
        for line in (folder / "calib_tracking_format.txt").read_text().splitlines()
        if ":" in line
    }
    velo_to_cam, rect = np.eye(4), np.eye(4)
    velo_to_cam[:3] = calibration["Tr_velo_to_cam"].reshape(3, 4)
    rect[:3, :3] = calibration["R0_rect"].reshape(3, 3)
    cam_to_velo = np.linalg.inv(rect @ velo_to_cam)
    matched, errors = 0, []
    for path in sorted((folder / "object_label_2").glob("*.txt")):
        time = int(recording.trajectory.timestamps_ns[int(path.stem)])
        centers = recording.ground_truth[time].center_xyz_m
        for line in path.read_text().splitlines():
            words = line.split()
            if words[0] not in ("Car", "Cyclist", "Tram"):
                continue
            height, place = float(words[8]), np.array([*map(float, words[11:14]), 1.0])
            place[1] -= height / 2  # camera y points down, the label is at the bottom
            velo = (cam_to_velo @ place)[:3]
            ego = EGO_SE3_VELODYNE.transform_points(velo[None])[0]
            errors.append(np.linalg.norm(centers - ego, axis=1).min())
            matched += 1
    assert matched > 250
    assert np.percentile(errors, 95) < 0.05


def test_every_file_of_the_collection_is_read_or_refused_with_a_reason() -> None:
    root = shared_data("PROVENANCE.md").parent
    stats = [
        (str(path.relative_to(root)), path.stat().st_size, "")
        for path in sorted(root.rglob("*"))
        if path.is_file() and "mcap_conformance" not in path.parts
    ]
    read = {}
    for source in group_keys(stats):
        try:
            read[str(source.name)] = open_recording(root / source.prefix, source.name).format
        except FormatError as error:
            known = ("Readable are", "topics:", "without tables")
            assert any(text in str(error) for text in known)  # noqa: PT017
    assert read == {
        "argoverse2_sensor_val_7fab2350-7eaf-3b7e-a39d-6937a4c1bede": "argoverse2",
        "av2_layout_pandaset_002": "argoverse2",
        "kitti_object_training": "kitti_object",
        "kitti_raw_2011_09_26_drive_0001_sync": "kitti",
        "las_autzen_trim": "las",
        "las_simple-7006677f": "las",
        "las_simple-ec22ca4d": "las",
        "las_simple1_3": "las",
        "las_test1_4": "las",
        "las_vegetation_1_3": "las",
        "lerobot_unitree_g1_v2.1_episode_000029": "lerobot",
        "mcap_derived_pandaset_002_front_ros2": "mcap",
        "mcap_nav2_turtlebot": "mcap",
        "mcap_rosbag2_talker": "mcap",
        "mcap_rosbag2_wbag_split": "mcap",
        "pcd_cloudini_lidar_xyzi": "pcd",
        "pcd_pcl": "pcd",
        "rosbag1_derived_pandaset_002_front_ros1": "rosbag1",
        "rosbag1_evo_tf_example": "rosbag1",
        "rosbag1_husky_outdoor_test1": "rosbag1",
        "rosbag2_db3_evo_tf_example": "rosbag2",
        "rosbag2_db3_nebula_velodyne_vlp16_1673400471837873222": "rosbag2",
        "rosbag2_db3_nebula_velodyne_vlp16_1673400472138016708": "pcd",
        "rosbag2_db3_nebula_velodyne_vlp32_1713492677464078412-0f693501": "rosbag2",
        "rosbag2_db3_nebula_velodyne_vlp32_1713492677464078412-5c0bf96b": "pcd",
        "rosbag2_db3_rosbag2_talker": "rosbag2",
        "rosbag2_db3_rosbag2_wbag_split": "rosbag2",
    }


def test_argoverse2_poses_calibration_and_cuboids_equal_the_official_package() -> None:
    pytest.importorskip("av2", reason="pip install --no-deps av2==0.3.6")
    with without_drawing("av2"):
        cuboids = importlib.import_module("av2.structures.cuboid").CuboidList
        cameras = importlib.import_module("av2.geometry.camera.pinhole_camera").PinholeCamera
        files = importlib.import_module("av2.utils.io")
    folder = shared_data(AV2)
    recording = open_recording(folder)
    truth, trajectory = recording.ground_truth, recording.trajectory
    assert truth is not None
    poses = files.read_city_SE3_ego(folder)
    assert len(poses) == len(trajectory) == 2706
    for time in list(poses)[::50]:
        found = trajectory.at(time)
        np.testing.assert_allclose(found.translation_m, poses[time].translation, atol=1e-9)
        np.testing.assert_allclose(found.rotation, poses[time].rotation, atol=1e-9)
    sensors = files.read_ego_SE3_sensor(folder)
    assert {"up_lidar", "down_lidar"} < set(sensors) == set(recording.calibration.ego_SE3_sensor)
    for name, pose in sensors.items():
        found = recording.calibration.of(name)
        np.testing.assert_allclose(found.translation_m, pose.translation, atol=1e-9)
        np.testing.assert_allclose(found.rotation, pose.rotation, atol=1e-9)
    assert len(recording.calibration.cameras) == 9
    for name, ours in recording.calibration.cameras.items():
        theirs = cameras.from_feather(folder, name)
        np.testing.assert_allclose(ours.matrix, theirs.intrinsics.K, atol=1e-9)
        assert (ours.width_px, ours.height_px) == (theirs.width_px, theirs.height_px)
    everything = cuboids.from_feather(folder / "annotations.feather").cuboids
    total = 0
    for sweep in recording.sweeps():
        boxes = truth[sweep.timestamp_ns]
        of_time = [c for c in everything if c.timestamp_ns == sweep.timestamp_ns]
        of_time = [c for c in of_time if to_category(str(c.category)) is not None]
        assert len(boxes) == len(of_time)
        inside = points_in_boxes(sweep.points_ego_m, boxes)
        for i, cuboid in enumerate(of_time):
            flat = boxes.corners_bev_m()[i]
            gap = np.linalg.norm(flat[:, None] - cuboid.vertices_m[None, :, :2], axis=2)
            assert gap.min(axis=1).max() < 0.02  # cuboids lean a little with the road
            mask = cuboid.compute_interior_points(sweep.points_ego_m.astype(np.float64))[1]
            total += int(mask.sum())
            assert abs(int(inside[i].sum()) - int(mask.sum())) <= 2
    assert total > 5000
