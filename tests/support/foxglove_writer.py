"""Writes Foxglove messages to an MCAP with the official packages: as protobuf, or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest

from scene.pose import SE3

HOW = "pip install -e '.[oracle]'"
TYPES = {"u1": 1, "i1": 2, "u2": 3, "i2": 4, "u4": 5, "i4": 6, "f4": 7, "f8": 8}


def make(kind: str, time_ns: int | None = None, **fields: Any) -> Any:
    """A message of the package foxglove-schemas-protobuf."""
    name = f"foxglove_schemas_protobuf.{kind}_pb2"
    message = getattr(pytest.importorskip(name, reason=HOW), kind)(**fields)
    if time_ns is not None:
        message.timestamp.FromNanoseconds(time_ns)
    return message


def pose(value: SE3) -> Any:
    w, x, y, z = value.quat_wxyz.tolist()
    return make(
        "Pose", position=vector(value.translation_m), orientation={"w": w, "x": x, "y": y, "z": z}
    )


def vector(values: Any) -> dict[str, float]:
    return dict(zip("xyz", (float(v) for v in values), strict=True))


def transform(time_ns: int, parent: str, child: str, value: SE3) -> Any:
    where = pose(value)
    message = make("FrameTransform", time_ns, parent_frame_id=parent, child_frame_id=child)
    message.rotation.CopyFrom(where.orientation)
    for axis in "xyz":
        setattr(message.translation, axis, getattr(where.position, axis))
    return message


def cloud(time_ns: int, frame: str, points: np.ndarray, at: SE3 | None = None) -> Any:
    """A PointCloud of a structured array, whatever its offsets and padding."""
    fields = [
        make("PackedElementField", name=name, offset=offset, type=TYPES[kind.str[1:]])
        for name, (kind, offset) in points.dtype.fields.items()  # type: ignore[union-attr]
    ]
    message = make(
        "PointCloud", time_ns, frame_id=frame, point_stride=points.dtype.itemsize, fields=fields,
        data=points.tobytes(),
    )  # fmt: skip
    if at is not None:
        message.pose.CopyFrom(pose(at))
    return message


class FoxgloveWriter:
    """Appends messages to an MCAP; use as a context manager.

    Encodings: "protobuf"; "json" as Foxglove's JSON schemas say; "protojson" as protobuf's own
    JSON mapping has it (times as text, names of enum values).
    """

    def __init__(self, path: Path, encoding: str) -> None:
        self._stream = path.open("wb")
        self._encoding = encoding
        self._channels: dict[str, int] = {}
        if encoding == "protobuf":
            writer = pytest.importorskip("mcap_protobuf.writer", reason=HOW)
            self._writer: Any = writer.Writer(self._stream)
        else:
            from mcap.writer import Writer

            self._writer = Writer(self._stream)
            self._writer.start(profile="", library="test")

    def __enter__(self) -> FoxgloveWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._writer.finish()
        self._stream.close()

    def write(self, topic: str, message: Any, time_ns: int) -> None:
        if self._encoding == "protobuf":
            self._writer.write_message(topic, message, time_ns, time_ns)
            return
        if topic not in self._channels:
            schema = self._writer.register_schema(message.DESCRIPTOR.full_name, "jsonschema", b"{}")
            self._channels[topic] = self._writer.register_channel(topic, "json", schema)
        data = to_json(message, foxglove=self._encoding == "json")
        self._writer.add_message(self._channels[topic], time_ns, data, time_ns)


def to_json(message: Any, *, foxglove: bool) -> bytes:
    from google.protobuf.json_format import MessageToDict

    tree = MessageToDict(message, preserving_proto_field_name=True, use_integers_for_enums=foxglove)
    return json.dumps(_with_times(message, tree) if foxglove else tree).encode()


def _with_times(message: Any, tree: dict[str, Any]) -> dict[str, Any]:
    """Times as {"sec", "nsec"}, in a message and those inside it."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.full_name.startswith("google.protobuf."):
            tree[field.name] = {"sec": value.seconds, "nsec": value.nanos}
        elif isinstance(tree[field.name], list):
            tree[field.name] = [
                _with_times(*both) for both in zip(value, tree[field.name], strict=True)
            ]
        else:
            tree[field.name] = _with_times(value, tree[field.name])
    return tree
