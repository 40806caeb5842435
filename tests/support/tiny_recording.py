"""A small recording with everything that one can hold, made in code."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import numpy as np

from recordings.geometry.tracks import with_velocities
from recordings.recording import Damage, Recording
from scene.box import Boxes
from scene.calibration import Calibration, Intrinsics
from scene.image import Image
from scene.pose import SE3, Trajectory, matrix_to_quat
from scene.recording import RecordingId
from scene.signal import Signal
from scene.sweep import Sweep
from scene.types import Float64

START_NS = 1_700_000_000_123_456_000
PERIOD_NS = 100_000_000
LIDAR = "top_lidar"
CAMERA = "front_camera"


class TinyRecording(Recording):
    """Drives a tilted curve past a car, a truck, a person and a barrier; frame 2 is not labelled.

    Times are whole microseconds, so that every format can hold them.
    """

    format = "tiny"
    motion = "compensated"

    def __init__(self, num_sweeps: int = 6, num_points: int = 600, *, ring: bool = True) -> None:
        self.recording = RecordingId("tiny.drive")
        self.sensor = LIDAR
        self.damage: list[Damage] = []
        self.times = [START_NS + i * PERIOD_NS for i in range(num_sweeps)]
        self.trajectory = _trajectory(num_sweeps)
        self.calibration = _calibration()
        self.signals = _signals(num_sweeps)
        self._num_points, self._ring = num_points, ring
        truth = {t: boxes_at(i) for i, t in enumerate(self.times) if i != 2}
        truth = {t: b.transform(self.trajectory.at(t).inverse()) for t, b in truth.items()}
        truth[self.times[-1]] = Boxes.empty()
        self.ground_truth: dict[int, Boxes] | None = with_velocities(truth, self.trajectory)

    def sweeps(self) -> Iterator[Sweep]:
        """Yield sweeps of points in and around the boxes, in steps of a millimetre."""
        for i, time in enumerate(self.times):
            rng = np.random.default_rng(i)
            count = self._num_points
            points = rng.uniform([-40, -40, -1], [40, 40, 3], (count, 3))
            boxes = boxes_at(i).transform(self.trajectory.at(time).inverse())
            points[: count // 2] = _points_in(boxes, count // 2, rng)
            yield Sweep(
                time,
                np.round(points, 3).astype(np.float32),
                (rng.integers(0, 256, count) / 255).astype(np.float32),
                np.sort(rng.integers(0, PERIOD_NS, count)).astype(np.int32),
                rng.integers(0, 64, count).astype(np.uint16) if self._ring else None,
            )

    def images(self) -> Iterator[Image]:
        """Yield a JPEG between every two sweeps."""
        for i, time in enumerate(self.times):
            yield Image(CAMERA, time + 30_000_000, "jpeg", jpeg(i))


def jpeg(shade: int) -> bytes:
    """Return a grey picture."""
    from PIL import Image as Picture

    buffer = BytesIO()
    Picture.new("RGB", (64, 48), (shade * 40, 90, 120)).save(buffer, format="JPEG")
    return buffer.getvalue()


def boxes_at(index: int) -> Boxes:
    """Return the boxes in the map."""
    place = np.array([[16.0, 4.0, 0.8], [28.0, -6.0, 1.6], [9.0, -5.0, 0.9], [20.0, 12.0, 0.5]])
    place[:, 0] += np.array([0.8, 0.0, 0.0, 0.0]) * index
    place[2, 1] += 0.15 * index
    size = np.array([[4.6, 1.9, 1.6], [8.0, 2.5, 3.2], [0.7, 0.6, 1.8], [0.5, 2.5, 1.0]])
    yaw = np.array([0.1, -2.9, 1.5, 0.4]) + 0.02 * index
    names = ["car", "truck", "pedestrian", "barrier"]
    return Boxes.make(place, size, yaw, names, track_id=["car-a", "truck-b", "7", "barrier-c"])


def _points_in(boxes: Boxes, count: int, rng: np.random.Generator) -> Float64:
    which = rng.integers(0, len(boxes), count)
    local = rng.uniform(-0.55, 0.55, (count, 3)) * boxes.size_lwh_m[which]
    cos, sin = np.cos(boxes.yaw_rad[which]), np.sin(boxes.yaw_rad[which])
    x = local[:, 0] * cos - local[:, 1] * sin
    y = local[:, 0] * sin + local[:, 1] * cos
    return np.stack([x, y, local[:, 2]], 1) + boxes.center_xyz_m[which]


def _trajectory(num_sweeps: int) -> Trajectory:
    """Return poses twice as often as sweeps, far from the origin of the map, with some tilt."""
    steps = np.arange(2 * num_sweeps)
    turns = [SE3.from_yaw(0.3 + 0.01 * i, np.zeros(3)).rotation @ _tilt(0.02, -0.03) for i in steps]
    place = steps.astype(np.float64)[:, None] * np.array([0.5, 0.05, 0.01])
    times = START_NS + steps * (PERIOD_NS // 2)
    return Trajectory(times.astype(np.int64), matrix_to_quat(np.stack(turns)), place)


def _tilt(roll: float, pitch: float) -> Float64:
    (sr, cr), (sp, cp) = ((np.sin(a), np.cos(a)) for a in (roll, pitch))
    return np.array([[cp, sp * sr, sp * cr], [0.0, cr, -sr], [-sp, cp * sr, cp * cr]])


def _calibration() -> Calibration:
    lidar = SE3(
        SE3.from_yaw(0.2, np.zeros(3)).rotation @ _tilt(0.01, 0.05), np.array([1.0, 0.0, 1.8])
    )
    optical = SE3(np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]]), np.array([1.5, 0.1, 1.6]))
    matrix = np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])
    camera = Intrinsics(64, 48, matrix, np.array([0.1, -0.05, 0.0, 0.0, 0.01]))
    return Calibration({LIDAR: lidar, CAMERA: optical}, frozenset(), {CAMERA: camera})


def _signals(num_sweeps: int) -> list[Signal]:
    times = (START_NS + np.arange(num_sweeps * 10) * (PERIOD_NS // 10)).astype(np.int64)
    rng = np.random.default_rng(5)
    rate = tuple(f"angular_velocity_{axis}_radps" for axis in "xyz")
    force = tuple(f"linear_acceleration_{axis}_mps2" for axis in "xyz")
    place = ("latitude_deg", "longitude_deg", "altitude_m")
    degrees = np.array([49.0, 8.4, 110.0]) + rng.normal(0, 1e-4, (len(times), 3))
    return [
        Signal("/imu", "imu", "imu_link", rate + force, times, rng.normal(size=(len(times), 6))),
        Signal("/fix", "gnss", "gps", place, times, degrees),
    ]
