"""foxglove.SceneUpdate: cuboids that come, change and go, as the boxes of each instant.

By the specification an entity stays until one with its id replaces it, a deletion names it or its
lifetime is over. Many writers do not mean that: they tell everything at each instant, delete
nothing, and leave a viewer's screen full of what is long gone. So what an earlier instant told
holds on only in topics that delete. An instant may be told by several messages; it ends when one
of another time comes. Source: docs.foxglove.dev, `SceneEntity`; foxglove/nuscenes2mcap.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np

from recordings.logs.decoders import Decoder
from recordings.logs.foxglove import pose_of
from recordings.logs.foxglove_nodes import Node, node_reader
from recordings.logs.frames import MAP_NAMES
from recordings.logs.log_file import Channel
from recordings.logs.messages import BoxesMessage, LogMessage
from recordings.logs.ros_messages import frame_name
from scene.box import Boxes
from scene.errors import FormatError
from scene.taxonomy import to_category

_CATEGORY_KEYS: Final = (
    "category", "category_name", "class", "class_name", "label", "object_type", "type",
    "classification", "name",
)  # fmt: skip
_DELETIONS: Final = ("MATCHING_ID", "ALL")
_DELETE_ALL: Final = 1
# Entities that nobody ever deletes would make every instant dearer than the one before.
_MAX_LIVING: Final = 20_000


class _Entity(NamedTuple):
    """The boxes of one entity and how long they hold; a lifetime of 0 is for ever."""

    frame: str
    stamp_ns: int
    lifetime_ns: int
    locked: bool
    boxes: Boxes

    def lives(self, now_ns: int) -> bool:
        """Return whether its lifetime is not over."""
        return not self.lifetime_ns or now_ns <= self.stamp_ns + self.lifetime_ns

    def holds(self, now_ns: int) -> bool:
        """Return whether the boxes are where they were said to be, at another time too.

        Those of a frame that moves stay where that frame was, unless they are locked to it; where
        they are in it later, nobody said.
        """
        if self.stamp_ns == now_ns:
            return True
        return self.lives(now_ns) and (self.locked or self.frame in MAP_NAMES)


class Scene:
    """The living entities of one topic."""

    def __init__(self) -> None:
        self._living: dict[str, _Entity] = {}
        self._now_ns: int | None = None
        self._has_boxes = False
        self._deletes = False

    def update(self, node: Node, log_time_ns: int) -> Iterator[LogMessage]:
        """Take a message over; yield the boxes of the instant that it ends, one a frame."""
        told = node.children("entities")
        entities = [(item.text("id"), _entity(item, log_time_ns)) for item in told]
        deletions = node.children("deletions")
        if entities:  # deletions alone tell no instant
            now_ns = max(entity.stamp_ns for _, entity in entities)
            if now_ns != self._now_ns:
                yield from self.finish()
            self._now_ns = now_ns
        self._deletes = self._deletes or bool(deletions)
        for deletion in deletions:
            self._delete(deletion, log_time_ns)
        for name, entity in entities:
            self._living[name] = entity
            self._has_boxes = self._has_boxes or len(entity.boxes) > 0
        if len(self._living) > _MAX_LIVING:
            self._living = dict(entities)
            raise FormatError(f"over {_MAX_LIVING} entities live at once: none is ever deleted")

    def finish(self) -> Iterable[LogMessage]:
        """Return the boxes of the last instant; a topic that has never had any tells nothing."""
        now_ns, self._now_ns = self._now_ns, None
        if now_ns is None or not self._has_boxes:
            return ()
        by_frame: dict[str, list[Boxes]] = {}
        for entity in self._living.values():
            if entity.holds(now_ns):
                by_frame.setdefault(entity.frame, []).append(entity.boxes)
        self._living = {
            name: entity
            for name, entity in self._living.items()
            if self._deletes and entity.lives(now_ns)
        }
        return [
            BoxesMessage(frame, now_ns, Boxes.concatenate(parts))
            for frame, parts in by_frame.items()
        ]

    def _delete(self, deletion: Node, log_time_ns: int) -> None:
        until_ns = deletion.time_ns("timestamp") or log_time_ns
        everything = deletion.choice("type", _DELETIONS) == _DELETE_ALL
        for name in list(self._living) if everything else [deletion.text("id")]:
            entity = self._living.get(name)
            if entity is not None and entity.stamp_ns <= until_ns:
                del self._living[name]


def scene_update(channel: Channel) -> Decoder:
    """SceneUpdate, a decoder that keeps the living entities; see `recordings.logs.decoders`."""
    read, scene = node_reader(channel), Scene()

    def decode(data: memoryview, log_time_ns: int) -> Iterable[LogMessage]:
        return scene.update(read(data), log_time_ns)

    return Decoder("boxes", decode, scene.finish)


def _entity(node: Node, log_time_ns: int) -> _Entity:
    return _Entity(
        frame_name(node.text("frame_id")),
        node.time_ns("timestamp") or log_time_ns,
        max(node.time_ns("lifetime"), 0),
        node.flag("frame_locked"),
        _boxes(node),
    )


def _boxes(node: Node) -> Boxes:
    """Return the cubes of an entity; none if it is of no category of ours.

    A cube's size is x = length, y = width, z = height. An entity of one cube is an object, and its
    id names the track; one of several has no ids for them.
    """
    cubes = node.children("cubes")
    category = _category(node) if cubes else None
    if category is None:
        return Boxes.empty()
    values = np.array([_cube(cube) for cube in cubes], dtype=np.float64)
    values = values[np.isfinite(values).all(axis=1)]
    w, x, y, z = values[:, :4].T
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    track = node.text("id") if len(cubes) == 1 else ""
    count = len(values)
    return Boxes.make(
        values[:, 4:7], values[:, 7:], yaw, [category] * count, track_id=[track] * count
    )


def _cube(node: Node) -> tuple[float, ...]:
    size = node.child("size")
    return (*pose_of(node.child("pose")), size.number("x"), size.number("y"), size.number("z"))


def _category(node: Node) -> str | None:
    """Return the category that the metadata tells, else the id ("car_12", "vehicles/truck-3")."""
    metadata = {pair.text("key").lower(): pair.text("value") for pair in node.children("metadata")}
    told = [metadata[key] for key in _CATEGORY_KEYS if key in metadata]
    words = re.split(r"[/:#]", node.text("id"))
    told += [re.sub(r"[\s_\-.]*\d+$", "", word) for word in reversed(words)]
    return next((found for name in told if (found := to_category(name))), None)
