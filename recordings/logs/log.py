"""Robots' logs of any container and encoding as one canonical recording.

Roles are given by message type, never by topic name. Opening walks the log once for everything
small; clouds and images met on the way are kept up to `CACHE_BYTES`, so that logs up to that size
are decompressed once. Points are taken as they are: no motion correction is applied, because no
log says whether the driver applied it.
"""

from __future__ import annotations

import heapq
import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import numpy as np

from recordings.geometry.assemble import Cloud, Mode, assembled, tell_mode
from recordings.geometry.point_times import sweep_period_ns
from recordings.geometry.sweep_builder import SweepBuilder
from recordings.logs.frames import EGO_NAMES, MAP_NAMES, FrameTree
from recordings.logs.log_file import Channel, LogFile
from recordings.logs.log_poses import calibrate, ego_trajectory
from recordings.logs.log_scan import Place, Scan, Stream, decoder_of
from recordings.logs.log_truth import ground_truth
from recordings.logs.messages import CloudMessage, ImageMessage, Pose, SignalMessage
from recordings.recording import ASSUMED_POSES, Damage, Recording, Topic
from scene.calibration import Calibration
from scene.errors import FormatError, FrameError
from scene.image import Image
from scene.recording import RecordingId
from scene.signal import Signal
from scene.sweep import Sweep

logger = logging.getLogger(__name__)

CACHE_BYTES: Final = 256 * 2**20
_MIN_QUATERNION: Final = 0.5  # one shorter was not set
_IMAGE_WINDOW: Final = 32  # cameras that are logged side by side are put in time order over so many


class _Mark(NamedTuple):
    """Where to go on in a log: after so many kept messages, then after so many of a block."""

    kept: int = 0
    place: Place | None = None
    skip: int = 0


_BEGIN: Final = _Mark()


class LogRecording(Recording):
    """A robot's log. See `recordings.recording.Recording`."""

    format = "log"

    def __init__(
        self,
        files: Sequence[LogFile],
        name: RecordingId,
        time_origin_ns: int = 0,
        damage: Sequence[Damage] = (),
    ) -> None:
        """Read everything but points and images.

        Args:
            files: the files in time order.
            name: id of the recording.
            time_origin_ns: added to relative per-point times, for a driver that does not count
                them from the header stamp.
            damage: what is known to be missing beforehand.
        """
        self.recording = name
        self.damage: list[Damage] = list(damage)
        self._files = files
        self._time_origin_ns = time_origin_ns
        scan = Scan(files, self.damage, CACHE_BYTES)
        self._streams = scan.streams
        self._kept, self._rest = scan.kept, scan.rest
        self._mark: _Mark | None = None
        self._builder: SweepBuilder | None = None
        self._start: Any = None
        self._lidars = _choose_lidar(scan, name)
        self._lidar = self._lidars[0] if self._lidars else None
        self.topics = _topics(scan, self._lidars)
        self.motion = self._lidar.decoder.motion if self._lidar else "unknown"
        self.sensor = self._lidar.frame if self._lidar else ""
        stamps = self._stamps_ns = [time for stream in self._lidars for time in stream.stamps_ns]
        tree = _frame_tree(scan, self.damage)
        self.frame_problems = tree.problems()
        ego, calibration = calibrate(tree, self.sensor)
        calibration = Calibration(calibration.ego_SE3_sensor, calibration.assumed, scan.cameras)
        self.trajectory, self.calibration = ego_trajectory(
            tree, scan.loose, ego, calibration, stamps
        )
        if scan.detections and self._lidar:
            stamps = self._sweep_stamps(self._lidar)
        self.ground_truth = ground_truth(
            scan.detections, tree, ego, self.trajectory, stamps, self.damage,
            moving=ASSUMED_POSES not in self.calibration.assumed,
        )  # fmt: skip
        self.signals = _signals(scan)

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the clouds of the lidar in file order; what cannot be used goes to `damage`."""
        if self._lidar is None:
            return
        mark, builder = self._start or (_BEGIN, self._new_builder())
        mode: Mode = "whole" if self._start else "auto"
        self._start, self._builder = None, builder
        marks: deque[_Mark] = deque()
        clouds = self._clouds(mark, marks)
        if mode == "auto":
            mode, clouds = tell_mode(clouds)
        self._mark = None
        for stamp_ns, read in assembled(clouds, self.damage, self._lidar.topic, mode):
            sweep = builder.build(stamp_ns, self._lidar.topic, read)
            if mode == "whole":
                self._mark = marks.popleft()
            if sweep is not None:
                yield sweep

    def position(self) -> object | None:
        """See `Recording.position`; None where half a revolution may be held back."""
        if self._lidar is None or self._lidar.decoder.finish is not tuple or self._mark is None:
            return None
        return self._mark, self._builder

    def go_to(self, position: object) -> None:
        """See `Recording.go_to`."""
        self._start = position

    def _sweep_stamps(self, lidar: Stream) -> list[int]:
        """Return the times of the sweeps: of clouds, or of the first parts of revolutions."""
        mode, clouds = tell_mode(self._clouds(_BEGIN, deque()))
        if mode == "whole":
            return self._stamps_ns
        return [stamp_ns for stamp_ns, _ in assembled(clouds, [], lidar.topic, mode)]

    def _new_builder(self) -> SweepBuilder:
        return SweepBuilder(
            self.trajectory, self.damage, self.calibration.of(self.sensor), self._time_origin_ns,
            period_ns=sweep_period_ns(self._stamps_ns),
        )  # fmt: skip

    def images(self) -> Iterator[Image]:
        """Yield the images of all cameras in time order; undecodable ones go to `damage`."""
        waiting: list[tuple[int, int, Image]] = []
        for number, image in enumerate(self._images()):
            heapq.heappush(waiting, (image.timestamp_ns, number, image))
            if len(waiting) > _IMAGE_WINDOW:
                yield heapq.heappop(waiting)[2]
        while waiting:
            yield heapq.heappop(waiting)[2]

    def _clouds(self, start: _Mark, marks: deque[_Mark]) -> Iterator[Cloud]:
        """Yield the lidar's clouds; `marks` gets for each where the next one is found."""
        decoders = {stream.channel: decoder_of(stream.channel) for stream in self._lidars}
        mark, last_ns = start, 0
        for mark, channel, log_time_ns, data in self._again(set(decoders), start):
            last_ns = log_time_ns
            try:
                found = decoders[channel].decode(data, log_time_ns)
            except FormatError:
                continue  # noted by the first walk
            for item in found:
                if isinstance(item, CloudMessage):
                    marks.append(mark)
                    yield item.stamp_ns or log_time_ns, item.read
        for item in (item for decoder in decoders.values() for item in decoder.finish()):
            if isinstance(item, CloudMessage):
                marks.append(mark)
                yield item.stamp_ns or last_ns, item.read

    def _images(self) -> Iterator[Image]:
        wanted = {c for c, stream in self._streams.items() if stream.decoder.use == "images"}
        decoders = {channel: decoder_of(channel) for channel in wanted}
        for _, channel, log_time_ns, data in self._again(wanted):
            try:
                for item in decoders[channel].decode(data, log_time_ns):
                    if isinstance(item, ImageMessage):
                        yield _image(item, channel.topic, log_time_ns)
            except FormatError as error:
                lost = f"image logged at {log_time_ns}"
                self.damage.append(Damage(channel.topic, str(error), lost))

    def _again(
        self, wanted: set[Channel], start: _Mark = _BEGIN
    ) -> Iterator[tuple[_Mark, Channel, int, memoryview]]:
        """Yield the messages of some channels: the kept ones, then those still in the files.

        Each comes with the mark from which the next one would be found.
        """
        if not wanted:
            return
        if start.place is None:
            for number, kept in enumerate(self._kept[start.kept :], start.kept + 1):
                if kept.stream.channel in wanted:
                    yield _Mark(number), kept.stream.channel, kept.log_time_ns, kept.data
            start = _Mark(len(self._kept), self._rest)
        if start.place is not None:
            yield from self._read_again(wanted, start.place, start.skip)

    def _read_again(
        self, wanted: set[Channel], place: Place, skip: int
    ) -> Iterator[tuple[_Mark, Channel, int, memoryview]]:
        ignored: list[Damage] = []  # the first walk has noted it all
        for number, file in enumerate(self._files[place.file :], place.file):
            chosen: dict[int, Channel | None] = {}
            first = number == place.file
            blocks = file.blocks(ignored, place.offset) if first else file.blocks(ignored)
            for block in blocks:
                here = Place(number, block.offset)
                messages = enumerate(file.messages(block, ignored), 1)
                for index, (channel_id, log_time_ns, data) in islice(messages, skip, None):
                    if channel_id not in chosen:
                        channel = file.channels.get(channel_id)
                        chosen[channel_id] = channel if channel in wanted else None
                    channel = chosen[channel_id]
                    if channel is not None:
                        yield _Mark(len(self._kept), here, index), channel, log_time_ns, data
                skip = 0


def _choose_lidar(scan: Scan, name: RecordingId) -> list[Stream]:
    """Return the streams of the topic with the most cloud bytes, none if there is none.

    They are several where parts of a log define the type in different words. A decoder that holds
    back half a revolution knows but its own packets: of those it is the largest stream.
    """
    sizes: Counter[str] = Counter()
    for stream in scan.streams.values():
        if stream.num_bytes:
            sizes[stream.topic] += stream.num_bytes
    if len(sizes) > 1:
        logger.warning("%s: several lidars %s", name, dict(sizes))
    topic = min(sizes, key=lambda topic: (-sizes[topic], topic), default=None)
    found = [stream for stream in scan.streams.values() if stream.topic == topic]
    found = sorted((s for s in found if s.num_bytes), key=lambda s: -s.num_bytes)
    return found if all(s.decoder.finish is tuple for s in found) else found[:1]


def _frame_tree(scan: Scan, damage: list[Damage]) -> FrameTree:
    """Return the transforms; an edge that several topics tell is taken from the fullest."""
    tree = FrameTree()
    for (parent, child), pose in scan.static.items():
        try:
            tree.add_static(parent, child, pose)
        except FrameError as error:
            damage.append(Damage("tf_static", str(error), f"transform from {child} to {parent}"))
    for edge, by_topic in scan.moving.items():
        if edge in tree.static:
            continue
        topic = max(sorted(by_topic), key=lambda name: len(by_topic[name]))
        samples = by_topic[topic]
        if _is_mounting(edge, [pose for _, pose in samples]):
            tree.add_static(*edge, samples[0][1])
            continue
        for time_ns, pose in samples:
            tree.add_moving(*edge, time_ns, pose)
    return tree


def _is_mounting(edge: tuple[str, str], poses: list[Pose]) -> bool:
    """Return whether an edge that is told over time never changes, and is none of the vehicle's.

    Foxglove's schemas have no other way to tell where a sensor is mounted. A vehicle that stands
    still moves all the same, as far as the tree is concerned.
    """
    parent, child = edge
    of_vehicle = parent in MAP_NAMES or (child in EGO_NAMES and parent not in EGO_NAMES)
    if of_vehicle or any(pose != poses[0] for pose in poses):
        return False
    return bool(np.isfinite(poses[0]).all() and np.linalg.norm(poses[0][:4]) > _MIN_QUATERNION)


def _signals(scan: Scan) -> list[Signal]:
    """Return the signals by topic, each in time order.

    A topic whose type parts of a log define in different words is one signal; if the fields differ,
    the further ones are numbered.
    """
    groups: dict[tuple[str, tuple[str, ...]], tuple[SignalMessage, list[Stream]]] = {}
    for stream in sorted(scan.streams.values(), key=lambda s: s.topic):
        first = stream.signal
        if first is not None:
            groups.setdefault((stream.topic, first.fields), (first, []))[1].append(stream)
    signals: list[Signal] = []
    counts: Counter[str] = Counter()
    for (topic, fields), (first, streams) in groups.items():
        counts[topic] += 1
        name = topic if counts[topic] == 1 else f"{topic}#{counts[topic]}"
        times = np.array([time for s in streams for time in s.stamps_ns], dtype=np.int64)
        values = np.concatenate([rows for s in streams for rows in s.rows])
        order = np.argsort(times, kind="stable")
        signals.append(Signal(name, first.kind, first.frame, fields, times[order], values[order]))
    return signals


def _topics(scan: Scan, lidars: list[Stream]) -> list[Topic]:
    return [
        Topic(stream.topic, stream.channel.type_name, stream.count, _use(stream, lidars))
        for stream in sorted(scan.streams.values(), key=lambda s: (s.topic, s.channel))
    ]


def _use(stream: Stream, lidars: list[Stream]) -> str:
    """Return what became of a topic."""
    if stream.count and sum(f.count for f in stream.failures.values()) == stream.count:
        return f"not used: {next(iter(stream.failures))}"
    is_other = stream.num_bytes and all(stream is not lidar for lidar in lidars)
    if stream.decoder.use == "sweeps" and is_other and lidars:
        return f"not used: {lidars[0].topic} holds more points"
    if stream.decoder.use == "boxes" and not lidars:
        return "not used: there are no sweeps that the boxes could belong to"
    return stream.decoder.use


def _image(item: ImageMessage, topic: str, log_time_ns: int) -> Image:
    return Image(item.frame or topic, item.stamp_ns or log_time_ns, item.encoding, item.data)
