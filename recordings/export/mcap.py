"""ROS 2 in an MCAP file, as a robot records it: clouds, transforms, odometry, boxes, images.

| topic | type | what |
| --- | --- | --- |
| /lidar/points | PointCloud2 | x y z intensity ring t (ns after the stamp), frame of the lidar |
| /tf_static | TFMessage | base_link to every sensor |
| /tf, /odom | TFMessage, Odometry | map to base_link at the full rate of the poses |
| /boxes | Detection3DArray | boxes in base_link at the time of a sweep |
| /<camera>/image/compressed, /<camera>/camera_info | CompressedImage, CameraInfo | as recorded |
| the name of the signal | Imu, NavSatFix | IMU and GNSS |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Final

import numpy as np

from recordings.export.writer import Frame, Writer
from recordings.logs.frames import EGO_NAMES, MAP_NAMES
from recordings.recording import Recording
from scene.image import Image
from scene.pose import SE3, Trajectory, quat_to_matrix
from scene.signal import Signal
from scene.types import Float64
from storage.ros2 import Ros2Mcap

EGO, MAP = EGO_NAMES[0], MAP_NAMES[0]
CLOUDS, BOXES = "/lidar/points", "/boxes"
_XYZ: Final = ("x", "y", "z")
_ORIENTATION: Final = tuple(f"orientation_{axis}" for axis in ("w", *_XYZ))
_RATE: Final = tuple(f"angular_velocity_{axis}_radps" for axis in _XYZ)
_ACCELERATION: Final = tuple(f"linear_acceleration_{axis}_mps2" for axis in _XYZ)
_PLACE: Final = ("latitude_deg", "longitude_deg", "altitude_m")
_DEVIATION: Final = ("east_std_m", "north_std_m", "up_std_m")
_GNSS_OTHER: Final = ("status",)

Message = tuple[int, Callable[[], None]]


class McapWriter(Writer):
    """Writes one file. See `recordings.export.writer.Writer`."""

    def __init__(self, folder: Path, recording: Recording) -> None:
        super().__init__(folder, recording)
        self._file = Ros2Mcap(folder / f"{recording.recording}.mcap")
        self._frame = recording.sensor or "lidar"
        self._started = False
        streams = [self._signal(signal) for signal in recording.signals]
        if self.has_poses:
            streams.append(self._poses(recording.trajectory))
        self._small = merge(*streams, key=itemgetter(0))
        self._next = next(self._small, None)
        assumed = sorted(recording.calibration.assumed - {MAP})
        if assumed:
            self.lose(f"that {', '.join(assumed)} had to be assumed")

    def frame(self, frame: Frame) -> None:
        """Write one cloud and its boxes, after everything small that comes before them."""
        time_ns = frame.sweep.timestamp_ns
        self._catch_up(time_ns)
        lidar_SE3_ego = self.ego_SE3_lidar.inverse()
        self._file.cloud(CLOUDS, self._frame, frame.sweep, lidar_SE3_ego)
        if frame.boxes is not None:
            if (~np.isnan(frame.boxes.velocity_xy_mps)).any():
                self.lose("velocities of boxes: readers find them from the tracks")
            self._file.boxes(BOXES, time_ns, EGO, frame.boxes)

    def image(self, image: Image) -> bool:
        """Write one image."""
        if image.data is None:
            return self.lose(f"images of {image.sensor}: they are frames of a video or not there")
        self._catch_up(image.timestamp_ns)
        self._file.image(f"/{_topic(image.sensor)}/image/compressed", image)
        return True

    def close(self) -> None:
        """Write what is left and the index."""
        self._catch_up(None)
        self._file.close()

    def _catch_up(self, until_ns: int | None) -> None:
        """Write poses and signals up to a time."""
        if not self._started:
            times = [t for t in (until_ns, self._next[0] if self._next else None) if t is not None]
            self._start(min(times, default=0))
        while self._next is not None and (until_ns is None or self._next[0] <= until_ns):
            self._next[1]()
            self._next = next(self._small, None)

    def _start(self, time_ns: int) -> None:
        """Write where the sensors sit and how the cameras see."""
        self._started = True
        calibration = self.recording.calibration
        sensors = {
            name: pose
            for name, pose in sorted(calibration.ego_SE3_sensor.items())
            if name not in (EGO, MAP)
        }
        if self._frame != EGO:
            sensors.setdefault(self._frame, SE3.identity())
        if sensors:
            self._file.transform("/tf_static", time_ns, EGO, sensors)
        for name, camera in sorted(calibration.cameras.items()):
            self._file.camera(f"/{_topic(name)}/camera_info", time_ns, name, camera)

    def _poses(self, track: Trajectory) -> Iterator[Message]:
        velocity, yaw_rate = _motion(track)
        for i, time_ns in enumerate(track.timestamps_ns.tolist()):
            pose = SE3.from_quaternion(track.quat_wxyz[i], track.translation_m[i])

            def write(
                time_ns: int = time_ns, pose: SE3 = pose, speed: Float64 = velocity[i],
                rate: float = float(yaw_rate[i]),
            ) -> None:  # fmt: skip
                self._file.transform("/tf", time_ns, MAP, {EGO: pose})
                self._file.odometry("/odom", time_ns, (MAP, EGO), pose, speed, rate)

            yield time_ns, write

    def _signal(self, signal: Signal) -> Iterator[Message]:
        """Yield the messages of a signal, none for a kind that ROS has no message for."""
        fields = set(signal.fields)
        if signal.kind == "imu" and fields & {*_ORIENTATION, *_RATE, *_ACCELERATION}:
            return self._imu(signal)
        if signal.kind == "gnss" and fields >= set(_PLACE[:2]):
            return self._gnss(signal)
        self.lose(f"signal {signal.name}: ROS has no usual message for {signal.kind}")
        return iter(())

    def _imu(self, signal: Signal) -> Iterator[Message]:
        groups = (_ORIENTATION, _RATE, _ACCELERATION)
        self._lose_fields(signal, {name for group in groups for name in group})
        columns = [_columns(signal, group) for group in groups]
        topic = f"/{_topic(signal.name)}"
        for i, time_ns in enumerate(signal.timestamps_ns.tolist()):

            def write(i: int = i, time_ns: int = time_ns) -> None:
                self._file.imu(topic, time_ns, signal.frame, *(column[i] for column in columns))

            yield time_ns, write

    def _gnss(self, signal: Signal) -> Iterator[Message]:
        self._lose_fields(signal, {*_PLACE, *_DEVIATION, *_GNSS_OTHER})
        place, deviation = _columns(signal, _PLACE), _columns(signal, _DEVIATION)
        status = np.nan_to_num(_columns(signal, _GNSS_OTHER)[:, 0]).astype(np.int64)
        # Without a fix there is no place: -1 is NavSatStatus.STATUS_NO_FIX.
        status = np.where(np.isnan(place[:, :2]).any(axis=1), -1, status)
        topic = f"/{_topic(signal.name)}"
        for i, time_ns in enumerate(signal.timestamps_ns.tolist()):

            def write(i: int = i, time_ns: int = time_ns) -> None:
                self._file.gnss(
                    topic, time_ns, signal.frame, place[i], int(status[i]), deviation[i]
                )

            yield time_ns, write

    def _lose_fields(self, signal: Signal, known: set[str]) -> None:
        other = [name for name in signal.fields if name not in known]
        if other:
            self.lose(f"signal {signal.name}: no place for {', '.join(other)}")


def _columns(signal: Signal, names: tuple[str, ...]) -> Float64:
    """Return (T, len(names)) values, NaN for a field that the signal does not have."""
    values = np.full((len(signal.timestamps_ns), len(names)), np.nan)
    for i, name in enumerate(names):
        if name in signal.fields:
            values[:, i] = signal.values[:, signal.fields.index(name)]
    return values


def _motion(track: Trajectory) -> tuple[Float64, Float64]:
    """Return (T, 3) velocity in the axes of the vehicle and (T,) yaw rate."""
    if len(track) < 2:
        return np.zeros((len(track), 3)), np.zeros(len(track))
    seconds = (track.timestamps_ns - track.timestamps_ns[0]) / 1e9
    rotation = quat_to_matrix(track.quat_wxyz)
    velocity_map = np.gradient(track.translation_m, seconds, axis=0)
    yaw = np.unwrap(np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]))
    return np.einsum("nji,nj->ni", rotation, velocity_map), np.gradient(yaw, seconds)


def _topic(name: str) -> str:
    """Return a name as part of a topic."""
    kept = "".join(c if c.isalnum() or c in "_/" else "_" for c in name.strip("/"))
    return kept or "unnamed"
