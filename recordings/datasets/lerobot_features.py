"""The features of a LeRobot data set: what each column or camera is, and what is made of it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final

from scene.errors import FormatError
from scene.signal import SignalKind

INFO: Final = "meta/info.json"
BOOKKEEPING: Final = ("timestamp", "frame_index", "episode_index", "index", "task_index")
MAX_VALUES: Final = 4096  # a frame with more is a picture or a cloud, not a signal
_POINTS: Final = re.compile(r"lidar|point_?cloud|points|velodyne|laser", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the data set, or one of its cameras.

    Attributes:
        name: such as "observation.state".
        dtype: "float32", "bool", "string", or "video" and "image" for cameras.
        shape: of one frame; empty where the data set does not say.
        fields: a name for each value of one frame; made up where there are none.
        is_depth: whether a camera's pixels are distances.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    fields: tuple[str, ...]
    is_depth: bool = False

    @property
    def is_camera(self) -> bool:
        """Whether it is a stream of images."""
        return self.dtype in ("video", "image")

    @property
    def num_values(self) -> int:
        """How many numbers one frame has."""
        return math.prod(self.shape)


def read_feature(name: str, said: Any) -> Feature:
    """Return the feature that an entry of `meta/info.json` describes.

    Raises:
        FormatError: if it is not an object, or its shape is none.
    """
    if not isinstance(said, dict):
        raise FormatError(f"{INFO}: feature {name!r} is not an object")
    shape = said.get("shape")
    sizes = shape if isinstance(shape, list) else [] if shape is None else [shape]
    sizes = tuple(count_of(size, f"{INFO}: shape of {name!r}") for size in sizes)
    dtype = str(said.get("dtype", ""))
    info = said.get("info") or said.get("video_info") or {}
    depth = isinstance(info, dict) and bool(
        info.get("video.is_depth_map") or info.get("is_depth_map")
    )
    camera = dtype in ("video", "image")
    fields = () if camera else _fields(said.get("names"), math.prod(sizes))
    return Feature(name, dtype, sizes, fields, depth)


def _fields(names: Any, count: int) -> tuple[str, ...]:
    """Return a distinct name for each value.

    Names come as a list, as a list in a list, as a list in an object (`{"motors": [...]}`) or as an
    object from name to position; anything else, or too few of them, and the values are numbered.
    """
    if count > MAX_VALUES:
        return ()
    if isinstance(names, dict):
        values = list(names.values())
        positions = len(values) > 0 and all(isinstance(value, int) for value in values)
        names = sorted(names, key=lambda name: names[name]) if positions else values
    flat = _flat(names, 0)
    if len(flat) != count:
        return tuple(f"value_{i}" for i in range(count))
    taken: set[str] = {"timestamp_ns"}
    fields = []
    for name in flat:
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name}_{number}", number + 1
        taken.add(unique)
        fields.append(unique)
    return tuple(fields)


def _flat(names: Any, depth: int) -> list[str]:
    if isinstance(names, list) and depth < 4:
        return [name for part in names for name in _flat(part, depth + 1)]
    return [names] if isinstance(names, str) else []


def number_of(value: Any) -> float:
    """Return a finite number, 0 for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15:
        return float(value)
    return 0.0


def count_of(value: Any, where: str) -> int:
    """Return a whole number that is not negative."""
    number = number_of(value)
    if value is None or number != value or number < 0 or number != int(number):
        raise FormatError(f"{where}: expected a whole number, got {value!r}")
    return int(number)


def is_signal(feature: Feature) -> bool:
    """Return whether its values make a signal."""
    numbers = not feature.is_camera and feature.dtype not in ("string", "language")
    named = feature.name not in BOOKKEEPING and not holds_points(feature)
    return numbers and named and 0 < feature.num_values <= MAX_VALUES


def holds_points(feature: Feature) -> bool:
    """Return whether each of its values is a cloud of points."""
    shape = feature.shape
    return (
        not feature.is_camera
        and len(shape) == 2
        and shape[1] in (3, 4)
        and _POINTS.search(feature.name) is not None
    )


def why_not(feature: Feature) -> str:
    """Return why nothing is made of a feature."""
    if feature.is_camera:
        return "its video is missing or damaged"
    if feature.dtype in ("string", "language"):
        return "text"
    if holds_points(feature):
        return "another feature of points is the lidar"
    if feature.num_values > MAX_VALUES:
        return f"{feature.num_values} values a frame"
    return "its column is missing or damaged"


def kind_of(name: str) -> SignalKind:
    """Return the kind of signal that a feature of this name is."""
    first = name.split(".", 1)[0].lower()
    if first in ("action", "actions"):
        return "action"
    if "imu" in name.lower():
        return "imu"
    return "state" if first in ("observation", "observations", "state") else "other"
