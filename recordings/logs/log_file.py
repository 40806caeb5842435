"""What a container of log messages looks like, whatever its format on disk.

MCAP files, ROS 1 bags and rosbag2 databases are all read the same way: front to back in blocks, as
often as wanted, from any block on. What cannot be read is noted as damage on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from recordings.recording import Damage


class Schema(NamedTuple):
    """A message type with its definition text."""

    name: str
    encoding: str
    data: bytes


class Channel(NamedTuple):
    """A topic and how its messages are written."""

    topic: str
    schema: Schema
    encoding: str

    @property
    def type_name(self) -> str:
        """The type as ROS 2 writes it, `package/msg/Name`; other systems' names as they are."""
        package, slash, name = self.schema.name.partition("/")
        return f"{package}/msg/{name}" if slash and "/" not in name else self.schema.name


class Rows(NamedTuple):
    """Where the messages of a block lie.

    Attributes:
        data: bytes of the block.
        channel_ids: (K,) uint16.
        log_times_ns: (K,) int64.
        starts: (K,) int64, byte at which each begins.
        ends: (K,) int64, byte after it.
    """

    data: NDArray[np.uint8]
    channel_ids: NDArray[np.uint16]
    log_times_ns: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


class LogFile(Protocol):
    """A file of log messages.

    A block is anything with an `offset` at which `blocks` can start again. A message is
    (channel id, log time in nanoseconds, bytes); the bytes live as long as their block.
    """

    path: Path
    unit: ClassVar[str]  # what the offset of a block counts: "byte" or "row"

    @property
    def channels(self) -> Mapping[int, Channel]:
        """Channels by id; filled while messages are read."""
        ...

    def blocks(self, damage: list[Damage], start: int = ...) -> Iterator[Any]:
        """Yield every block from `start` on; what cannot be read goes to `damage`."""
        ...

    def messages(self, block: Any, damage: list[Damage]) -> Iterable[tuple[int, int, memoryview]]:
        """Yield the messages of a block."""
        ...

    def announced(self) -> Mapping[int, int]:
        """Return the number of messages by channel as the file itself counts them, if it does."""
        ...
