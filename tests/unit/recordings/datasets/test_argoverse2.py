from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.datasets.argoverse2 import Argoverse2Recording
from scene.errors import DataError, FormatError
from scene.recording import RecordingId

TIMES = [1_000_000_000_000 + i * 100_000_000 for i in range(4)]


def write_log(folder: Path, *, poses: bool = True, calibration: bool = True) -> Path:
    (folder / "sensors" / "lidar").mkdir(parents=True)
    (folder / "calibration").mkdir()
    rng = np.random.default_rng(0)
    for time in TIMES:
        table = {
            **{name: rng.uniform(-30, 30, 20).astype(np.float16) for name in "xyz"},
            "intensity": rng.integers(0, 256, 20).astype(np.uint8),
            "laser_number": rng.integers(0, 64, 20).astype(np.uint8),
            "offset_ns": rng.integers(0, 10**8, 20).astype(np.int32),
        }
        write(folder / "sensors" / "lidar" / f"{time}.feather", table)
    count = len(TIMES)
    pose = {"qw": np.ones(count), **{f"q{a}": np.zeros(count) for a in "xyz"}}
    place = {"tx_m": np.arange(count) * 2.0, "ty_m": np.zeros(count), "tz_m": np.zeros(count)}
    if poses:
        write(folder / "city_SE3_egovehicle.feather", {"timestamp_ns": TIMES, **pose, **place})
    if calibration:
        one = {key: value[:1] for key, value in {**pose, **place}.items()}
        path = folder / "calibration" / "egovehicle_SE3_sensor.feather"
        write(path, {"sensor_name": ["up_lidar"], **{k: np.repeat(v, 1) for k, v in one.items()}})
    boxes = {
        "timestamp_ns": TIMES, "track_uuid": ["t"] * count,
        "category": ["PEDESTRIAN", "PEDESTRIAN", "ANIMAL", "PEDESTRIAN"],
        "length_m": np.full(count, 0.7), "width_m": np.full(count, 0.6),
        "height_m": np.full(count, 1.8), **pose, "tx_m": 30 - np.arange(count) * 2.0,
        "ty_m": np.arange(count) * 0.1, "tz_m": np.full(count, 0.9),
        "num_interior_pts": np.arange(count),
    }  # fmt: skip
    write(folder / "annotations.feather", boxes)
    add_cameras(folder)
    return folder


def add_cameras(folder: Path) -> None:
    """Two cameras with times of their own."""
    models = {
        "sensor_name": ["front", "rear"], "fx_px": [1700.0, 1600.0], "fy_px": [1701.0, 1601.0],
        "cx_px": [800.0, 810.0], "cy_px": [500.0, 510.0], "k1": [-0.2, 0.0], "k2": [0.1, 0.0],
        "k3": [0.3, 0.0], "height_px": [1000, 900], "width_px": [1600, 1500],
    }  # fmt: skip
    write(folder / "calibration" / "intrinsics.feather", models)
    for name, shift in (("front", 0), ("rear", 3_000_000)):
        (folder / "sensors" / "cameras" / name).mkdir(parents=True)
        for time in TIMES[:2]:
            (folder / f"sensors/cameras/{name}/{time + shift}.jpg").write_bytes(b"\xff\xd8")


def write(path: Path, columns: dict[str, object]) -> None:
    pyarrow.feather.write_feather(pa.table(columns), path)


def test_a_log_reads_back(tmp_path: Path) -> None:
    recording = Argoverse2Recording(write_log(tmp_path / "log"), RecordingId("log"))
    assert recording.sensor == "up_lidar"
    assert recording.calibration.assumed == frozenset()
    sweeps = list(recording.sweeps())
    assert [sweep.timestamp_ns for sweep in sweeps] == TIMES
    table = pyarrow.feather.read_table(tmp_path / f"log/sensors/lidar/{TIMES[0]}.feather")
    np.testing.assert_array_equal(sweeps[0].points_ego_m[:, 1], table["y"].to_numpy())
    np.testing.assert_array_equal(sweeps[0].ring, table["laser_number"].to_numpy())
    np.testing.assert_array_equal(sweeps[0].offset_ns, table["offset_ns"].to_numpy())
    truth = recording.ground_truth
    assert truth is not None
    assert [len(truth[time]) for time in TIMES] == [1, 1, 0, 1]
    assert truth[TIMES[1]].category.tolist() == ["pedestrian"]
    assert truth[TIMES[1]].num_points.tolist() == [1]
    # The person stands still along x in the map and walks 1 m/s along y.
    np.testing.assert_allclose(truth[TIMES[1]].velocity_xy_mps, [[0.0, 1.0]], atol=1e-9)


def test_images_stay_in_place_with_their_own_times(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log")
    recording = Argoverse2Recording(folder, RecordingId("log"))
    assert recording.motion == "compensated"
    images = list(recording.images())
    assert [(i.sensor, i.timestamp_ns) for i in images] == [
        ("front", TIMES[0]), ("rear", TIMES[0] + 3_000_000),
        ("front", TIMES[1]), ("rear", TIMES[1] + 3_000_000),
    ]  # fmt: skip
    assert all(i.data is None and (folder / i.uri).is_file() for i in images)
    front = recording.calibration.cameras["front"]
    assert (front.width_px, front.height_px, front.model) == (1600, 1000, "plumb_bob")
    np.testing.assert_array_equal(front.matrix, [[1700, 0, 800], [0, 1701, 500], [0, 0, 1]])
    np.testing.assert_array_equal(front.distortion, [-0.2, 0.1, 0, 0, 0.3])
    assert recording.calibration.cameras["rear"].distortion.size == 0
    uses = {topic.name: (topic.count, topic.use) for topic in recording.topics}
    assert uses["up_lidar"] == (len(TIMES), "sweeps")
    assert uses["rear"] == (2, "images")


def test_missing_poses_and_calibration_are_marked(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log", poses=False, calibration=False)
    recording = Argoverse2Recording(folder, RecordingId("log"))
    assert recording.calibration.assumed == frozenset({"lidar", "map"})
    assert len(list(recording.sweeps())) == len(TIMES)
    assert recording.ground_truth is not None
    assert np.isnan(recording.ground_truth[TIMES[0]].velocity_xy_mps).all()


def test_a_file_of_poses_without_any_is_damage(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log")
    path = folder / "city_SE3_egovehicle.feather"
    pyarrow.feather.write_feather(pyarrow.feather.read_table(path).slice(0, 0), path)
    recording = Argoverse2Recording(folder, RecordingId("log"))
    assert list(recording.sweeps()) == []
    assert {note.what for note in recording.damage} == {"the recording has no ego poses"}


def test_one_broken_sweep_is_damage(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log")
    path = folder / "sensors" / "lidar" / f"{TIMES[1]}.feather"
    path.write_bytes(path.read_bytes()[:100])
    recording = Argoverse2Recording(folder, RecordingId("log"))
    assert [s.timestamp_ns for s in recording.sweeps()] == [TIMES[0], *TIMES[2:]]
    (note,) = recording.damage
    assert note.where == f"sensors/lidar/{TIMES[1]}.feather"
    assert "not a readable Feather file" in note.what
    assert note.lost == f"sweep {TIMES[1]}"


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log")
    write(folder / "city_SE3_egovehicle.feather", {"timestamp_ns": TIMES})
    with pytest.raises(FormatError, match="no column qw, qx"):
        Argoverse2Recording(folder, RecordingId("log"))


def test_a_column_of_text_where_numbers_should_be(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log")
    path = folder / "sensors" / "lidar" / f"{TIMES[0]}.feather"
    write(path, {"x": ["a"], "y": [1.0], "z": [1.0]})
    recording = Argoverse2Recording(folder, RecordingId("log"))
    assert len(list(recording.sweeps())) == len(TIMES) - 1
    assert "column x: expected numbers, found string" in recording.damage[0].what


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("fuzz") / "log")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        ["annotations", "city_SE3_egovehicle", "calibration/intrinsics",
         "calibration/egovehicle_SE3_sensor", f"sensors/lidar/{TIMES[0]}"]
    ),
    st.integers(0, 10_000), st.binary(min_size=1, max_size=8), st.booleans(),
)  # fmt: skip
def test_only_our_errors_escape_from_damaged_files(
    log: Path, name: str, at: int, junk: bytes, cut: bool
) -> None:
    path = log / f"{name}.feather"
    whole = path.read_bytes()
    at %= len(whole)
    try:
        path.write_bytes(whole[:at] if cut else whole[:at] + junk + whole[at + len(junk) :])
        with contextlib.suppress(DataError):
            list(Argoverse2Recording(log, RecordingId("log")).sweeps())
    finally:
        path.write_bytes(whole)
