"""Decoders of Foxglove's schemas in protobuf and JSON, one function a kind.

See `recordings.logs.decoders`. Schemas: docs.foxglove.dev/docs/visualization/message-schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import numpy as np

from recordings.geometry.points import RawPoints
from recordings.logs import pointcloud2
from recordings.logs.decoders import Decoder
from recordings.logs.foxglove_nodes import Node, node_reader
from recordings.logs.log_file import Channel
from recordings.logs.messages import (
    CameraMessage,
    CloudMessage,
    ImageMessage,
    LogMessage,
    Pose,
    PoseMessage,
    SignalMessage,
    TransformMessage,
)
from recordings.logs.ros_messages import frame_name
from scene.calibration import Intrinsics
from scene.errors import FormatError
from scene.pose import SE3
from scene.types import Float32

_NUMERIC: Final = (
    "UNKNOWN", "UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "FLOAT32", "FLOAT64",
)  # fmt: skip
_KINDS: Final = ("", "u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8")
_MAX_FIELDS: Final = 256
_GNSS_FIELDS: Final = (
    "latitude_deg", "longitude_deg", "altitude_m", "east_std_m", "north_std_m", "up_std_m",
)  # fmt: skip
# Names that mean one of the models of `Intrinsics`.
_LENS_MODELS: Final = {"kannala_brandt": "equidistant", "fisheye": "equidistant"}


def point_cloud(channel: Channel) -> Decoder:
    """PointCloud: packed fields of any type, stride and offset, placed by the cloud's own pose."""

    def convert(node: Node, num_bytes: int) -> tuple[LogMessage]:
        read = partial(_points, node)
        return (CloudMessage(node.time_ns("timestamp"), _frame(node), num_bytes, read),)

    return _decoder(channel, "sweeps", convert)


def _points(node: Node) -> RawPoints:
    """Return the columns of a PointCloud.

    Raises:
        FormatError: if the layout contradicts itself or there are no x, y and z.
    """
    data, stride = node.blob("data"), node.integer("point_stride")
    fields = [_field(field, stride) for field in node.children("fields")[:_MAX_FIELDS]]
    names = [field.name for field in fields]
    if not {"x", "y", "z"} <= set(names):
        raise FormatError(f"PointCloud without x, y, z; its fields: {', '.join(names) or 'none'}")
    count, rest = divmod(len(data), max(stride, 1))
    if rest:
        raise FormatError(f"PointCloud of {len(data)} bytes, which {stride} a point do not divide")
    layout = pointcloud2.Cloud(
        0, "", tuple(fields), memoryview(data), (1, count), (len(data), stride), "<"
    )
    raw = pointcloud2.columns(layout)
    return raw._replace(xyz_m=_placed(raw.xyz_m, pose_of(node.child("pose"))))


def _field(node: Node, stride: int) -> pointcloud2.Field:
    name, offset = node.text("name"), node.integer("offset")
    kind = node.choice("type", _NUMERIC)
    if not 0 < kind < len(_KINDS):
        raise FormatError(f"PointCloud field {name!r} has unknown type {kind}")
    end = offset + np.dtype(_KINDS[kind]).itemsize
    if offset < 0 or end > stride:
        raise FormatError(f"PointCloud field {name!r} ends at byte {end} of {stride} a point")
    return pointcloud2.Field(name, offset, _KINDS[kind], 1)


def _placed(xyz_m: Float32, pose: Pose) -> Float32:
    """Return (N, 3) points in the message's frame; exact zeros, which are no returns, become NaN.

    Otherwise a pose with a translation would make returns of them.
    """
    if pose == (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0):
        return xyz_m
    if not np.isfinite(pose).all():
        raise FormatError("the pose of the PointCloud is not finite")
    frame_SE3_cloud = SE3.from_quaternion(np.array(pose[:4]), np.array(pose[4:]))
    placed = frame_SE3_cloud.transform_points(xyz_m).astype(np.float32)
    placed[~xyz_m.any(axis=1)] = np.nan
    return placed


def pose_of(node: Node) -> Pose:
    """Return a Pose; a quaternion without length, which is one that was not set, turns nothing."""
    return _joined(node.child("position"), node.child("orientation"))


def _joined(where: Node, turn: Node) -> Pose:
    w, x, y, z = (turn.number(axis) for axis in "wxyz")
    place = (where.number("x"), where.number("y"), where.number("z"))
    norm = (w * w + x * x + y * y + z * z) ** 0.5
    if norm == 0:
        return (1.0, 0.0, 0.0, 0.0, *place)
    return (w / norm, x / norm, y / norm, z / norm, *place)


def frame_transform(channel: Channel) -> Decoder:
    """FrameTransform; those of a topic `tf_static` hold for ever."""
    static = channel.topic.endswith("tf_static")
    return _decoder(channel, "poses", lambda node, _size: (_transform(node, static),))


def frame_transforms(channel: Channel) -> Decoder:
    """FrameTransforms."""
    static = channel.topic.endswith("tf_static")

    def convert(node: Node, _size: int) -> list[LogMessage]:
        return [_transform(item, static) for item in node.children("transforms")]

    return _decoder(channel, "poses", convert)


def _transform(node: Node, static: bool) -> TransformMessage:
    return TransformMessage(
        frame_name(node.text("parent_frame_id")), frame_name(node.text("child_frame_id")),
        node.time_ns("timestamp"), _joined(node.child("translation"), node.child("rotation")),
        static,
    )  # fmt: skip


def pose_in_frame(channel: Channel) -> Decoder:
    """PoseInFrame."""

    def convert(node: Node, _size: int) -> tuple[LogMessage]:
        where = pose_of(node.child("pose"))
        return (PoseMessage(_frame(node), node.time_ns("timestamp"), where),)

    return _decoder(channel, "poses", convert)


def poses_in_frame(channel: Channel) -> Decoder:
    """PosesInFrame of one pose; several share one time, a plan for instance, and tell no motion."""

    def convert(node: Node, _size: int) -> tuple[LogMessage, ...]:
        poses = node.children("poses")
        if len(poses) != 1:
            return ()
        return (PoseMessage(_frame(node), node.time_ns("timestamp"), pose_of(poses[0])),)

    return _decoder(channel, "poses", convert)


def odometry(channel: Channel) -> Decoder:
    """Odometry: the pose of a named body."""

    def convert(node: Node, _size: int) -> tuple[LogMessage]:
        stamp, where = node.time_ns("timestamp"), pose_of(node.child("pose"))
        body = frame_name(node.text("body_frame_id"))
        if body:
            return (TransformMessage(_frame(node), body, stamp, where, False),)
        return (PoseMessage(_frame(node), stamp, where),)

    return _decoder(channel, "poses", convert)


def location_fix(channel: Channel) -> Decoder:
    """LocationFix; without a covariance the deviations are NaN."""

    def convert(node: Node, _size: int) -> tuple[LogMessage]:
        place = (node.number("latitude"), node.number("longitude"), node.number("altitude"))
        variances = node.numbers("position_covariance")[::4]
        names = ("UNKNOWN", "APPROXIMATED", "DIAGONAL_KNOWN", "KNOWN")
        known = node.choice("position_covariance_type", names) and len(variances) == 3
        deviations = [v**0.5 if known and v >= 0 else np.nan for v in variances or (0.0,) * 3]
        values = (*place, *(deviations if len(deviations) == 3 else (np.nan,) * 3))
        stamp = node.time_ns("timestamp")
        return (SignalMessage("gnss", _frame(node), _GNSS_FIELDS, stamp, values),)

    return _decoder(channel, "signal", convert)


def joint_states(channel: Channel) -> Decoder:
    """JointStates: positions of the joints that the first message names."""
    fields: list[str] = []

    def convert(node: Node, _size: int) -> tuple[LogMessage]:
        joints = node.children("joints")
        names = [f"{joint.text('name')}_position" for joint in joints]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise FormatError(f"two joints of one message have the field {twice!r}")
        fields[:] = fields or names
        if names != fields:
            raise FormatError(f"joints {names[:8]}, but the topic began with {fields[:8]}")
        values = tuple(joint.number("position") for joint in joints)
        stamp = node.time_ns("timestamp")
        return (SignalMessage("state", "", tuple(fields), stamp, values),)

    return _decoder(channel, "signal", convert)


def camera_calibration(channel: Channel) -> Decoder:
    """CameraCalibration."""

    def convert(node: Node, _size: int) -> tuple[LogMessage]:
        matrix = np.array(node.numbers("K"), dtype=np.float64)
        if matrix.shape != (9,):
            raise FormatError(f"CameraCalibration: K has {len(matrix)} numbers instead of 9")
        model = node.text("distortion_model")
        intrinsics = Intrinsics(
            node.integer("width"), node.integer("height"), matrix.reshape(3, 3),
            np.array(node.numbers("D"), dtype=np.float64),
            _LENS_MODELS.get(model, model) or "plumb_bob",
        )  # fmt: skip
        return (CameraMessage(_frame(node), intrinsics),)

    return _decoder(channel, "calibration", convert)


def image(channel: Channel) -> Decoder:
    """CompressedImage and CompressedVideo, kept as the bytes that the camera or encoder wrote."""

    def convert(node: Node, _size: int) -> tuple[LogMessage]:
        encoding = node.text("format").lower()
        encoding = "jpeg" if encoding == "jpg" else encoding
        stamp = node.time_ns("timestamp")
        return (ImageMessage(_frame(node), stamp, encoding, node.blob("data")),)

    return _decoder(channel, "images", convert)


def _frame(node: Node) -> str:
    return frame_name(node.text("frame_id"))


def _decoder(
    channel: Channel, use: str, convert: Callable[[Node, int], Iterable[LogMessage]]
) -> Decoder:
    """Return a decoder that converts the parsed messages, given with their size in bytes."""
    read = node_reader(channel)

    def decode(data: memoryview, _log_time_ns: int) -> Iterable[LogMessage]:
        return convert(read(data), len(data))

    return Decoder(use, decode)
