"""Writes small ROS 1 bags and rosbag2 databases for tests, with the rosbags library."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Self

from tests.support.ros_writer import MessageWriter, make, serialize, types


@cache
def ros1_types() -> Any:
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    for name, fields in types().fielddefs.items():
        if name.startswith(("vision_msgs/", "tf2_msgs/msg/TFM")):
            store.register({name: fields})
    return store


def to_ros1(message: Any) -> Any:
    """Return the same message as ROS 1 knows it: headers count, some fields are capital."""
    name = getattr(message, "__msgtype__", "")
    if not name:
        return [to_ros1(item) for item in message] if isinstance(message, list) else message
    kind = ros1_types().types[name]
    values = {
        field: to_ros1(getattr(message, field, None) if hasattr(message, field) else
                       getattr(message, field.lower(), 0))
        for field in kind.__dataclass_fields__ if field != "__msgtype__"
    }  # fmt: skip
    return kind(**values)


class Bag1Writer(MessageWriter):
    """Appends messages to a ROS 1 bag; use as a context manager."""

    def __init__(self, path: Path, *, chunk_bytes: int = 4096, compression: str = "none") -> None:
        from rosbags.rosbag1 import Writer

        self._writer = Writer(path)
        self._writer.chunk_threshold = chunk_bytes
        if compression != "none":
            self._writer.set_compression(Writer.CompressionFormat[compression.upper()])
        self._connections: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> Self:
        self._writer.open()
        return self

    def __exit__(self, *_error: object) -> None:
        self._writer.close()

    def write(self, topic: str, message: Any, time_ns: int) -> None:
        kind = message.__msgtype__
        if (topic, kind) not in self._connections:
            self._connections[topic, kind] = self._writer.add_connection(
                topic, kind, typestore=ros1_types()
            )
        data = ros1_types().serialize_ros1(to_ros1(message), kind)
        self._writer.write(self._connections[topic, kind], time_ns, data)


class Rosbag2Writer(MessageWriter):
    """Appends messages to a rosbag2 folder with a SQLite database; use as a context manager."""

    def __init__(self, path: Path, *, compression: str = "none") -> None:
        from rosbags.rosbag2 import CompressionFormat, CompressionMode, Writer

        self._writer = Writer(path, version=9)
        if compression != "none":
            mode = CompressionMode[compression.upper()]
            self._writer.set_compression(mode, CompressionFormat.ZSTD)
        self._connections: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> Self:
        self._writer.open()
        return self

    def __exit__(self, *_error: object) -> None:
        self._writer.close()

    def write(self, topic: str, message: Any, time_ns: int) -> None:
        kind = message.__msgtype__
        if (topic, kind) not in self._connections:
            self._connections[topic, kind] = self._writer.add_connection(
                topic, kind, typestore=types()
            )
        self._writer.write(self._connections[topic, kind], time_ns, serialize(message))


def text_message(text: str) -> Any:
    return make("std_msgs/msg/String", text)
