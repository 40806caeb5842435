"""ROS messages decoded by the definitions that the recording itself carries."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from recordings.logs.log_file import Channel, Schema
from recordings.logs.messages import Pose
from scene.box import Boxes
from scene.errors import FormatError
from scene.taxonomy import to_category


def deserializer(channel: Channel) -> Callable[[memoryview], Any]:
    """Return what turns the bytes of a channel's messages into objects.

    The types are those of the definition in the recording; without one, those that ROS ships.
    What it returns raises FormatError if the bytes cannot be understood.

    Raises:
        FormatError: if the definition cannot be understood.
    """
    name, ros1 = channel.type_name, channel.encoding == "ros1"
    store = _store(channel.schema, name, ros1)
    read = store.deserialize_ros1 if ros1 else store.deserialize_cdr

    def decode(data: memoryview) -> Any:
        try:
            return read(data, name)
        except Exception as error:
            # rosbags' generated code raises whatever the bytes lead it to.
            reason = f"{type(error).__name__}: {error}"
            raise FormatError(f"{name} of {len(data)} bytes: {reason}") from error

    return decode


def definitions(channel: Channel) -> Any:
    """Return the types that a channel's messages consist of, as rosbags' `fielddefs`.

    Raises:
        FormatError: if the definition cannot be understood.
    """
    return _store(channel.schema, channel.type_name, channel.encoding == "ros1").fielddefs


@lru_cache(maxsize=64)
def _store(schema: Schema, name: str, ros1: bool) -> Any:
    """Return a type store for one definition; recordings of a fleet share it.

    One store a definition, because two recordings may define the same name differently.
    """
    from rosbags.typesys import (
        Stores,
        TypesysError,
        get_types_from_idl,
        get_types_from_msg,
        get_typestore,
    )

    text = schema.data.decode("utf-8", "replace")
    shipped = (Stores.ROS1_NOETIC,) if ros1 else (Stores.ROS2_HUMBLE, Stores.LATEST)
    builtin = ChainMap(*(dict(get_typestore(one).fielddefs) for one in shipped))
    try:
        if not text.strip():
            types = {name: builtin[name]}
        elif schema.encoding == "ros2idl":
            types = get_types_from_idl(text)
        else:
            types = get_types_from_msg(text, name)
        while missing := _referred(types) - types.keys():
            types |= {name: builtin[name] for name in missing}
        store = get_typestore(Stores.EMPTY)
        store.register(types)
    except (TypesysError, SyntaxError, KeyError) as error:
        raise FormatError(
            f"{name}: the definition in the file is not complete ({error})"
        ) from error
    return store


def _referred(types: Any) -> set[str]:
    """Return the message names that the fields of the given types mention."""
    return {
        name
        for _, fields in types.values()
        for _, (_, inner) in fields
        if (name := _element(inner)) is not None
    }


def _element(inner: Any) -> str | None:
    """Return the message name in rosbags' field type, None for a primitive.

    A message is its name, an array ((kind, element), length), a primitive (name, size).
    """
    while isinstance(inner, tuple) and isinstance(inner[0], tuple):
        inner = inner[0][1]
    return inner if isinstance(inner, str) else None


def stamp_ns(header: Any) -> int:
    """Return the stamp of a std_msgs/Header in nanoseconds."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def frame_name(text: str) -> str:
    """Return a frame name without the leading slash of ROS 1."""
    return text.lstrip("/")


def pose_values(pose: Any) -> Pose:
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
