"""ROS 2 recordings in MCAP: one file, or a rosbag2 folder of several.

Roles are given by message type, never by topic name: PointCloud2 is the lidar, TF, Odometry and
PoseStamped are poses, Detection3DArray is ground truth. Opening walks the file once for all small
messages; clouds met on the way are kept up to `CACHE_BYTES`, so that files up to that size are
decompressed once. Points are taken as they are: no motion correction is applied, because no ROS
message says whether the driver applied it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from recordings import pointcloud2, ros_messages
from recordings.formats import files_in, head, is_mcap
from recordings.frames import FrameTree
from recordings.mcap_file import MAGIC, Channel, McapFile, Message
from recordings.mcap_poses import LoosePoses, calibrate, ego_trajectory
from recordings.mcap_truth import ground_truth
from recordings.point_times import sweep_period_ns
from recordings.recording import ASSUMED_POSES, Damage, Recording
from recordings.ros_messages import (
    DETECTIONS,
    ODOMETRY,
    POINT_CLOUD,
    POSE,
    POSE_WITH_COVARIANCE,
    TRANSFORMS,
    frame_name,
    pose_values,
)  # fmt: skip
from recordings.sweep_builder import SweepBuilder
from scene.box import Boxes
from scene.errors import FormatError
from scene.pose import SE3
from scene.recording import RecordingId
from scene.sweep import Sweep

logger = logging.getLogger(__name__)

CACHE_BYTES: Final = 256 * 2**20
_POSES: Final = (POSE, POSE_WITH_COVARIANCE)


class _Place(NamedTuple):
    """Where to go on reading: number of the file, byte in it."""

    file: int
    offset: int


@dataclass
class _Scan:
    """What one walk over all messages but the points brings together.

    Attributes:
        clouds: stamps of all clouds by topic, and bytes and frame by topic.
        cached: the first clouds of the recording: topic, log time, bytes of the message.
        rest: where clouds begin that are not cached, None if all are.
        loose: poses without a child frame by topic: (parent frame, time, pose).
        detections: by topic: (frame, time, boxes).
    """

    stamps: dict[str, list[int]] = field(default_factory=dict)
    num_bytes: Counter[str] = field(default_factory=Counter)
    frame: dict[str, str] = field(default_factory=dict)
    cached: list[tuple[str, int, bytes]] = field(default_factory=list)
    rest: _Place | None = None
    tree: FrameTree = field(default_factory=FrameTree)
    loose: LoosePoses = field(default_factory=dict)
    detections: dict[str, list[tuple[str, int, Boxes]]] = field(default_factory=dict)


def open_mcap(path: Path, name: RecordingId, part: str = "") -> McapRecording:
    """Open one file, or the files of a rosbag2 folder in the order of its metadata.yaml."""
    del part  # a folder is one recording
    if path.is_file():
        return McapRecording([path], name)
    bags = [file for file in files_in(path) if is_mcap(head(file))]
    return McapRecording(_in_bag_order(path, bags), name)


class McapRecording(Recording):
    """A ROS 2 recording. See `recordings.recording.Recording`."""

    format = "mcap"

    def __init__(self, paths: list[Path], name: RecordingId, time_origin_ns: int = 0) -> None:
        """Read everything but the points.

        Args:
            paths: the files in time order.
            name: id of the recording.
            time_origin_ns: added to relative per-point times, for a driver that does not count
                them from the header stamp.

        Raises:
            FormatError: if there are neither clouds nor poses in it.
        """
        self.recording = name
        self.damage: list[Damage] = []
        self._files = [McapFile(path) for path in paths]
        self._time_origin_ns = time_origin_ns
        scan = self._scan_files()
        self._topic = self._choose_lidar(scan)
        stamps = scan.stamps.get(self._topic, [])
        self._period_ns = sweep_period_ns(stamps)
        self.sensor = frame_name(scan.frame.get(self._topic, ""))
        self._cached = [(log, data) for topic, log, data in scan.cached if topic == self._topic]
        self._rest = scan.rest
        ego, calibration = calibrate(scan.tree, self.sensor)
        self.trajectory, self.calibration = ego_trajectory(
            scan.tree, scan.loose, ego, calibration, stamps
        )
        self.ground_truth = ground_truth(
            scan.detections, scan.tree, ego, self.trajectory, stamps, self.damage,
            moving=ASSUMED_POSES not in self.calibration.assumed,
        )  # fmt: skip

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the clouds of the lidar in file order; what cannot be used goes to `damage`."""
        ego_SE3_sensor = self.calibration.of(self.sensor) if self.sensor else SE3.identity()
        builder = SweepBuilder(
            self.trajectory, self.damage, ego_SE3_sensor, self._time_origin_ns,
            period_ns=self._period_ns,
        )  # fmt: skip
        for log_time, data in self._clouds():
            try:
                cloud = pointcloud2.parse(data)
            except FormatError as error:
                self.damage.append(Damage(self._topic, str(error), f"cloud logged at {log_time}"))
                continue
            read = partial(pointcloud2.columns, cloud)
            sweep = builder.build(cloud.stamp_ns or log_time, self._topic, read)
            if sweep is not None:
                yield sweep

    def _scan_files(self) -> _Scan:
        scan = _Scan()
        cached_bytes = 0
        for number, file in enumerate(self._files):
            for block in file.blocks(self.damage):
                if scan.rest is None and cached_bytes > CACHE_BYTES:
                    scan.rest = _Place(number, block.offset)
                for message in file.messages(block, self.damage):
                    channel = file.channels.get(message.channel_id)
                    if channel is None:
                        continue
                    try:
                        self._take(scan, channel, message)
                    except FormatError as error:
                        where = f"{file.path.name} at byte {block.offset}, {channel.topic}"
                        lost = f"message logged at {message.log_time_ns}"
                        self.damage.append(Damage(where, str(error), lost))
                        continue
                    if scan.rest is None and channel.schema.name == POINT_CLOUD:
                        scan.cached.append(
                            (channel.topic, message.log_time_ns, bytes(message.data))
                        )
                        cached_bytes += len(message.data)
        return scan

    def _take(self, scan: _Scan, channel: Channel, message: Message) -> None:
        """Put one message where it belongs."""
        kind = channel.schema.name
        if kind == POINT_CLOUD:
            _check_encoding(channel)
            stamp = pointcloud2.stamp_of(message.data) or message.log_time_ns
            scan.stamps.setdefault(channel.topic, []).append(stamp)
            scan.num_bytes[channel.topic] += len(message.data)
            if channel.topic not in scan.frame:
                scan.frame[channel.topic] = pointcloud2.parse(message.data).frame
        elif kind in (TRANSFORMS, ODOMETRY, DETECTIONS, *_POSES):
            _check_encoding(channel)
            self._take_small(scan, channel, message)

    def _take_small(self, scan: _Scan, channel: Channel, message: Message) -> None:
        value = ros_messages.decode(channel.schema, message.data)
        if channel.schema.name == TRANSFORMS:
            _take_transforms(scan.tree, value, static=channel.topic.endswith("tf_static"))
            return
        time = ros_messages.stamp_ns(value.header) or message.log_time_ns
        frame = frame_name(value.header.frame_id)
        if channel.schema.name == DETECTIONS:
            boxes = ros_messages.boxes_of(value)
            scan.detections.setdefault(channel.topic, []).append((frame, time, boxes))
            return
        pose = value.pose.pose if hasattr(value.pose, "pose") else value.pose
        child = frame_name(getattr(value, "child_frame_id", ""))
        if child:
            scan.tree.add_moving(frame, child, time, pose_values(pose))
        else:
            scan.loose.setdefault(channel.topic, []).append((frame, time, pose_values(pose)))

    def _choose_lidar(self, scan: _Scan) -> str:
        """Return the topic with the most cloud bytes, empty if there is none."""
        if len(scan.num_bytes) > 1:
            logger.warning("%s: several lidars %s", self.recording, dict(scan.num_bytes))
        if scan.num_bytes:
            return max(sorted(scan.num_bytes), key=lambda topic: scan.num_bytes[topic])
        if not scan.tree.moving and not scan.loose:
            raise FormatError(self._nothing_usable())
        return ""

    def _nothing_usable(self) -> str:
        kinds = sorted(
            {
                f"{channel.topic} ({channel.schema.name or 'no schema'})"
                for file in self._files
                for channel in file.channels.values()
            }
        )
        message = (
            f"{self._files[0].path.name}: no {POINT_CLOUD} and no poses in it; "
            f"topics: {', '.join(kinds[:20]) or 'none'}"
        )
        if any("Packet" in kind or "Scan)" in kind for kind in kinds):
            message += "; raw packets cannot be read: record the driver's PointCloud2 topic"
        if self.damage:
            message += f"; {self.damage[0].where}: {self.damage[0].what}"
        return message

    def _clouds(self) -> Iterator[tuple[int, memoryview]]:
        """Yield log time and bytes of every cloud: the kept ones, then those still in the file."""
        for log_time, data in self._cached:
            yield log_time, memoryview(data)
        if self._rest is None:
            return
        ignored: list[Damage] = []  # the first walk has noted it all
        for number, file in enumerate(self._files[self._rest.file :], self._rest.file):
            start = self._rest.offset if number == self._rest.file else len(MAGIC)
            for block in file.blocks(ignored, start):
                for message in file.messages(block, ignored):
                    channel = file.channels.get(message.channel_id)
                    if channel is not None and channel.topic == self._topic:
                        yield message.log_time_ns, message.data


def _in_bag_order(folder: Path, bags: list[Path]) -> list[Path]:
    """Return the files of a rosbag2 in the order its metadata.yaml lists them, if it has one."""
    metadata = folder / "metadata.yaml"
    text = metadata.read_text(errors="replace") if metadata.exists() else ""
    # Only the order of the names matters, so the first place of each name in the text is enough.
    return sorted(bags, key=lambda p: (text.find(p.name) % (len(text) + 1), len(p.name), p.name))


def _check_encoding(channel: Channel) -> None:
    if channel.encoding != "cdr":
        raise FormatError(
            f"{channel.schema.name} is encoded as {channel.encoding!r}; only ROS 2 CDR is read"
        )


def _take_transforms(tree: FrameTree, message: object, *, static: bool) -> None:
    for transform in message.transforms:  # type: ignore[attr-defined]
        parent = frame_name(transform.header.frame_id)
        child = frame_name(transform.child_frame_id)
        pose = pose_values(transform.transform)
        if static:
            tree.add_static(parent, child, pose)
        elif (parent, child) not in tree.static:
            tree.add_moving(parent, child, ros_messages.stamp_ns(transform.header), pose)
