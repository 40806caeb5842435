from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.logs.decoders import Decoder, make_decoder
from recordings.logs.log_file import Channel, Schema
from recordings.logs.mcap import McapRecording
from recordings.logs.messages import (
    BoxesMessage,
    CameraMessage,
    CloudMessage,
    ImageMessage,
    PoseMessage,
    SignalMessage,
    TransformMessage,
)
from scene.box import Boxes, count_points
from scene.errors import FormatError
from scene.pose import SE3
from scene.recording import RecordingId
from tests.support.foxglove_writer import FoxgloveWriter, cloud, make, pose, transform, vector

START = 1_700_000_000_000_000_000
PERIOD = 100_000_000
NUM = 5
EGO_SE3_LIDAR = SE3.from_yaw(0.3, np.array([1.0, 0.0, 1.8]))
LIDAR_SE3_CLOUD = SE3.from_yaw(-1.1, np.array([0.1, -0.2, 0.3]))
COVARIANCE = [4.0, 0, 0, 0, 9.0, 0, 0, 0, 16.0]
ENCODINGS = ("protobuf", "json", "protojson")
# A gap, a column that nobody needs, an unaligned time and two bytes of padding.
POINT = np.dtype(
    {
        "names": ["x", "y", "z", "intensity", "ring", "time_offset", "rgb"],
        "formats": ["<f4", "<f4", "<f8", "u1", "<u2", "<u4", "<i2"],
        "offsets": [4, 8, 12, 20, 21, 23, 27],
        "itemsize": 31,
    }
)


def decoder(kind: str, encoding: str = "json", data: bytes = b"{}", topic: str = "/a") -> Decoder:
    return make_decoder(Channel(topic, Schema(f"foxglove.{kind}", "jsonschema", data), encoding))


def decode(kind: str, message: Any, topic: str = "/a") -> list[Any]:
    data = memoryview(json.dumps(message).encode())
    made = decoder(kind, topic=topic)
    return [*made.decode(data, START), *made.finish()]


def points(index: int, count: int = 400) -> np.ndarray:
    rng = np.random.default_rng(index)
    made = np.zeros(count, POINT)
    for name in "xyz":
        made[name] = rng.uniform(-20, 20, count)
    made["x"][7] = made["y"][7] = made["z"][7] = 0  # no return
    made["intensity"], made["ring"] = rng.integers(0, 256, count), rng.integers(0, 32, count)
    made["time_offset"] = np.arange(count) * (PERIOD // count)
    return made


def ego_pose(time_ns: int) -> SE3:
    along = 8.0 * (time_ns - START) / 1e9
    return SE3.from_yaw(0.5, np.array([100 + along * np.cos(0.5), -40 + along * np.sin(0.5), 0.2]))


def entity(time_ns: int, name: str, frame: str, at: SE3, size: list[float], category: str) -> Any:
    return make(
        "SceneEntity", time_ns, id=name, frame_id=frame,
        metadata=[make("KeyValuePair", key="category", value=category)],
        cubes=[make("CubePrimitive", pose=pose(at), size=vector(size))],
    )  # fmt: skip


def write_drive(path: Path, encoding: str) -> None:
    car, walker = [4.5, 1.9, 1.6], [0.7, 0.6, 1.8]
    with FoxgloveWriter(path, encoding) as writer:
        for i in range(NUM):
            time = START + i * PERIOD
            at = [transform(time, "map", "base_link", ego_pose(time))]
            at.append(transform(time, "base_link", "lidar", EGO_SE3_LIDAR))
            writer.write("/tf", make("FrameTransforms", transforms=at), time)
            writer.write("/lidar", cloud(time, "lidar", points(i), LIDAR_SE3_CLOUD), time)
            told = [
                entity(time, "a", "map", SE3.from_yaw(1.57, np.array([110, -35 + 0.3 * i, 0.9])),
                       car, "vehicle.car"),
                entity(time, "pedestrian_7", "base_link", SE3.from_yaw(0, np.array([5, 1, 0.9])),
                       walker, ""),
                entity(time, "bird", "map", SE3.identity(), walker, "animal"),
            ]  # fmt: skip
            writer.write("/labels", make("SceneUpdate", entities=told), time)
            fix = {"latitude": 48.1, "longitude": 11.5, "altitude": 500.0}
            fix |= {"position_covariance_type": 2, "position_covariance": COVARIANCE}
            writer.write("/gps", make("LocationFix", time, frame_id="gps", **fix), time)
            photo = make("CompressedImage", time, frame_id="cam", format="jpeg", data=b"\xff\xd8a")
            writer.write("/cam", photo, time)
            lens = make("CameraCalibration", time, frame_id="cam", width=64, height=48,
                        distortion_model="plumb_bob", D=[0.1] * 5, K=list(range(9)))  # fmt: skip
            writer.write("/cam_info", lens, time)
            writer.write("/log", make("Log", time, message="hello"), time)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_drive_reads_back(tmp_path: Path, encoding: str) -> None:
    write_drive(tmp_path / "a.mcap", encoding)
    recording = McapRecording([tmp_path / "a.mcap"], RecordingId("a"))
    assert recording.sensor == "lidar"
    assert recording.calibration.assumed == frozenset()
    np.testing.assert_allclose(recording.trajectory.at(START).translation_m, [100, -40, 0.2])
    sweeps = list(recording.sweeps())
    assert recording.damage == []
    assert [sweep.timestamp_ns for sweep in sweeps] == [START + i * PERIOD for i in range(NUM)]
    for i, sweep in enumerate(sweeps):
        raw = points(i)
        raw = raw[raw["x"] != 0]
        xyz = np.stack([raw[name] for name in "xyz"], axis=1).astype(np.float64)
        expected = EGO_SE3_LIDAR.transform_points(LIDAR_SE3_CLOUD.transform_points(xyz))
        np.testing.assert_allclose(sweep.points_ego_m, expected, atol=1e-5)
        np.testing.assert_array_equal(sweep.ring, raw["ring"])
        np.testing.assert_array_equal(sweep.offset_ns, raw["time_offset"])
        np.testing.assert_allclose(sweep.intensity, raw["intensity"] / 255, atol=1e-6)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_cuboids_of_two_frames_become_boxes(tmp_path: Path, encoding: str) -> None:
    write_drive(tmp_path / "a.mcap", encoding)
    truth = McapRecording([tmp_path / "a.mcap"], RecordingId("a")).ground_truth
    assert truth is not None
    assert sorted(truth) == [START + i * PERIOD for i in range(NUM)]
    for i in range(NUM):
        time = START + i * PERIOD
        boxes = truth[time].take(np.argsort(truth[time].category))
        assert boxes.category.tolist() == ["car", "pedestrian"]
        assert boxes.track_id.tolist() == ["a", "pedestrian_7"]
        # Proven by what lies inside: the car's corners, drawn in the map, are its box's corners.
        map_SE3_car = SE3.from_yaw(1.57, np.array([110, -35 + 0.3 * i, 0.9]))
        near = np.array([[x, y, 0] for x in (2.24, -2.24) for y in (0.94, -0.94)])
        far = near * 1.01
        to_ego = ego_pose(time).inverse() @ map_SE3_car
        corners = to_ego.transform_points(np.concatenate([near, far]))
        assert count_points(corners, boxes.take(np.array([0]))).num_points.tolist() == [4]
        np.testing.assert_allclose(boxes.center_xyz_m[1], [5, 1, 0.9])
        speed = boxes.velocity_xy_mps[0]
        np.testing.assert_allclose(np.linalg.norm(speed), 3.0, atol=1e-5)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_everything_else_is_kept_or_listed(tmp_path: Path, encoding: str) -> None:
    write_drive(tmp_path / "a.mcap", encoding)
    recording = McapRecording([tmp_path / "a.mcap"], RecordingId("a"))
    uses = {topic.name: topic.use for topic in recording.topics}
    assert uses.pop("/log") == "not used: no decoder for foxglove.Log"
    assert uses == {
        "/tf": "poses", "/lidar": "sweeps", "/labels": "boxes", "/gps": "signal",
        "/cam": "images", "/cam_info": "calibration",
    }  # fmt: skip
    (signal,) = recording.signals
    assert signal.kind == "gnss"
    np.testing.assert_allclose(signal.values, [[48.1, 11.5, 500.0, 2.0, 3.0, 4.0]] * NUM)
    images = list(recording.images())
    assert [(image.sensor, image.encoding, image.data) for image in images] == [
        ("cam", "jpeg", b"\xff\xd8a")
    ] * NUM
    lens = recording.calibration.cameras["cam"]
    assert (lens.width_px, lens.height_px, lens.matrix[1, 0]) == (64, 48, 3)


def test_other_encodings_are_listed() -> None:
    made = decoder("PointCloud", "flatbuffer")
    assert made.use == "not used: encoded as 'flatbuffer'; read is protobuf, json"
    assert list(made.decode(memoryview(b"\0" * 8), 0)) == []


STAMP = {"sec": 1_700_000_000, "nsec": 5}
TURN = {"w": 2.0, "x": 0, "y": 0, "z": 2.0}  # a quarter turn, not normalised


def test_poses() -> None:
    where = {"position": {"x": 1, "y": 2, "z": 3}, "orientation": TURN}
    stamped = {"timestamp": STAMP, "frame_id": "/map", "pose": where}
    half = 0.5**0.5
    expected = ("map", START + 5, pytest.approx((half, 0, 0, half, 1, 2, 3)))
    assert decode("PoseInFrame", stamped) == [expected]
    several = {"timestamp": STAMP, "frame_id": "map", "poses": [where, where]}
    assert decode("PosesInFrame", several) == []
    assert decode("PosesInFrame", several | {"poses": [where]}) == [expected]
    (found,) = decode("Odometry", stamped | {"body_frame_id": "base_link"})
    assert found[:3] == ("map", "base_link", START + 5)
    edge = {"parent_frame_id": "a", "child_frame_id": "b", "timestamp": STAMP}
    (found,) = decode("FrameTransform", edge, topic="/tf_static")
    assert found == TransformMessage("a", "b", START + 5, (1, 0, 0, 0, 0, 0, 0), True)


def test_signals_images_and_lenses() -> None:
    fix = {"latitude": 1.5, "longitude": 2.5, "altitude": 3, "position_covariance": [1] * 9}
    (found,) = decode("LocationFix", fix)
    assert isinstance(found, SignalMessage)
    np.testing.assert_array_equal(found.values, (1.5, 2.5, 3, np.nan, np.nan, np.nan))
    joints = [{"name": "hip", "position": 0.5}, {"name": "knee", "position": -1}]
    (found,) = decode("JointStates", {"timestamp": STAMP, "joints": joints})
    assert found[2:] == (("hip_position", "knee_position"), START + 5, (0.5, -1.0))
    with pytest.raises(FormatError, match=r"two joints.*'hip_position'"):
        decode("JointStates", {"timestamp": STAMP, "joints": [joints[0], joints[0]]})
    video = {"timestamp": STAMP, "frame_id": "cam", "format": "h264", "data": "AAAB"}
    assert decode("CompressedVideo", video) == [ImageMessage("cam", START + 5, "h264", b"\0\0\1")]
    lens = {"frame_id": "c", "width": 4, "height": 2, "distortion_model": "kannala_brandt"}
    (found,) = decode("CameraCalibration", lens | {"K": [1] * 9, "D": [0, 0, 0, 0]})
    assert isinstance(found, CameraMessage)
    assert found.intrinsics.model == "equidistant"


def scene(time_ns: int, *names: str, delete: tuple[str, ...] = (), **fields: Any) -> Any:
    stamp = {"sec": time_ns // 10**9, "nsec": time_ns % 10**9}
    cube = {"pose": {"position": {"x": 1}}, "size": {"x": 4, "y": 2, "z": 1}}
    entities = [
        {"timestamp": stamp, "frame_id": "map", "id": name, "cubes": [cube]} | fields
        for name in names
    ]
    gone = [{"timestamp": stamp, "type": 1 if name == "*" else 0, "id": name} for name in delete]
    return {"entities": entities, "deletions": gone}


def living(*messages: Any) -> list[tuple[int, list[str]]]:
    made, found = decoder("SceneUpdate"), []
    for message in messages:
        found += list(made.decode(memoryview(json.dumps(message).encode()), START))
    found += made.finish()
    assert all(isinstance(item, BoxesMessage) for item in found)
    return [(item.stamp_ns - START, sorted(item.boxes.track_id.tolist())) for item in found]


def test_a_writer_that_never_deletes_tells_everything_each_time() -> None:
    told = living(scene(START, "car_1", "car_2"), scene(START + 1, "car_2"))
    assert told == [(0, ["car_1", "car_2"]), (1, ["car_2"])]


def test_entities_stay_until_they_are_deleted_or_their_lifetime_is_over() -> None:
    told = living(
        scene(START, "car_1", "car_2", "car_3", delete=("car_9",)),
        scene(START, "car_4", lifetime={"sec": 0, "nsec": 1}),  # of the same instant
        scene(START + 1, "car_5", delete=("car_2",)),
        scene(START + 2, "car_5"),
        scene(START + 3, "car_6", delete=("*",)),
    )
    assert told == [
        (0, ["car_1", "car_2", "car_3", "car_4"]),
        (1, ["car_1", "car_3", "car_4", "car_5"]),
        (2, ["car_1", "car_3", "car_5"]),
        (3, ["car_6"]),
    ]


def test_what_is_in_a_moving_frame_does_not_hold_on_unless_locked_to_it() -> None:
    parts = (scene(START + 1, "car_5"), scene(START + 2, "car_5"))
    loose = living(scene(START, "car_1", delete=("x",), frame_id="base_link"), *parts)
    assert [names for _, names in loose] == [["car_1"], ["car_5"], ["car_5"]]
    fields = {"frame_id": "base_link", "frame_locked": True}
    locked = living(scene(START, "car_1", delete=("x",), **fields), *parts)
    assert [names for time, names in locked if time == 2] == [["car_1"], ["car_5"]]


def test_categories_come_from_metadata_then_from_the_id() -> None:
    def category(name: str, *pairs: tuple[str, str]) -> list[str]:
        metadata = [{"key": key, "value": value} for key, value in pairs]
        found = decode("SceneUpdate", scene(START, name, metadata=metadata))
        return [str(value) for item in found for value in item.boxes.category]

    assert category("truck_3") == ["truck"]
    assert category("objects/vehicle.car#12") == ["car"]
    assert category("pedestrian") == ["pedestrian"]
    assert category("car_1", ("Class", "bus")) == ["bus"]
    assert category("x", ("label", "nothing of ours"), ("type", "REGULAR_VEHICLE")) == ["car"]
    assert category("12") == []


def test_cubes_of_one_entity_are_objects_without_tracks() -> None:
    message = scene(START, "car")
    message["entities"][0]["cubes"] *= 2
    (found,) = decode("SceneUpdate", message)
    assert found.boxes.track_id.tolist() == ["", ""]
    np.testing.assert_allclose(found.boxes.size_lwh_m, [[4, 2, 1]] * 2)


def test_markers_that_are_no_objects_label_nothing() -> None:
    assert living(scene(START, "lane", cubes=[]), scene(START + 1, "me")) == []


CLOUD = {
    "timestamp": STAMP, "frame_id": "lidar", "point_stride": 12,
    "fields": [{"name": name, "offset": 4 * i, "type": 7} for i, name in enumerate("xyz")],
    "data": base64.b64encode(np.arange(6, dtype="<f4").tobytes()).decode(),
}  # fmt: skip


def read_cloud(**changes: Any) -> np.ndarray:
    (found,) = decode("PointCloud", CLOUD | changes)
    assert isinstance(found, CloudMessage)
    return found.read().xyz_m


def test_a_cloud_whose_layout_lies_is_refused() -> None:
    np.testing.assert_array_equal(read_cloud(), np.arange(6).reshape(2, 3))
    assert read_cloud(data="").shape == (0, 3)
    for changes, reason in (
        ({"point_stride": 8}, "ends at byte 12 of 8"),
        ({"point_stride": 0}, "ends at byte 4 of 0"),
        ({"point_stride": 13}, "13 a point do not divide"),
        ({"fields": CLOUD["fields"][:2]}, "without x, y, z; its fields: x, y"),
        ({"fields": [{"name": "x", "type": 9}]}, "unknown type 9"),
        ({"fields": [{"name": "x", "type": "FLOAT128"}]}, "no number but 'FLOAT128'"),
        ({"data": "AAA"}, "not base64"),
        ({"data": 7}, "not base64"),
        ({"pose": {"position": {"x": float("nan")}}}, "not finite"),
        ({"pose": 3}, "no JSON object but 3"),
    ):
        with pytest.raises(FormatError, match=reason):
            read_cloud(**changes)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "not JSON"),
        (b"[1]", "no JSON object"),
        (b"[" * 100_000, "not JSON"),
        (b'{"timestamp": {"sec": 1e300}}', "beyond all clocks"),
        (b'{"timestamp": "yesterday"}', "no time but 'yesterday'"),
        (b'{"timestamp": "2023-99-14T22:13:20Z"}', "no time"),
        (b'{"frame_id": 3}', "no text but 3"),
        (b'{"pose": {"position": {"x": "1"}}}', "no number but '1'"),
    ],
)
def test_broken_json_is_refused(message: bytes, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        list(decoder("PoseInFrame").decode(memoryview(message), 0))


def test_times_as_text() -> None:
    for text, time_ns in (
        ("2023-11-14T22:13:20.123456789Z", START + 123_456_789),
        ("2023-11-14T23:13:20+01:00", START),
        ("1700000000.5s", START + 500_000_000),
    ):
        (found,) = decode("PoseInFrame", {"timestamp": text})
        assert found.stamp_ns == time_ns


KINDS = (
    "PointCloud", "FrameTransform", "FrameTransforms", "SceneUpdate", "PoseInFrame",
    "PosesInFrame", "Odometry", "LocationFix", "JointStates", "CameraCalibration",
    "CompressedImage", "CompressedVideo",
)  # fmt: skip
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["timestamp", "sec", "nsec", "frame_id", "pose", "position", "orientation", "x", "w",
             "entities", "cubes", "size", "id", "metadata", "key", "value", "deletions", "type",
             "lifetime", "transforms", "poses", "fields", "name", "offset", "point_stride",
             "data", "K", "D", "width", "joints", "position_covariance"]
        ),
        inner, max_size=6,
    ),
    max_leaves=25,
)  # fmt: skip


@pytest.mark.slow
@given(st.sampled_from(KINDS), VALUE)
@settings(max_examples=100, deadline=None)
def test_any_json_is_read_or_refused(kind: str, value: Any) -> None:
    with contextlib.suppress(FormatError):
        consume(decode(kind, value))


@given(st.sampled_from(KINDS), st.binary(max_size=80), st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_flipped_protobuf_is_read_or_refused(kind: str, noise: bytes, at: int) -> None:
    made = make(kind) if kind in ("SceneUpdate", "FrameTransforms") else make(kind, START)
    if kind == "PointCloud":
        made = cloud(START, "lidar", points(0, 9), LIDAR_SE3_CLOUD)
    if kind == "SceneUpdate":
        made.entities.append(entity(START, "car", "map", SE3.identity(), [1, 2, 3], "car"))
    good = made.SerializeToString()
    cut = at % (len(good) + 1)
    channel = Channel("/a", Schema(f"foxglove.{kind}", "protobuf", _definition(made)), "protobuf")
    decoder = make_decoder(channel)
    try:
        consume([*decoder.decode(memoryview(good[:cut] + noise + good[cut:]), 0)])
        consume(list(decoder.finish()))
    except FormatError:
        pass


@given(st.binary(max_size=60), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_a_broken_definition_is_refused(noise: bytes, at: int) -> None:
    good = _definition(make("PoseInFrame"))
    cut = at % (len(good) + 1)
    schema = Schema("foxglove.PoseInFrame", "protobuf", good[:cut] + noise)
    try:
        made = make_decoder(Channel("/a", schema, "protobuf"))
        consume(list(made.decode(memoryview(b""), 0)))
    except FormatError:
        pass


def test_definitions_in_any_order_and_without_googles_own_files() -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    files = FileDescriptorSet.FromString(_definition(make("PoseInFrame"))).file
    own = [file for file in files if not file.name.startswith("google/")]
    for some in (own, own[::-1]):
        data = FileDescriptorSet(file=some).SerializeToString()
        made = make_decoder(Channel("/a", Schema("foxglove.PoseInFrame", "", data), "protobuf"))
        sent = make("PoseInFrame", START, frame_id="map").SerializeToString()
        (found,) = made.decode(memoryview(sent), 0)
        assert isinstance(found, PoseMessage)
        assert found.stamp_ns == START


def _definition(message: Any) -> bytes:
    schema = pytest.importorskip("mcap_protobuf.schema", reason="pip install -e '.[oracle]'")
    return schema.build_file_descriptor_set(type(message)).SerializeToString()


def consume(found: list[Any]) -> None:
    for item in found:
        if isinstance(item, CloudMessage):
            assert len(item.read().xyz_m) >= 0
        if isinstance(item, BoxesMessage):
            assert isinstance(item.boxes, Boxes)
