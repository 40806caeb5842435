"""One walk over a robot's log: everything but points and images, put where it belongs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np

from recordings.formats import is_zstd
from recordings.logs import log_batches
from recordings.logs.decoders import Decoder, make_decoder
from recordings.logs.log_file import Channel, LogFile, Schema
from recordings.logs.messages import (
    BoxesMessage,
    CameraMessage,
    CloudMessage,
    LogMessage,
    Pose,
    PoseMessage,
    SignalMessage,
    TransformMessage,
)
from recordings.logs.unpack import unpack_message
from recordings.recording import Damage
from scene.box import Boxes
from scene.calibration import Intrinsics
from scene.errors import FormatError
from scene.types import Float64

_KEPT: Final = ("sweeps", "images")  # what is decoded when it is asked for
_LOST_SCHEMA: Final = Schema("the record that names their topic is lost", "", b"")
_LOST_CHANNEL: Final = Channel("(unknown topic)", _LOST_SCHEMA, "")


class Place(NamedTuple):
    """Where to go on reading: number of the file, offset of the block."""

    file: int
    offset: int


@dataclass
class _Failure:
    """Messages of one topic that could not be decoded for one reason."""

    where: str
    count: int
    first_ns: int
    last_ns: int


@dataclass
class Stream:
    """One topic of the log.

    Attributes:
        channel: its name and type.
        decoder: what understands it.
        count: number of messages.
        num_bytes: size of its clouds.
        frame: frame of its clouds or of its signal.
        stamps_ns: times of its clouds, or of the rows of its signal.
        signal: first row of its signal, None if it is none.
        rows: values of its signal: (K, fields) arrays.
        failures: messages that could not be decoded, by reason.
    """

    channel: Channel
    decoder: Decoder
    count: int = 0
    num_bytes: int = 0
    frame: str = ""
    stamps_ns: list[int] = field(default_factory=list)
    signal: SignalMessage | None = None
    rows: list[Float64] = field(default_factory=list)
    failures: dict[str, _Failure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Look once at what is asked for with every message."""
        self.is_decoded = self.decoder.use != "images" and not self.decoder.use.startswith("not ")
        self.is_kept = self.decoder.use in _KEPT

    @property
    def topic(self) -> str:
        """Name of the topic."""
        return self.channel.topic

    def fail(self, error: Exception, where: str, log_time_ns: int) -> None:
        """Remember a message that could not be decoded."""
        known = self.failures.setdefault(str(error), _Failure(where, 0, log_time_ns, log_time_ns))
        known.count += 1
        known.last_ns = log_time_ns


class Kept(NamedTuple):
    """A message whose bytes are kept for later."""

    stream: Stream
    log_time_ns: int
    data: memoryview


class Scan:
    """What one walk over a log brings together.

    Attributes:
        streams: all topics.
        kept: the first clouds and images.
        rest: where those begin that are not kept, None if all are.
        static: transforms that hold for ever by (parent, child).
        moving: transforms over time by (parent, child) and topic: (time, pose).
        loose: poses without a child frame by topic: (parent frame, time, pose).
        detections: by topic: (frame, time, boxes).
        cameras: intrinsics by frame.
        last_ns: when the message walked over last was logged.
    """

    def __init__(self, files: Sequence[LogFile], damage: list[Damage], keep_bytes: int) -> None:
        """Walk over the files; what cannot be read goes to `damage`."""
        self.streams: dict[Channel, Stream] = {}
        self.kept: list[Kept] = []
        self.rest: Place | None = None
        self.static: dict[tuple[str, str], Pose] = {}
        self.moving: dict[tuple[str, str], dict[str, list[tuple[int, Pose]]]] = {}
        self.loose: dict[str, list[tuple[str, int, tuple[float, ...]]]] = {}
        self.detections: dict[str, list[tuple[str, int, Boxes]]] = {}
        self.cameras: dict[str, Intrinsics] = {}
        self._room_bytes = keep_bytes
        self._held: set[int] = set()  # ids of what kept messages lie in; threads take turns
        self.last_ns: int | None = None
        for number, file in enumerate(files):
            self._walk(number, file, damage)
        self._finish(damage)

    def _walk(self, number: int, file: LogFile, damage: list[Damage]) -> None:
        by_id: dict[int, Stream] = {}
        before = {stream.topic: stream.count for stream in self.streams.values()}
        sound = told = len(damage)
        for block in file.blocks(damage):
            if self.rest is None and self._room_bytes < 0:
                self.rest = Place(number, block.offset)
            for channel_id, log_time_ns, data in log_batches.messages(
                self, file, block, by_id, damage, sound=len(damage) == told
            ):
                if len(damage) > told:
                    told = self._date(damage, told, log_time_ns)
                self.last_ns = log_time_ns
                stream = self.stream_of(file, channel_id, by_id)
                stream.count += 1
                if stream.is_decoded:
                    self._decode(stream, data, log_time_ns, (file, block))
                if stream.is_kept and self.rest is None:
                    self._keep(stream, log_time_ns, data)
        for channel in file.channels.values():
            self._stream(channel)
        if self._date(damage, told, None) > sound:
            damage.extend(self._missing(file, before))

    def stream_of(self, file: LogFile, channel_id: int, by_id: dict[int, Stream]) -> Stream:
        """Return the topic of a channel."""
        stream = by_id.get(channel_id)
        if stream is None:
            stream = by_id[channel_id] = self._stream(file.channels.get(channel_id))
        return stream

    def _missing(self, file: LogFile, before: dict[str, int]) -> list[Damage]:
        """Return how many messages a damaged file lacks by its own count."""
        announced: Counter[str] = Counter()
        for channel_id, count in file.announced().items():
            channel = file.channels.get(channel_id)
            announced[channel.topic if channel else f"channel {channel_id}"] += count
        read = Counter({stream.topic: stream.count for stream in self.streams.values()})
        read.subtract(before)
        lost = ", ".join(
            f"{count - read[topic]} of {count} of {topic}"
            for topic, count in sorted(announced.items())
            if count > read[topic]
        )
        what = "messages are missing, by the count at its end"
        return [Damage(file.path.name, what, lost)] if lost else []

    def _keep(self, stream: Stream, log_time_ns: int, data: memoryview) -> None:
        """Keep a message: as a view where its block lies in memory that never changes."""
        whole: Any = data.obj
        if isinstance(whole, np.ndarray) and not whole.flags.writeable:
            whole = whole if whole.base is None else whole.base  # the slab it is cut from
        if not isinstance(whole, bytes | np.ndarray):
            data = memoryview(bytes(data))
            self._room_bytes -= len(data)
        elif id(whole) not in self._held:
            self._held.add(id(whole))
            self._room_bytes -= len(whole)
        self.kept.append(Kept(stream, log_time_ns, data))

    def _decode(
        self, stream: Stream, data: memoryview, log_time_ns: int, at: tuple[LogFile, Any]
    ) -> None:
        try:
            for item in stream.decoder.decode(data, log_time_ns):
                _PUT[type(item)](self, stream, item, log_time_ns)
        except FormatError as error:
            file, block = at
            where = f"{file.path.name} at {file.unit} {block.offset}, {stream.topic}"
            stream.fail(error, where, log_time_ns)

    def _stream(self, channel: Channel | None) -> Stream:
        channel = channel or _LOST_CHANNEL
        if channel not in self.streams:
            self.streams[channel] = Stream(channel, decoder_of(channel))
        return self.streams[channel]

    def _date(self, damage: list[Damage], told: int, next_ns: int | None) -> int:
        """Say between which readable messages the newest damage lies; return its end."""
        for i in range(told, len(damage)):
            span = _span(self.last_ns, next_ns)
            damage[i] = replace(damage[i], lost=f"{damage[i].lost}{span}")
        return len(damage)

    def _finish(self, damage: list[Damage]) -> None:
        """Decode what decoders held back and say which messages could not be decoded."""
        for stream in self.streams.values():
            if stream.is_decoded:
                for item in stream.decoder.finish():
                    _PUT[type(item)](self, stream, item, self.last_ns or 0)
            for reason, failure in stream.failures.items():
                lost = f"message logged at {failure.first_ns}"
                if failure.count > 1:
                    span = f"{failure.first_ns} to {failure.last_ns}"
                    lost = f"{failure.count} messages logged at {span}"
                damage.append(Damage(failure.where, reason, lost))
            if stream.channel is _LOST_CHANNEL:
                damage.append(Damage(stream.topic, _LOST_SCHEMA.name, f"{stream.count} messages"))

    def _cloud(self, stream: Stream, item: CloudMessage, log_time_ns: int) -> None:
        if not stream.stamps_ns:
            stream.frame = item.frame
        stream.stamps_ns.append(item.stamp_ns or log_time_ns)
        stream.num_bytes += item.num_bytes

    def _transform(self, stream: Stream, item: TransformMessage, log_time_ns: int) -> None:
        edge = (item.parent, item.child)
        if item.static:
            self.static[edge] = item.pose
        else:
            samples = self.moving.setdefault(edge, {}).setdefault(stream.topic, [])
            samples.append((item.stamp_ns or log_time_ns, item.pose))

    def _pose(self, stream: Stream, item: PoseMessage, log_time_ns: int) -> None:
        row = (item.frame, item.stamp_ns or log_time_ns, item.pose)
        self.loose.setdefault(stream.topic, []).append(row)

    def _boxes(self, stream: Stream, item: BoxesMessage, log_time_ns: int) -> None:
        row = (item.frame, item.stamp_ns or log_time_ns, item.boxes)
        self.detections.setdefault(stream.topic, []).append(row)

    def _signal(self, stream: Stream, item: SignalMessage, log_time_ns: int) -> None:
        if stream.signal is None:
            stream.signal = item
        stream.stamps_ns.append(item.stamp_ns or log_time_ns)
        stream.rows.append(np.array([item.values], dtype=np.float64))

    def _camera(self, _stream: Stream, item: CameraMessage, _log_time_ns: int) -> None:
        self.cameras.setdefault(item.frame, item.intrinsics)


_Put = Callable[[Scan, Stream, Any, int], None]
_PUT: Final[dict[type[Any], _Put]] = {
    CloudMessage: Scan._cloud,
    TransformMessage: Scan._transform,
    PoseMessage: Scan._pose,
    BoxesMessage: Scan._boxes,
    SignalMessage: Scan._signal,
    CameraMessage: Scan._camera,
}


def decoder_of(channel: Channel) -> Decoder:
    """Return a channel's decoder; where its definition cannot be understood, one that says so.

    Messages that rosbag2 has compressed one by one are decompressed.
    """
    try:
        decoder = make_decoder(channel)
    except FormatError as error:
        reason = str(error)

        def fail(_data: memoryview, _log_time_ns: int) -> tuple[()]:
            raise FormatError(reason)

        return Decoder("other", fail)
    plain = decoder.decode

    def decode(data: memoryview, log_time_ns: int) -> Iterable[LogMessage]:
        try:
            return plain(data, log_time_ns)
        except FormatError:
            if not is_zstd(data[:4]):
                raise
        return plain(unpack_message(data), log_time_ns)

    return replace(decoder, decode=decode) if channel.encoding == "cdr" else decoder


def _span(last_ns: int | None, next_ns: int | None) -> str:
    """Return between which readable messages something is missing."""
    if last_ns is None and next_ns is None:
        return ""
    if last_ns is None:
        return f", before the message logged at {next_ns} ns"
    if next_ns is None:
        return f", after the message logged at {last_ns} ns"
    return f", between the messages logged at {last_ns} and {next_ns} ns"
