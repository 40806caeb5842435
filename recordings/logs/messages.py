"""What the messages of a robot's log mean, whatever container and encoding they came in.

A decoder (ROS 2 CDR, ROS 1, Foxglove protobuf or JSON, lidar packets) turns one message of a log
into these; `logs.log` puts them together into a `Recording`. Times are nanoseconds since the
epoch, poses are (qw, qx, qy, qz, x, y, z), frames have no leading slash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from recordings.geometry.points import RawPoints
from scene.box import Boxes
from scene.calibration import Intrinsics
from scene.signal import SignalKind

Pose = tuple[float, float, float, float, float, float, float]


class CloudMessage(NamedTuple):
    """Points of a lidar: a whole revolution or a part of one.

    Attributes:
        stamp_ns: header stamp; 0 where the message has none.
        frame: frame the points are in.
        num_bytes: size, to tell the main lidar from lesser ones.
        read: gives the columns; raises FormatError if they cannot be decoded.
    """

    stamp_ns: int
    frame: str
    num_bytes: int
    read: Callable[[], RawPoints]


class TransformMessage(NamedTuple):
    """`parent_SE3_child` at one time, or for ever."""

    parent: str
    child: str
    stamp_ns: int
    pose: Pose
    static: bool


class PoseMessage(NamedTuple):
    """A pose in `frame` of something unnamed, usually the vehicle."""

    frame: str
    stamp_ns: int
    pose: Pose


class BoxesMessage(NamedTuple):
    """Cuboids of one instant, in `frame`."""

    frame: str
    stamp_ns: int
    boxes: Boxes


class SignalMessage(NamedTuple):
    """One row of a `scene.signal.Signal`; kind, frame and fields never change in a topic."""

    kind: SignalKind
    frame: str
    fields: tuple[str, ...]
    stamp_ns: int
    values: tuple[float, ...]


class ImageMessage(NamedTuple):
    """One compressed image."""

    frame: str
    stamp_ns: int
    encoding: str
    data: bytes


class CameraMessage(NamedTuple):
    """Intrinsics of the camera whose frame is `frame`."""

    frame: str
    intrinsics: Intrinsics


LogMessage = (
    CloudMessage
    | TransformMessage
    | PoseMessage
    | BoxesMessage
    | SignalMessage
    | ImageMessage
    | CameraMessage
)
