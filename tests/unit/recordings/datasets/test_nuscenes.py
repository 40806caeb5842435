from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.datasets.nuscenes import NuScenesRecording
from recordings.datasets.nuscenes_tables import read_table
from recordings.discovery import Source, group_keys
from recordings.open import open_recording
from scene.box import Boxes, points_in_boxes
from scene.errors import DataError, FormatError
from scene.recording import RecordingId
from tests.support.nuscenes_tables_devkit import INSTALL, load_tables_devkit
from tests.support.nuscenes_writer import (
    CAMERA_MATRIX,
    EGO_SE3_LIDAR,
    KEYFRAMES,
    START_US,
    points_of,
    pose_at,
    write_nuscenes,
)
from tests.support.shared_data import shared_data

NUM_SWEEPS = 3 * (KEYFRAMES - 1) + 1
SCENE = "scene-0002"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nuscenes(tmp_path_factory.mktemp("data") / "nuscenes")


def open_scene(root: Path, scene: str = SCENE) -> NuScenesRecording:
    return NuScenesRecording(root, RecordingId("scene"), scene)


def corners(boxes: Boxes) -> np.ndarray:
    """Return (N, 8, 3) corners, sorted along each axis order of the devkit-free definition."""
    flat = boxes.corners_bev_m()
    low = boxes.center_xyz_m[:, 2] - boxes.size_lwh_m[:, 2] / 2
    high = low + boxes.size_lwh_m[:, 2]
    return np.concatenate(
        [np.concatenate([flat, np.broadcast_to(z[:, None, None], (len(flat), 4, 1))], 2)
         for z in (low, high)], axis=1,
    )  # fmt: skip


def test_a_scene_reads_back(root: Path) -> None:
    recording = open_scene(root)
    sweeps = list(recording.sweeps())
    assert recording.damage == []
    assert recording.motion == "compensated"
    start_us = START_US + 20_000_000
    assert [s.timestamp_ns for s in sweeps] == [
        (start_us + i * 500_000 // 3) * 1000 for i in range(NUM_SWEEPS)
    ]
    raw = points_of(start_us, 0.0)
    expected = EGO_SE3_LIDAR.transform_points(raw[:, :3].astype(np.float64))
    np.testing.assert_allclose(sweeps[0].points_ego_m, expected, atol=1e-5)
    np.testing.assert_allclose(sweeps[0].intensity, raw[:, 3] / 255, atol=1e-6)
    np.testing.assert_array_equal(sweeps[0].ring, raw[:, 4])
    assert recording.ground_truth is not None
    assert list(recording.ground_truth) == [(start_us + i * 500_000) * 1000 for i in range(4)]
    uses = {topic.name: (topic.count, topic.use) for topic in recording.topics}
    assert uses["LIDAR_TOP"] == (NUM_SWEEPS, "sweeps")
    assert uses["CAM_FRONT"] == (NUM_SWEEPS, "images")
    assert uses["sample_annotation"] == (3 * KEYFRAMES, "boxes")


def test_each_sensor_has_the_ego_pose_of_its_own_time(root: Path) -> None:
    recording = open_scene(root)
    images = list(recording.images())
    assert len(images) == NUM_SWEEPS
    assert {(i.sensor, i.encoding, i.data) for i in images} == {("CAM_FRONT", "jpeg", None)}
    assert all((root / image.uri).is_file() for image in images)
    lidar = {sweep.timestamp_ns for sweep in recording.sweeps()}
    for time in [*lidar, *(image.timestamp_ns for image in images)]:
        expected = pose_at((time // 1000 - START_US) / 1e6, 0.0)
        found = recording.trajectory.at(time)
        np.testing.assert_allclose(found.translation_m, expected.translation_m, atol=1e-9)
        np.testing.assert_allclose(found.rotation, expected.rotation, atol=1e-9)
    camera = recording.calibration.cameras["CAM_FRONT"]
    assert (camera.width_px, camera.height_px) == (1600, 900)
    np.testing.assert_array_equal(camera.matrix, CAMERA_MATRIX)
    # Optical frame: z is the ego's x.
    forward = recording.calibration.of("CAM_FRONT").rotation @ np.array([0, 0, 1.0])
    np.testing.assert_allclose(forward, [1, 0, 0], atol=1e-9)


@pytest.mark.parametrize("tilt_rad", [0.0, 0.03])
def test_boxes_poses_and_points_inside_equal_the_devkit(tmp_path: Path, tilt_rad: float) -> None:
    devkit = load_tables_devkit()
    if devkit is None:
        pytest.skip(f"the nuScenes devkit is not installed: {INSTALL}")
    root = write_nuscenes(tmp_path / "data", tilt_rad)
    tables = devkit.NuScenes("v1.0-mini", str(root), verbose=False)
    recording = open_scene(root)
    truth = recording.ground_truth
    assert truth is not None
    by_time = {sweep.timestamp_ns: sweep for sweep in recording.sweeps()}
    total = 0
    for sample in tables.sample:
        data = tables.get("sample_data", sample["data"]["LIDAR_TOP"])
        time = data["timestamp"] * 1000
        if time not in truth:
            continue
        ours = truth[time]
        theirs = {box.token: box for box in _devkit_boxes(tables, data)}
        assert len(ours) == len(theirs)
        points = by_time[time].points_ego_m.T.astype(np.float64)
        for i, box in enumerate(theirs.values()):
            np.testing.assert_allclose(ours.center_xyz_m[i], box.center, atol=1e-6)
            mine = corners(ours.take(np.array([i])))[0]
            gap = np.linalg.norm(mine[:, None] - box.corners().T[None], axis=2).min(axis=1)
            # A level box stands for one that leans by the ego's pitch.
            assert gap.max() < 1e-6 + tilt_rad * np.linalg.norm(box.wlh) / 2
            record = tables.get("sample_annotation", box.token)
            assert ours.track_id[i] == record["instance_token"]
            assert ours.num_points[i] == record["num_lidar_pts"]
            velocity = tables.box_velocity(box.token)
            turned = recording.trajectory.at(time).rotation.T @ velocity
            np.testing.assert_allclose(ours.velocity_xy_mps[i], turned[:2], atol=1e-4)
            if not tilt_rad:
                inside = points_in_boxes(points.T, ours.take(np.array([i])))[0]
                np.testing.assert_array_equal(inside, devkit.points_in_box(box, points))
                total += int(inside.sum())
    assert total == 0 if tilt_rad else total > 300


def _devkit_boxes(tables: Any, data: dict[str, Any]) -> list[Any]:
    """Return the devkit's boxes of our categories in the ego frame, by its own documented way."""
    from pyquaternion import Quaternion

    pose = tables.get("ego_pose", data["ego_pose_token"])
    boxes = [box for box in tables.get_boxes(data["token"]) if box.name != "animal"]
    for box in boxes:
        box.translate(-np.array(pose["translation"]))
        box.rotate(Quaternion(pose["rotation"]).inverse)
    return boxes


def sources(root: Path) -> dict[str, Source]:
    keys = [str(path.relative_to(root.parent)) for path in sorted(root.rglob("*"))]
    stats = [(key, 1, key) for key in keys if (root.parent / key).is_file()]
    found = group_keys(stats, lambda key: (root.parent / key).read_bytes())
    return {source.part: source for source in found}


def test_an_upload_is_one_source_a_scene_with_its_own_files(root: Path, tmp_path: Path) -> None:
    found = sources(root)
    assert sorted(found) == ["scene-0001", "scene-0002", "scene-0003"]
    second = found["scene-0002"]
    assert (str(second.name), second.prefix) == ("nuscenes_scene-0002", "nuscenes/")
    assert sum(key.endswith(".json") for key in second.keys) == 13
    assert sum(key.endswith(".bin") for key in second.keys) == NUM_SWEEPS
    assert not set(found["scene-0001"].keys) & {k for k in second.keys if k.endswith(".bin")}
    # The files of a source are all that its reader needs.
    for key in second.keys:
        target = tmp_path / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((root.parent / key).read_bytes())
    recording = open_recording(tmp_path / second.prefix, second.name, second.part)
    assert (recording.format, len(list(recording.sweeps()))) == ("nuscenes", NUM_SWEEPS)
    assert recording.damage == []


def test_scenes_without_lidar_files_are_left_out_of_an_upload(tmp_path: Path) -> None:
    root = write_nuscenes(tmp_path / "nuscenes")
    for path in [*root.rglob("n008*.bin")]:
        path.unlink()
    assert sorted(sources(root)) == ["scene-0001", "scene-0002"]


def test_keyframes_alone_are_a_recording(tmp_path: Path) -> None:
    root = write_nuscenes(tmp_path / "nuscenes")
    for path in (root / "sweeps" / "LIDAR_TOP").iterdir():
        path.unlink()
    recording = open_scene(root)
    assert len(list(recording.sweeps())) == KEYFRAMES
    assert recording.damage == []


def test_missing_and_broken_sweeps_are_damage(tmp_path: Path) -> None:
    root = write_nuscenes(tmp_path / "nuscenes")
    files = sorted(root.glob("sweeps/LIDAR_TOP/n008*"))
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-3])
    recording = open_scene(root, "scene-0003")
    assert len(list(recording.sweeps())) == NUM_SWEEPS - 2
    missing, broken = recording.damage
    assert (missing.where, broken.where) == tuple(str(f.relative_to(root)) for f in files[:2])
    assert "the file is not there, though sample_data.json names it" in missing.what
    assert "are not whole points of 20 bytes" in broken.what


def test_which_scene_must_be_said(root: Path) -> None:
    with pytest.raises(FormatError, match=r"holds 3 scenes.*name one: scene-0001, scene-0002"):
        open_recording(root)
    with pytest.raises(FormatError, match="no scene is called 'scene-9'"):
        open_recording(root, part="scene-9")


@pytest.mark.parametrize("table", ["scene", "sample", "sample_data", "ego_pose", "sensor"])
def test_a_missing_table_is_named(tmp_path: Path, table: str) -> None:
    root = write_nuscenes(tmp_path / "nuscenes")
    (root / "v1.0-mini" / f"{table}.json").unlink()
    with pytest.raises(FormatError, match=f"no {table}.json; .* unpack the metadata archive"):
        open_recording(root, part=SCENE)


def test_without_annotations_there_is_no_ground_truth(tmp_path: Path) -> None:
    root = write_nuscenes(tmp_path / "nuscenes")
    (root / "v1.0-mini" / "sample_annotation.json").write_text("[]")
    assert open_scene(root).ground_truth is None


def test_sensor_files_without_tables_say_what_is_missing(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "loose" / "samples" / "LIDAR_TOP"
    folder.mkdir(parents=True)
    one = next(root.glob("samples/LIDAR_TOP/*"))
    (folder / one.name).write_bytes(one.read_bytes())
    with pytest.raises(FormatError, match="sensor files without tables; upload them with the"):
        open_recording(tmp_path / "loose")
    (source,) = group_keys([(f"loose/samples/LIDAR_TOP/{one.name}", 1, "e")])
    assert (source.prefix, source.part) == ("loose/", "")


def test_a_file_name_that_leads_out_of_the_data_set_is_not_followed(tmp_path: Path) -> None:
    root = write_nuscenes(tmp_path / "nuscenes")
    path = root / "v1.0-mini" / "sample_data.json"
    (tmp_path / "secret.bin").write_bytes(b"\0" * 20)
    first = sorted(root.glob("samples/LIDAR_TOP/n008*"))[0].relative_to(root)
    path.write_text(path.read_text().replace(str(first), "../secret.bin"))
    recording = open_scene(root, "scene-0003")
    assert len(list(recording.sweeps())) == NUM_SWEEPS - 1
    assert "leads out of the data set" in recording.damage[0].what


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.lists(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.floats(allow_nan=False))), max_size=8))  # noqa: E501 # fmt: skip
def test_tables_are_read_as_json_reads_them(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("t")
    (folder / "x.json").write_text(json.dumps(rows))
    assert read_table(folder, "x") == rows


def test_a_table_larger_than_a_chunk(tmp_path: Path) -> None:
    rows = [{"token": f"é{i}", "text": "x" * 5000} for i in range(700)]
    (tmp_path / "x.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False))
    assert read_table(tmp_path, "x") == rows
    assert read_table(tmp_path, "x", lambda r: r["token"] == "é650") == rows[650:651]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1}, {"a":', "character 11: the table breaks off"),
        ('{"a": 1}', "not with a JSON array"),
        ("[1]", "character 1: not a record"),
        ('[{"b": 1}]', "a record has no 'a'"),
        ("[" * 100_000, "not a JSON table|breaks off|no record"),
        ("", "not with a JSON array"),
    ],
)
def test_broken_tables_say_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_table(tmp_path, "x", lambda r: r["a"] == 1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["scene", "sample", "sample_data", "calibrated_sensor", "sensor", "ego_pose",
                     "sample_annotation", "instance", "category"]),
    st.floats(0, 1), st.sampled_from([b"", b"null", b"-1", b'"', b"}", b"[]", b"1e999", b"\xff"]),
)  # fmt: skip
def test_only_our_errors_escape_from_damaged_tables(
    root: Path, table: str, share: float, inserted: bytes
) -> None:
    path = root / "v1.0-mini" / f"{table}.json"
    whole = path.read_bytes()
    at = int(share * len(whole))
    try:
        path.write_bytes(whole[:at] + inserted + whole[at + max(len(inserted), 1) :])
        with contextlib.suppress(DataError):
            list(open_scene(root).sweeps())
    finally:
        path.write_bytes(whole)


def test_a_real_sweep_is_read_in_a_data_set_and_refused_alone(tmp_path: Path) -> None:
    folder = shared_data("nuscenes/samples/LIDAR_TOP")
    (path,) = folder.iterdir()
    with pytest.raises(FormatError, match=r"a nuScenes lidar sweep .* without its tables"):
        open_recording(path)
    root = write_nuscenes(tmp_path / "nuscenes")
    target = min(root.glob("samples/LIDAR_TOP/n015*"))
    target.write_bytes(path.read_bytes())
    sweep = next(open_scene(root, "scene-0001").sweeps())
    raw = np.fromfile(path, "<f4").reshape(-1, 5)
    assert (len(raw), len(sweep)) == (34_688, 34_688)
    assert sweep.ring is not None
    np.testing.assert_array_equal(sweep.ring, raw[:, 4])
    # The road lies at z = 0 ahead of the car and the scanner's y points ahead.
    near = (np.abs(sweep.points_ego_m[:, 1]) < 2) & (np.abs(sweep.points_ego_m[:, 0] - 12) < 3)
    assert abs(np.median(sweep.points_ego_m[near, 2])) < 0.15
