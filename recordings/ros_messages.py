"""ROS 2 messages decoded by the definitions that the recording itself carries."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from recordings.mcap_file import Schema
from scene.box import Boxes
from scene.errors import FormatError
from scene.taxonomy import to_category

POINT_CLOUD: Final = "sensor_msgs/msg/PointCloud2"
TRANSFORMS: Final = "tf2_msgs/msg/TFMessage"
ODOMETRY: Final = "nav_msgs/msg/Odometry"
POSE: Final = "geometry_msgs/msg/PoseStamped"
POSE_WITH_COVARIANCE: Final = "geometry_msgs/msg/PoseWithCovarianceStamped"
DETECTIONS: Final = "vision_msgs/msg/Detection3DArray"


class Decoder:
    """Turns CDR bytes into message objects; one type store a schema, so that schemas may differ."""

    def __init__(self) -> None:
        self._stores: dict[tuple[str, bytes], Any] = {}

    def decode(self, schema: Schema, data: memoryview) -> Any:
        """Return the message.

        Raises:
            FormatError: if the definition or the bytes cannot be understood.
        """
        key = (schema.name, schema.data)
        if key not in self._stores:
            self._stores[key] = _store(schema)
        try:
            return self._stores[key].deserialize_cdr(data, schema.name)
        except (KeyError, ValueError, IndexError, AssertionError, TypeError) as error:
            raise FormatError(f"{schema.name} of {len(data)} bytes cannot be decoded") from error
        except Exception as error:
            # rosbags raises struct.error and its own bare Exception types out of generated code.
            raise FormatError(f"{schema.name}: {type(error).__name__}: {error}") from error


def _store(schema: Schema) -> Any:
    from rosbags.typesys import (
        Stores,
        TypesysError,
        get_types_from_idl,
        get_types_from_msg,
        get_typestore,
    )  # fmt: skip

    text = schema.data.decode("utf-8", "replace")
    base = get_typestore(Stores.ROS2_HUMBLE)
    if not text.strip():
        if schema.name not in base.fielddefs:
            raise FormatError(f"{schema.name}: the file carries no definition and none is built in")
        return base
    try:
        if schema.encoding == "ros2idl":
            types = get_types_from_idl(text)
        else:
            types = get_types_from_msg(text, schema.name)
        store = get_typestore(Stores.EMPTY)
        builtin = {name: fields for name, fields in base.fielddefs.items() if name not in types}
        store.register({**builtin, **types})
    except (TypesysError, SyntaxError) as error:
        raise FormatError(f"{schema.name}: definition in the file is not readable") from error
    return store


def stamp_ns(header: Any) -> int:
    """Return the stamp of a std_msgs/Header in nanoseconds."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def frame_name(text: str) -> str:
    """Return a frame name without the leading slash of ROS 1."""
    return text.lstrip("/")


def pose_values(pose: Any) -> tuple[float, ...]:
    """Return (qw, qx, qy, qz, x, y, z) of a geometry_msgs Pose or Transform."""
    where = pose.position if hasattr(pose, "position") else pose.translation
    turn = pose.orientation if hasattr(pose, "orientation") else pose.rotation
    return (turn.w, turn.x, turn.y, turn.z, where.x, where.y, where.z)


def boxes_of(message: Any) -> Boxes:
    """Return the boxes of a Detection3DArray in its own frame; other objects are left out.

    `bbox.size` is x = length, y = width, z = height; the id is the track; the category is that of
    the result with the best score. Understands vision_msgs 4 (`hypothesis.class_id`) and older.
    """
    rows, names, tracks = [], [], []
    for detection in message.detections:
        category = to_category(_class_of(detection))
        if category is None:
            continue
        center, size = detection.bbox.center, detection.bbox.size
        rows.append((*pose_values(center), size.x, size.y, size.z))
        names.append(category)
        tracks.append(str(getattr(detection, "id", "") or getattr(detection, "tracking_id", "")))
    if not rows:
        return Boxes.empty()
    values = np.array(rows, dtype=np.float64)
    w, x, y, z = values[:, :4].T
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return Boxes.make(values[:, 4:7], values[:, 7:10], yaw, names, track_id=tracks)


def _class_of(detection: Any) -> str:
    """Return the class name with the best score, empty if there is none."""
    best, name = -np.inf, ""
    for result in detection.results:
        hypothesis = getattr(result, "hypothesis", result)
        score = float(hypothesis.score)
        if score > best or not name:
            best = score
            name = str(getattr(hypothesis, "class_id", getattr(hypothesis, "id", "")))
    return name
