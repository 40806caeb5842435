"""Robots' logs of any container and encoding as one canonical recording.

Roles are given by message type, never by topic name. Opening walks the log once for everything
small; clouds and images met on the way are kept up to `CACHE_BYTES`, so that logs up to that size
are decompressed once. Points are taken as they are: no motion correction is applied, because no
log says whether the driver applied it.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from recordings.assemble import assembled
from recordings.frames import EGO_NAMES, MAP_NAMES, FrameTree
from recordings.log_file import Channel, LogFile
from recordings.log_poses import calibrate, ego_trajectory
from recordings.log_scan import Scan, Stream, decoder_of
from recordings.log_truth import ground_truth
from recordings.messages import CloudMessage, ImageMessage, Pose
from recordings.point_times import sweep_period_ns
from recordings.recording import ASSUMED_POSES, Damage, Recording, Topic
from recordings.sweep_builder import SweepBuilder
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
        self._lidar = _choose_lidar(scan, name)
        self.topics = _topics(scan, self._lidar)
        self.sensor = self._lidar.frame if self._lidar else ""
        stamps = self._lidar.stamps_ns if self._lidar else []
        tree = _frame_tree(scan, self.damage)
        self.frame_problems = tree.problems()
        ego, calibration = calibrate(tree, self.sensor)
        calibration = Calibration(calibration.ego_SE3_sensor, calibration.assumed, scan.cameras)
        self.trajectory, self.calibration = ego_trajectory(
            tree, scan.loose, ego, calibration, stamps
        )
        self.ground_truth = ground_truth(
            scan.detections, tree, ego, self.trajectory, stamps, self.damage,
            moving=ASSUMED_POSES not in self.calibration.assumed,
        )  # fmt: skip
        self.signals = _signals(scan)

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the clouds of the lidar in file order; what cannot be used goes to `damage`."""
        if self._lidar is None:
            return
        ego_SE3_sensor = self.calibration.of(self.sensor)
        builder = SweepBuilder(
            self.trajectory, self.damage, ego_SE3_sensor, self._time_origin_ns,
            period_ns=sweep_period_ns(self._lidar.stamps_ns),
        )  # fmt: skip
        clouds = (
            (cloud.stamp_ns or log_time_ns, cloud.read)
            for log_time_ns, cloud in self._clouds(self._lidar.channel)
        )
        for stamp_ns, read in assembled(clouds, self.damage, self._lidar.topic):
            sweep = builder.build(stamp_ns, self._lidar.topic, read)
            if sweep is not None:
                yield sweep

    def images(self) -> Iterator[Image]:
        """Yield the images of all cameras in time order; undecodable ones go to `damage`."""
        waiting: list[tuple[int, int, Image]] = []
        for number, image in enumerate(self._images()):
            heapq.heappush(waiting, (image.timestamp_ns, number, image))
            if len(waiting) > _IMAGE_WINDOW:
                yield heapq.heappop(waiting)[2]
        while waiting:
            yield heapq.heappop(waiting)[2]

    def _clouds(self, channel: Channel) -> Iterator[tuple[int, CloudMessage]]:
        """Yield the lidar's clouds with the log time of their last message."""
        decoder, last_ns = decoder_of(channel), 0
        for _, log_time_ns, data in self._again({channel}):
            last_ns = log_time_ns
            try:
                found = decoder.decode(data, log_time_ns)
            except FormatError:
                continue  # noted by the first walk
            for item in found:
                if isinstance(item, CloudMessage):
                    yield log_time_ns, item
        for item in decoder.finish():
            if isinstance(item, CloudMessage):
                yield last_ns, item

    def _images(self) -> Iterator[Image]:
        wanted = {c for c, stream in self._streams.items() if stream.decoder.use == "images"}
        decoders = {channel: decoder_of(channel) for channel in wanted}
        for channel, log_time_ns, data in self._again(wanted):
            try:
                for item in decoders[channel].decode(data, log_time_ns):
                    if isinstance(item, ImageMessage):
                        yield _image(item, channel.topic, log_time_ns)
            except FormatError as error:
                lost = f"image logged at {log_time_ns}"
                self.damage.append(Damage(channel.topic, str(error), lost))

    def _again(self, wanted: set[Channel]) -> Iterator[tuple[Channel, int, memoryview]]:
        """Yield the messages of some channels: the kept ones, then those still in the files."""
        if not wanted:
            return
        for stream, log_time_ns, data in self._kept:
            if stream.channel in wanted:
                yield stream.channel, log_time_ns, data
        if self._rest is None:
            return
        ignored: list[Damage] = []  # the first walk has noted it all
        for number, file in enumerate(self._files[self._rest.file :], self._rest.file):
            first = number == self._rest.file
            chosen: dict[int, Channel | None] = {}
            blocks = file.blocks(ignored, self._rest.offset) if first else file.blocks(ignored)
            for block in blocks:
                for channel_id, log_time_ns, data in file.messages(block, ignored):
                    if channel_id not in chosen:
                        channel = file.channels.get(channel_id)
                        chosen[channel_id] = channel if channel in wanted else None
                    channel = chosen[channel_id]
                    if channel is not None:
                        yield channel, log_time_ns, data


def _choose_lidar(scan: Scan, name: RecordingId) -> Stream | None:
    """Return the topic with the most cloud bytes, None if there is none."""
    lidars = [stream for stream in scan.streams.values() if stream.num_bytes]
    if len(lidars) > 1:
        sizes = {stream.topic: stream.num_bytes for stream in lidars}
        logger.warning("%s: several lidars %s", name, sizes)
    return min(lidars, key=lambda stream: (-stream.num_bytes, stream.topic), default=None)


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
    """Return the signals by topic, each in time order."""
    signals = []
    for stream in sorted(scan.streams.values(), key=lambda s: s.topic):
        first = stream.signal
        if first is None:
            continue
        times = np.array(stream.stamps_ns, dtype=np.int64)
        values = np.array(stream.rows, dtype=np.float64).reshape(len(times), len(first.fields))
        order = np.argsort(times, kind="stable")
        signal = Signal(
            stream.topic, first.kind, first.frame, first.fields, times[order], values[order]
        )
        signals.append(signal)
    return signals


def _topics(scan: Scan, lidar: Stream | None) -> list[Topic]:
    return [
        Topic(stream.topic, stream.channel.type_name, stream.count, _use(stream, lidar))
        for stream in sorted(scan.streams.values(), key=lambda s: (s.topic, s.channel))
    ]


def _use(stream: Stream, lidar: Stream | None) -> str:
    """Return what became of a topic."""
    if stream.count and sum(f.count for f in stream.failures.values()) == stream.count:
        return f"not used: {next(iter(stream.failures))}"
    if stream.decoder.use == "sweeps" and stream.num_bytes and stream is not lidar and lidar:
        return f"not used: {lidar.topic} holds more points"
    if stream.decoder.use == "boxes" and lidar is None:
        return "not used: there are no sweeps that the boxes could belong to"
    return stream.decoder.use


def _image(item: ImageMessage, topic: str, log_time_ns: int) -> Image:
    return Image(item.frame or topic, item.stamp_ns or log_time_ns, item.encoding, item.data)
