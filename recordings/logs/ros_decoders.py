"""Decoders of ROS messages, one function a kind; see `recordings.logs.decoders`."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from recordings.geometry.points import RawPoints
from recordings.logs import pointcloud2
from recordings.logs.batches import BatchReader
from recordings.logs.decoders import Decoder
from recordings.logs.log_file import Channel
from recordings.logs.messages import (
    BoxesMessage,
    CameraMessage,
    CloudMessage,
    ImageMessage,
    LogMessage,
    PoseMessage,
    SignalMessage,
    TransformMessage,
)
from recordings.logs.ros_bytes import Cursor, header_of
from recordings.logs.ros_messages import (
    boxes_of,
    definitions,
    deserializer,
    frame_name,
    pose_values,
    stamp_ns,
)
from scene.calibration import Intrinsics
from scene.errors import FormatError

_XYZ: Final = ("x", "y", "z")
_IMU_FIELDS: Final = (
    *(f"orientation_{axis}" for axis in ("w", "x", "y", "z")),
    *(f"angular_velocity_{axis}_radps" for axis in _XYZ),
    *(f"linear_acceleration_{axis}_mps2" for axis in _XYZ),
)
_GNSS_FIELDS: Final = (
    "latitude_deg", "longitude_deg", "altitude_m", "status", "east_std_m", "north_std_m",
    "up_std_m",
)  # fmt: skip
_IMAGE_MAGIC: Final = ((b"\xff\xd8\xff", "jpeg"), (b"\x89PNG", "png"), (b"RIFF", "webp"))
_UNNAMED_WORLD: Final = "map"


def point_cloud(channel: Channel) -> Decoder:
    """PointCloud2: stamp and frame at once, the points when they are asked for."""
    encoding = channel.encoding

    def decode(data: memoryview, _log_time_ns: int) -> tuple[LogMessage]:
        stamp, frame = header_of(data, encoding)
        return (CloudMessage(stamp, frame, len(data), partial(_points, data, encoding)),)

    return Decoder("sweeps", decode)


def _points(data: memoryview, encoding: str) -> RawPoints:
    return pointcloud2.columns(pointcloud2.parse(data, encoding))


def transforms(channel: Channel) -> Decoder:
    """TFMessage; those of a topic `tf_static` hold for ever."""
    static = channel.topic.endswith("tf_static")

    def convert(message: Any) -> list[LogMessage]:
        return [_transform(item, static) for item in message.transforms]

    return _decoder(channel, "poses", convert, None if static else convert, one_layout=False)


def transform(channel: Channel) -> Decoder:
    """TransformStamped by itself, as motion capture systems publish it."""
    return _decoder(channel, "poses", lambda message: (_transform(message, static=False),))


def _transform(item: Any, static: bool) -> TransformMessage:
    header = item.header
    return TransformMessage(
        frame_name(header.frame_id), frame_name(item.child_frame_id), stamp_ns(header),
        pose_values(item.transform), static,
    )  # fmt: skip


def pose(channel: Channel) -> Decoder:
    """Odometry, PoseStamped and PoseWithCovarianceStamped."""

    def convert(message: Any) -> tuple[LogMessage]:
        stamp, frame = stamp_ns(message.header), frame_name(message.header.frame_id)
        where = pose_values(getattr(message.pose, "pose", message.pose))
        child = frame_name(getattr(message, "child_frame_id", ""))
        if child:
            return (TransformMessage(frame, child, stamp, where, False),)
        return (PoseMessage(frame, stamp, where),)

    return _decoder(channel, "poses", convert, convert)


def bare_pose(channel: Channel) -> Decoder:
    """Pose and PoseWithCovariance without a header: the log's time, in an unnamed world."""

    def convert(message: Any) -> tuple[LogMessage]:
        return (PoseMessage(_UNNAMED_WORLD, 0, pose_values(getattr(message, "pose", message))),)

    return _decoder(channel, "poses", convert)


def detections(channel: Channel) -> Decoder:
    """Detection3DArray."""

    def convert(message: Any) -> tuple[LogMessage]:
        frame = frame_name(message.header.frame_id)
        return (BoxesMessage(frame, stamp_ns(message.header), boxes_of(message)),)

    return _decoder(channel, "boxes", convert)


def imu(channel: Channel) -> Decoder:
    """Imu; what a covariance of -1 declares unknown becomes NaN."""

    def convert(known: Any, message: Any) -> tuple[LogMessage]:
        turn, rate, force = (
            message.orientation, message.angular_velocity, message.linear_acceleration,
        )  # fmt: skip
        values = (
            *known(message.orientation_covariance, turn.w, turn.x, turn.y, turn.z),
            *known(message.angular_velocity_covariance, rate.x, rate.y, rate.z),
            *known(message.linear_acceleration_covariance, force.x, force.y, force.z),
        )
        return (_signal("imu", message.header, _IMU_FIELDS, values),)

    return _decoder(channel, "signal", partial(convert, _known), partial(convert, _all_known))


def _known(covariance: Any, *values: float) -> tuple[float, ...]:
    return (np.nan,) * len(values) if covariance[0] == -1 else values


def _all_known(covariance: Any, *values: Any) -> list[Any]:
    """Do what `_known` does for (K,) messages at once."""
    unknown = covariance[:, 0] == -1
    return [np.where(unknown, np.nan, value) for value in values] if unknown.any() else [*values]


def gnss(channel: Channel) -> Decoder:
    """NavSatFix; without a fix the place is NaN, without a covariance its deviations are."""

    def convert(message: Any) -> tuple[LogMessage]:
        status = float(message.status.status)
        place = (message.latitude, message.longitude, message.altitude)
        if message.position_covariance_type:
            variances = [float(message.position_covariance[i]) for i in (0, 4, 8)]
            deviations = tuple(v**0.5 if v >= 0 else np.nan for v in variances)
        else:
            deviations = (np.nan,) * 3
        values = (*(place if status >= 0 else (np.nan,) * 3), status, *deviations)
        return (_signal("gnss", message.header, _GNSS_FIELDS, values),)

    def convert_all(message: Any) -> tuple[LogMessage]:
        status = message.status.status.astype(np.float64)
        place = (message.latitude, message.longitude, message.altitude)
        told = message.position_covariance_type != 0
        variances = [message.position_covariance[:, i] for i in (0, 4, 8)]
        with np.errstate(invalid="ignore"):
            deviations = [np.where(told & (v >= 0), np.sqrt(v), np.nan) for v in variances]
        fixed = [np.where(status >= 0, value, np.nan) for value in place]
        return (_signal("gnss", message.header, _GNSS_FIELDS, (*fixed, status, *deviations)),)

    return _decoder(channel, "signal", convert, convert_all)


def camera(channel: Channel) -> Decoder:
    """CameraInfo of ROS 1 (D, K) and ROS 2 (d, k)."""

    def convert(message: Any) -> tuple[LogMessage]:
        matrix = np.array(message.k if hasattr(message, "k") else message.K, dtype=np.float64)
        distortion = np.array(message.d if hasattr(message, "d") else message.D, dtype=np.float64)
        intrinsics = Intrinsics(
            int(message.width), int(message.height), matrix.reshape(3, 3), distortion,
            message.distortion_model or "plumb_bob",
        )  # fmt: skip
        return (CameraMessage(frame_name(message.header.frame_id), intrinsics),)

    return _decoder(channel, "calibration", convert)


def image(channel: Channel) -> Decoder:
    """CompressedImage, kept as the bytes that the camera wrote."""

    def decode(data: memoryview, _log_time_ns: int) -> tuple[LogMessage]:
        try:
            cursor = Cursor(data, channel.encoding)
            stamp, frame = cursor.header()
            named, packed = cursor.text(), bytes(cursor.raw())
        except (struct.error, IndexError) as error:
            raise FormatError(f"image message of {len(data)} bytes is cut short") from error
        return (ImageMessage(frame, stamp, _image_encoding(named, packed), packed),)

    return Decoder("images", decode)


def _image_encoding(named: str, packed: bytes) -> str:
    """Return what the bytes say, else what the format text says ("rgb8; jpeg compressed bgr8")."""
    for magic, encoding in _IMAGE_MAGIC:
        if packed.startswith(magic):
            return encoding
    words = named.replace(";", " ").split()
    return next((word for word in words[1:] if "compressed" in word), words[0] if words else "")


def _signal(
    kind: Any, header: Any, fields: tuple[str, ...], values: tuple[Any, ...]
) -> SignalMessage:
    return SignalMessage(kind, frame_name(header.frame_id), fields, stamp_ns(header), values)


def _decoder(
    channel: Channel,
    use: str,
    convert: Callable[[Any], Sequence[LogMessage]],
    convert_all: Callable[[Any], Sequence[LogMessage]] | None = None,
    *,
    one_layout: bool = True,
) -> Decoder:
    """Return a decoder that converts the deserialised messages.

    Args:
        channel: whose.
        use: see `Decoder`.
        convert: from a message to what it means.
        convert_all: the same for many messages, whose numbers are arrays; None if there is none.
        one_layout: see `BatchReader`.
    """
    read = deserializer(channel)

    def decode(data: memoryview, _log_time_ns: int) -> Sequence[LogMessage]:
        message = read(data)
        try:
            return convert(message)
        except (AttributeError, TypeError, ValueError, IndexError) as error:
            what = f"{channel.type_name}, as the file defines it, is not the usual one: {error}"
            raise FormatError(what) from error

    if convert_all is None or channel.encoding != "cdr":
        return Decoder(use, decode)
    types = definitions(channel)
    reader = BatchReader(types, channel.type_name, convert_all, one_layout=one_layout)
    return Decoder(use, decode, batches=reader)
