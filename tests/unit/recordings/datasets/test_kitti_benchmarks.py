"""KITTI object and tracking: folders written here, and real ones where they are."""

from __future__ import annotations

import contextlib
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recordings.datasets.kitti_labels import read_labels
from recordings.datasets.kitti_rig import EGO_SE3_VELODYNE, read_rig
from recordings.discovery import Source, group_keys
from recordings.open import open_recording
from recordings.recording import Damage
from scene.box import Boxes, points_in_boxes
from scene.errors import FormatError
from tests.support import kitti_oracle
from tests.support.shared_data import shared_data

CALIB = """P0: 700 0 600 0 0 700 180 0 0 0 1 0
P2: 700 0 600 45 0 700 180 0.2 0 0 1 0.003
P3: 700 0 600 -340 0 700 180 2 0 0 1 0.003
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27
Tr_imu_to_velo: 1 0 0 -0.81 0 1 0 0.32 0 0 1 -0.8

"""
# kind, truncation, occlusion, alpha, rectangle, h w l, x y z of the bottom, rotation_y
CAR = "Car 0.00 0 1.5 10 20 30 40 1.50 1.60 4.00 2.00 1.65 10.00 {turn}"
WALKER = "Pedestrian 0.1 1 0 1 2 3 4 1.8 0.6 0.7 -3.0 1.7 8.0 0.3"
DONT_CARE = "DontCare -1 -1 -10 800 163 825 184 -1 -1 -1 -1000 -1000 -1000 -10"
OXTS = "49.0151 {lon} 112.8 0.01 0.02 0.3 -1 2 8 0 0 0.1 0.2 9.8 0.1 0.2 9.8 0 0 0 0 0 0 0.1 0.1 4 11 6 6 6"  # noqa: E501


def write_scan(path: Path, seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    low, high = [6, -6, -2, 0], [14, 6, 1, 1]
    points = rng.uniform(low, high, (3000, 4)).astype("<f4")
    points.tofile(path)
    return points


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_object(root: Path, numbers: tuple[int, ...] = (3, 7)) -> Path:
    for number in numbers:
        write_scan(root / f"velodyne/{number:06d}.bin", number)
        write_text(root / f"calib/{number:06d}.txt", CALIB)
        lines = [CAR.format(turn=-1.2), WALKER, DONT_CARE, "Misc 0 0 0 0 0 0 0 1 1 1 1 1 1 0"]
        write_text(root / f"label_2/{number:06d}.txt", "\n".join(lines) + "\n")
        (root / "image_2").mkdir(exist_ok=True)
        Image.new("RGB", (1242, 375)).save(root / f"image_2/{number:06d}.png")
    return root


def write_tracking(root: Path, sequence: str = "0003", num: int = 4) -> Path:
    for i in range(num):
        write_scan(root / f"velodyne/{sequence}/{i:06d}.bin", i)
        (root / f"image_02/{sequence}").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (1224, 370)).save(root / f"image_02/{sequence}/{i:06d}.png")
    calib = CALIB.replace("R0_rect:", "R_rect").replace("Tr_velo_to_cam:", "Tr_velo_cam")
    write_text(root / f"calib/{sequence}.txt", calib.replace("Tr_imu_to_velo:", "Tr_imu_velo"))
    lines = [f"{i} 5 {CAR.format(turn=-1.2)}" for i in range(num)] + [f"1 -1 {DONT_CARE}"]
    write_text(root / f"label_02/{sequence}.txt", "\n".join(lines))
    rows = [OXTS.format(lon=8.4340 + i * 1e-5) for i in range(num)]
    write_text(root / f"oxts/{sequence}.txt", "\n".join(rows) + "\n")
    return root


def corners(boxes: Boxes) -> np.ndarray:
    """Return (N, 8, 3)."""
    flat = boxes.corners_bev_m()
    low = boxes.center_xyz_m[:, 2] - boxes.size_lwh_m[:, 2] / 2
    levels = (low, low + boxes.size_lwh_m[:, 2])
    level = [np.broadcast_to(z[:, None, None], (len(flat), 4, 1)) for z in levels]
    return np.concatenate([np.concatenate([flat, z], axis=2) for z in level], axis=1)


def assert_equals_the_devkit(
    boxes: Boxes, labels: Path, calib: Path, points_velo: np.ndarray, skip: int = 0,
    lean_points: float = 0.0,
) -> int:  # fmt: skip
    """Compare corners and points inside; return how many points were inside.

    Labelled boxes stand upright in the camera, ours in the ego frame: corners may differ by the
    angle between the two, points inside by the share `lean_points`.
    """
    rect = kitti_oracle.rect_T_velo(calib)
    lean_rad = np.arccos(np.clip(-rect[1, 2] / np.linalg.norm(rect[1, :3]), -1.0, 1.0))
    theirs = [b for b in kitti_oracle.read_boxes(labels, skip) if b.kind not in ("DontCare", "Misc")]  # noqa: E501 # fmt: skip
    assert len(boxes) == len(theirs) > 0
    ego = points_velo + EGO_SE3_VELODYNE.translation_m
    ours_inside = points_in_boxes(ego, boxes)
    total = 0
    for i, box in enumerate(theirs):
        back = np.linalg.inv(rect)
        expected = box.corners @ back[:3, :3].T + back[:3, 3] + EGO_SE3_VELODYNE.translation_m
        found = corners(boxes.take(np.array([i])))[0]
        gap = np.linalg.norm(found[:, None] - expected[None], axis=2).min(axis=1)
        assert gap.max() <= 1e-6 + lean_rad * np.linalg.norm(box.size_hwl) / 2, box.kind
        mask = kitti_oracle.inside(box, points_velo, rect)
        assert abs(int(mask.sum()) - int(ours_inside[i].sum())) <= lean_points * mask.sum() + 1e-9
        total += int(mask.sum())
    return total


@pytest.mark.parametrize("turn", [-3.0, -1.57, -0.2, 0.0, 0.9, 2.4])
def test_object_boxes_equal_the_devkit(tmp_path: Path, turn: float) -> None:
    root = write_object(tmp_path / "training")
    write_text(root / "label_2/000003.txt", CAR.format(turn=turn))
    recording = open_recording(root)
    assert recording.format == "kitti_object"
    assert recording.ground_truth is not None
    points = np.fromfile(root / "velodyne/000003.bin", "<f4").reshape(-1, 4)[:, :3]
    boxes = recording.ground_truth[300_000_000]
    files = root / "label_2/000003.txt", root / "calib/000003.txt"
    assert assert_equals_the_devkit(boxes, *files, points.astype(np.float64)) > 50


def test_object_frames_have_assumed_times_and_poses(tmp_path: Path) -> None:
    root = write_object(tmp_path / "training")
    recording = open_recording(root)
    assert recording.calibration.assumed == frozenset({"map", "clock"})
    sweeps = list(recording.sweeps())
    assert [s.timestamp_ns for s in sweeps] == [300_000_000, 700_000_000]
    raw = np.fromfile(root / "velodyne/000007.bin", "<f4").reshape(-1, 4)
    expected = raw[:, :3] + EGO_SE3_VELODYNE.translation_m
    np.testing.assert_allclose(sweeps[1].points_ego_m, expected, atol=1e-5)
    truth = recording.ground_truth
    assert truth is not None
    assert truth[700_000_000].category.tolist() == ["car", "pedestrian"]
    assert [(i.sensor, i.timestamp_ns, i.uri) for i in recording.images()] == [
        ("image_2", 300_000_000, "image_2/000003.png"),
        ("image_2", 700_000_000, "image_2/000007.png"),
    ]
    camera = recording.calibration.cameras["image_2"]
    assert (camera.width_px, camera.height_px) == (1242, 375)
    # A point of the scanner is seen where KITTI's own chain of matrices says.
    point = np.array([[10.0, 2.0, -0.5]])
    ego_SE3_camera = recording.calibration.of("image_2")
    seen = (
        camera.matrix
        @ ego_SE3_camera.inverse().transform_points(EGO_SE3_VELODYNE.transform_points(point))[0]
    )
    projection = np.array([700, 0, 600, 45, 0, 700, 180, 0.2, 0, 0, 1, 0.003]).reshape(3, 4)
    rect = kitti_oracle.rect_T_velo(root / "calib/000003.txt")
    theirs = projection @ (rect @ np.append(point[0], 1.0))
    np.testing.assert_allclose(seen[:2] / seen[2], theirs[:2] / theirs[2], atol=1e-6)


def test_cameras_that_differ_from_frame_to_frame_are_left_out(tmp_path: Path) -> None:
    root = write_object(tmp_path / "training")
    write_text(root / "calib/000007.txt", CALIB.replace("P2: 700", "P2: 705"))
    assert open_recording(root).calibration.cameras == {}


def test_missing_pieces_of_the_object_benchmark(tmp_path: Path) -> None:
    root = write_object(tmp_path / "training")
    (root / "calib/000003.txt").unlink()
    write_text(root / "label_2/000007.txt", f"{WALKER}\nCar 0 0 0 1 2\nCar x x\n")
    (root / "velodyne/000007.bin").write_bytes(b"\0" * 35)
    recording = open_recording(root)
    assert len(list(recording.sweeps())) == 1
    assert recording.ground_truth is not None
    assert [len(b) for b in recording.ground_truth.values()] == [1]
    what = {note.where: note.what for note in recording.damage}
    assert "labels are in the camera's frame" in what["label_2/000003.txt"]
    assert "6 words, expected 15" in what["label_2/000007.txt line 2"]
    assert "35 bytes are not whole points" in what["velodyne/000007.bin"]
    for path in (root / "label_2").iterdir():
        path.unlink()
    (root / "label_2").rmdir()
    assert open_recording(root).ground_truth is None


def test_a_tracking_sequence_reads_back(tmp_path: Path) -> None:
    root = write_tracking(tmp_path / "training")
    recording = open_recording(root)
    assert recording.format == "kitti_tracking"
    assert recording.calibration.assumed == frozenset({"clock"})
    assert [s.timestamp_ns for s in recording.sweeps()] == [i * 10**8 for i in range(4)]
    truth = recording.ground_truth
    assert truth is not None
    box = truth[10**8]
    assert (box.track_id.tolist(), box.category.tolist()) == (["5"], ["car"])
    labels = tmp_path / "one.txt"
    labels.write_text(f"1 5 {CAR.format(turn=-1.2)}")
    calib = tmp_path / "calib.txt"
    calib.write_text(CALIB)
    points = np.fromfile(root / "velodyne/0003/000001.bin", "<f4").reshape(-1, 4)[:, :3]
    assert assert_equals_the_devkit(box, labels, calib, points.astype(np.float64), skip=2) > 50
    # The car keeps its place before the ego, so both are as fast: 1e-5 degrees of longitude.
    step_m = np.radians(1e-5) * 6378137 * np.cos(np.radians(49.0151))
    speed = np.linalg.norm(box.velocity_xy_mps[0])
    assert speed == pytest.approx(step_m / 0.1, rel=2e-3)
    assert len(list(recording.images())) == 4
    assert recording.calibration.cameras["image_02"].width_px == 1224


def test_times_of_a_tracking_sequence(tmp_path: Path) -> None:
    root = write_tracking(tmp_path / "training")
    lines = [f"1317042145.{9 + i * 10:09d}" for i in range(4)]
    write_text(root / "times/0003.txt", "\n".join(lines) + "\n")
    recording = open_recording(root)
    assert recording.calibration.assumed == frozenset()
    expected = [1_317_042_145_000_000_009 + i * 10 for i in range(4)]
    assert [s.timestamp_ns for s in recording.sweeps()] == expected
    assert recording.ground_truth is not None
    assert list(recording.ground_truth) == expected
    assert [i.timestamp_ns for i in recording.images()] == expected
    for wrong in ("1317042145.1", "4\n3\n2\n1"):
        write_text(root / "times/0003.txt", wrong)
        recording = open_recording(root)
        assert recording.damage[0].where == "times/0003.txt"
        assert recording.calibration.assumed == frozenset({"clock"})


def sources(root: Path) -> dict[str, Source]:
    keys = [str(p.relative_to(root.parent)) for p in sorted(root.rglob("*")) if p.is_file()]
    return {source.part: source for source in group_keys((key, 1, key) for key in keys)}


def test_each_sequence_of_an_upload_is_a_source(tmp_path: Path) -> None:
    root = write_tracking(tmp_path / "training")
    write_tracking(root, "0011")
    write_text(root / "calib/0012.txt", CALIB)  # a sequence whose scans were not uploaded
    found = sources(root)
    assert sorted(found) == ["0003", "0011"]
    assert str(found["0011"].name) == "training_0011"
    assert {key.split("/")[1] for key in found["0011"].keys} == {
        "velodyne", "label_02", "calib", "oxts", "image_02",
    }  # fmt: skip
    assert not [key for key in found["0011"].keys if "/0003" in key]
    assert open_recording(root, part="0011").format == "kitti_tracking"
    with pytest.raises(FormatError, match=r"holds 2 sequences.*name one: 0003, 0011"):
        open_recording(root)
    with pytest.raises(FormatError, match="no sequence '0099' in velodyne/; there are: 0003"):
        open_recording(root, part="0099")


def test_an_upload_of_the_object_benchmark_is_one_source(tmp_path: Path) -> None:
    root = write_object(tmp_path / "training")
    ((part, source),) = sources(root).items()
    assert (part, source.prefix, len(source.keys)) == ("", "training/", 8)


def test_broken_calibration_says_what_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    for text, message in (
        (CALIB.replace("R0_rect: 1 0", "R0_rect: 1"), "expected a line R0_rect: with 9 numbers"),
        (CALIB.replace("0 -1 0 0", "0 -2 0 0"), "a transform is not rigid"),
        (CALIB.replace("1 0 0 -0.27", "-1 0 0 -0.27"), "a transform is not rigid"),
        ("", "expected a line R0_rect"),
    ):
        path.write_text(text)
        with pytest.raises(FormatError, match=message):
            read_rig(path)


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet="Car 0123.-+eE\nnaif\t:_P\0", max_size=200))
def test_only_our_errors_escape_from_any_text(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("any") / "000000.txt"
    path.write_text(text)
    notes: list[Damage] = []
    for tracking in (False, True):
        for label in read_labels(path, notes, tracking=tracking):
            assert np.isfinite(label.numbers).all()
    with contextlib.suppress(FormatError):
        read_rig(path)


def test_a_real_frame_equals_the_devkit() -> None:
    root = shared_data("kitti_object/training")
    recording = open_recording(root)
    (sweep,) = recording.sweeps()
    assert recording.damage == []
    assert len(sweep) == 17_238
    truth = recording.ground_truth
    assert truth is not None
    points = np.fromfile(root / "velodyne_reduced/000008.bin", "<f4").reshape(-1, 4)[:, :3]
    # The camera leans by 0.8 degrees against the scanner: a level box differs by centimetres.
    total = assert_equals_the_devkit(
        truth[sweep.timestamp_ns], root / "label_2/000008.txt", root / "calib/000008.txt",
        points.astype(np.float64), lean_points=0.05,
    )  # fmt: skip
    assert total > 1500


@pytest.mark.integration
def test_real_labels_of_a_raw_drive_equal_the_devkit(tmp_path: Path) -> None:
    """51 frames of the object benchmark, put beside the scans of the drive they were taken from."""
    drive = shared_data("kitti_raw/2011_09_26/2011_09_26_drive_0001_sync")
    root = tmp_path / "training"
    calib = (drive / "calib_tracking_format.txt").read_text()
    wanted = {path.stem: path for path in sorted((drive / "object_label_2").glob("*.txt"))[::10]}
    (root / "velodyne").mkdir(parents=True)
    with tarfile.open(drive / "velodyne_points_data_fov.tar.xz") as archive:
        for member in archive:
            stem = Path(member.name).stem
            if stem in wanted:
                stream = archive.extractfile(member)
                assert stream is not None
                (root / f"velodyne/{int(stem):06d}.bin").write_bytes(stream.read())
                write_text(root / f"calib/{int(stem):06d}.txt", calib)
                text = "\n".join(
                    line for line in wanted[stem].read_text().splitlines()
                    if line.split()[0] in ("Car", "Van", "Cyclist", "Pedestrian", "Tram", "Truck")
                )  # fmt: skip
                write_text(root / f"label_2/{int(stem):06d}.txt", text)
    recording = open_recording(root)
    truth = recording.ground_truth
    assert truth is not None
    assert recording.damage == []
    assert len(truth) == len(wanted) == 6
    total = 0
    for time, boxes in truth.items():
        name = f"{time // 100_000_000:06d}"
        points = np.fromfile(root / f"velodyne/{name}.bin", "<f4").reshape(-1, 4)[:, :3]
        total += assert_equals_the_devkit(
            boxes, root / f"label_2/{name}.txt", root / f"calib/{name}.txt",
            points.astype(np.float64), lean_points=0.2,
        )  # fmt: skip
    assert total > 3000
