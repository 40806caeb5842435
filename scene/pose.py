"""Rigid transforms and trajectories. `dst_SE3_src` maps coordinates in `src` to `dst`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scene.errors import FrameError, ShapeError
from scene.types import Float, Float64, Int64


@dataclass(frozen=True, slots=True)
class SE3:
    """A rigid transform.

    Attributes:
        rotation: (3, 3) rotation matrix.
        translation_m: (3,) meters, in the destination frame.
    """

    rotation: Float64
    translation_m: Float64

    def __post_init__(self) -> None:
        """Check shapes."""
        if self.rotation.shape != (3, 3) or self.translation_m.shape != (3,):
            raise ShapeError(
                f"SE3: expected (3, 3) and (3,), got {self.rotation.shape} and "
                f"{self.translation_m.shape}"
            )

    @classmethod
    def identity(cls) -> SE3:
        """Return the transform that changes nothing."""
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def from_quaternion(cls, quat_wxyz: Float, translation_m: Float) -> SE3:
        """Make a transform from a (4,) quaternion, order w x y z, and a (3,) translation."""
        quat = np.asarray(quat_wxyz, dtype=np.float64).reshape(1, 4)
        return cls(quat_to_matrix(quat)[0], np.asarray(translation_m, dtype=np.float64))

    @classmethod
    def from_yaw(cls, yaw_rad: float, translation_m: Float) -> SE3:
        """Make a transform that rotates about z by `yaw_rad`, then translates."""
        cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
        rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        return cls(rotation, np.asarray(translation_m, dtype=np.float64))

    @property
    def yaw_rad(self) -> float:
        """Heading of the source x axis in the destination frame, in (-pi, pi]."""
        return float(np.arctan2(self.rotation[1, 0], self.rotation[0, 0]))

    @property
    def quat_wxyz(self) -> Float64:
        """(4,) unit quaternion, order w x y z, w >= 0."""
        return matrix_to_quat(self.rotation[None])[0]

    def inverse(self) -> SE3:
        """Return `src_SE3_dst`."""
        rotation = self.rotation.T
        return SE3(rotation, -rotation @ self.translation_m)

    def __matmul__(self, other: SE3) -> SE3:
        """Compose: `a_SE3_b @ b_SE3_c` is `a_SE3_c`."""
        return SE3(
            self.rotation @ other.rotation,
            self.rotation @ other.translation_m + self.translation_m,
        )

    def transform_points(self, points_src_m: Float) -> Float64:
        """Return (N, 3) points in the destination frame.

        Raises:
            ShapeError: if `points_src_m` is not (N, 3).
        """
        if points_src_m.ndim != 2 or points_src_m.shape[1] != 3:
            raise ShapeError(f"transform_points: expected (N, 3), got {points_src_m.shape}")
        return points_src_m @ self.rotation.T + self.translation_m


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Poses of the ego vehicle in the map frame over time: `map_SE3_ego`.

    Attributes:
        timestamps_ns: (T,) int64, strictly increasing.
        quat_wxyz: (T, 4) unit quaternions.
        translation_m: (T, 3) meters, map frame.
    """

    timestamps_ns: Int64
    quat_wxyz: Float64
    translation_m: Float64

    def __post_init__(self) -> None:
        """Check shapes and time order."""
        count = len(self.timestamps_ns)
        if self.quat_wxyz.shape != (count, 4) or self.translation_m.shape != (count, 3):
            raise ShapeError(
                f"Trajectory: {count} times, quaternions {self.quat_wxyz.shape}, "
                f"translations {self.translation_m.shape}"
            )
        if count > 1 and not np.all(np.diff(self.timestamps_ns) > 0):
            raise FrameError("Trajectory: timestamps must strictly increase")

    def __len__(self) -> int:
        """Return the number of poses."""
        return len(self.timestamps_ns)

    def at(self, timestamp_ns: int, max_extrapolation_ns: int = 100_000_000) -> SE3:
        """Return `map_SE3_ego` at one time; see `interpolate`."""
        track = self.interpolate(np.array([timestamp_ns], dtype=np.int64), max_extrapolation_ns)
        return SE3.from_quaternion(track.quat_wxyz[0], track.translation_m[0])

    def interpolate(
        self, timestamps_ns: Int64, max_extrapolation_ns: int = 100_000_000
    ) -> Trajectory:
        """Return poses at the given times: linear in translation, slerp in rotation.

        Times before the first or after the last pose take that pose if they are no further
        from it than `max_extrapolation_ns`.

        Raises:
            FrameError: if there is no pose, or a time lies further outside than that.
        """
        times = np.asarray(timestamps_ns, dtype=np.int64)
        if len(self) == 0:
            raise FrameError("no poses: the recording holds neither odometry nor a map frame")
        first, last = int(self.timestamps_ns[0]), int(self.timestamps_ns[-1])
        outside_ns = np.maximum(first - times, times - last)
        if len(times) and outside_ns.max() > max_extrapolation_ns:
            worst = int(times[int(outside_ns.argmax())])
            raise FrameError(
                f"pose asked for at {worst} ns, {outside_ns.max() / 1e9:.3f} s outside "
                f"the poses [{first}, {last}] ns (bound {max_extrapolation_ns / 1e9:.3f} s)"
            )
        if len(self) == 1:
            repeat = len(times)
            return Trajectory(
                times,
                np.repeat(self.quat_wxyz, repeat, 0),
                np.repeat(self.translation_m, repeat, 0),
            )
        upper = np.clip(np.searchsorted(self.timestamps_ns, times), 1, len(self) - 1)
        lower = upper - 1
        span = (self.timestamps_ns[upper] - self.timestamps_ns[lower]).astype(np.float64)
        ratio = np.clip((times - self.timestamps_ns[lower]) / span, 0.0, 1.0)[:, None]
        start, end = self.translation_m[lower], self.translation_m[upper]
        return Trajectory(
            times,
            slerp(self.quat_wxyz[lower], self.quat_wxyz[upper], ratio),
            start + (end - start) * ratio,
        )

    def extended(self, bound_ns: int) -> Trajectory:
        """Return the poses with one more at each end, `bound_ns` further on, for a declared bound.

        The motion between the two outermost poses goes on: straight at the same speed, turning at
        the same rate. A single pose is returned as it is.
        """
        if len(self) < 2:
            return self
        times, quat, shift = self.timestamps_ns, self.quat_wxyz, self.translation_m
        inner, outer = np.array([1, -2]), np.array([0, -1])
        ratio = 1.0 + bound_ns / np.abs(times[outer] - times[inner])[:, None]
        more_quat = slerp(quat[inner], quat[outer], ratio)  # beyond 1 it turns on
        more_shift = shift[inner] + (shift[outer] - shift[inner]) * ratio
        return Trajectory(
            np.concatenate([times[:1] - bound_ns, times, times[-1:] + bound_ns]),
            np.concatenate([more_quat[:1], quat, more_quat[1:]]),
            np.concatenate([more_shift[:1], shift, more_shift[1:]]),
        )

    def speed_mps(self) -> Float64:
        """Return (T,) ground speed in meters per second by central differences."""
        if len(self) < 2:
            return np.zeros(len(self))
        seconds = (self.timestamps_ns - self.timestamps_ns[0]) / 1e9
        velocity = np.gradient(self.translation_m[:, :2], seconds, axis=0)
        return np.hypot(velocity[:, 0], velocity[:, 1])


def slerp(start_wxyz: Float64, end_wxyz: Float64, ratio: Float64) -> Float64:
    """Interpolate (N, 4) quaternions along the shorter arc; ratio is (N, 1), usually in [0, 1].

    Source: Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985.
    """
    dot = np.sum(start_wxyz * end_wxyz, axis=1, keepdims=True)
    end = np.where(dot < 0, -end_wxyz, end_wxyz)
    angle = np.arccos(np.clip(np.abs(dot), 0.0, 1.0))
    sin = np.sin(angle)
    near = sin < 1e-8
    safe = np.where(near, 1.0, sin)
    left = np.where(near, 1.0 - ratio, np.sin((1.0 - ratio) * angle) / safe)
    right = np.where(near, ratio, np.sin(ratio * angle) / safe)
    mixed = left * start_wxyz + right * end
    return mixed / np.linalg.norm(mixed, axis=1, keepdims=True)


def quat_to_matrix(quat_wxyz: Float64) -> Float64:
    """Return (N, 3, 3) rotation matrices of (N, 4) quaternions (normalised here).

    Raises:
        FrameError: if a quaternion has no length.
    """
    norm = np.linalg.norm(quat_wxyz, axis=1, keepdims=True)
    if not np.all(norm > 1e-9):
        raise FrameError("quaternion of length zero: not a rotation")
    w, x, y, z = (quat_wxyz / norm).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def matrix_to_quat(rotation: Float64) -> Float64:
    """Return (N, 4) unit quaternions, order w x y z and w >= 0, of (N, 3, 3) rotations.

    Source: Bar-Itzhack, "New method for extracting the quaternion from a rotation matrix", 2000.
    """
    m = rotation
    k = np.empty((len(m), 4, 4))
    k[:, 0, 0] = m[:, 0, 0] + m[:, 1, 1] + m[:, 2, 2]
    k[:, 0, 1] = k[:, 1, 0] = m[:, 2, 1] - m[:, 1, 2]
    k[:, 0, 2] = k[:, 2, 0] = m[:, 0, 2] - m[:, 2, 0]
    k[:, 0, 3] = k[:, 3, 0] = m[:, 1, 0] - m[:, 0, 1]
    k[:, 1, 1] = m[:, 0, 0] - m[:, 1, 1] - m[:, 2, 2]
    k[:, 1, 2] = k[:, 2, 1] = m[:, 0, 1] + m[:, 1, 0]
    k[:, 1, 3] = k[:, 3, 1] = m[:, 0, 2] + m[:, 2, 0]
    k[:, 2, 2] = m[:, 1, 1] - m[:, 0, 0] - m[:, 2, 2]
    k[:, 2, 3] = k[:, 3, 2] = m[:, 1, 2] + m[:, 2, 1]
    k[:, 3, 3] = m[:, 2, 2] - m[:, 0, 0] - m[:, 1, 1]
    quat = np.linalg.eigh(k)[1][:, :, -1]
    return np.where(quat[:, :1] < 0, -quat, quat)


def wrap_angle(angle_rad: Float) -> Float64:
    """Return angles in (-pi, pi]."""
    return -(np.mod(-np.asarray(angle_rad, dtype=np.float64) + np.pi, 2 * np.pi) - np.pi)
