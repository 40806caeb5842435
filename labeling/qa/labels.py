"""All labels of one recording in arrays: where every box is, and what its track does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from scene.box import Boxes
from scene.pose import Trajectory, quat_to_matrix, wrap_angle
from scene.types import Float64, Int64


@dataclass(frozen=True, slots=True, eq=False)
class LabelSet:
    """Every box of one recording, sorted by track and time.

    Attributes:
        recording: its id.
        frame_times_ns: (F,) int64, the labelled frames, also those without boxes.
        poses: `map_SE3_ego` at those times.
        frame: (N,) index of the frame of each box.
        boxes: (N,) ego frame of their time. Every box has a track: one without an id is alone.
        center_map_m: (N, 3) centres in the map frame.
        yaw_map_rad: (N,) headings in the map frame.
        row: (N,) position of the box among those of its frame, as it was given.
    """

    recording: str
    frame_times_ns: Int64
    poses: Trajectory
    frame: Int64
    boxes: Boxes
    center_map_m: Float64
    yaw_map_rad: Float64
    row: Int64

    @classmethod
    def make(cls, recording: str, frames: Mapping[int, Boxes], trajectory: Trajectory) -> LabelSet:
        """Sort the boxes of a recording.

        Args:
            recording: its id.
            frames: boxes in the ego frame by `timestamp_ns`; frames without boxes count too.
            trajectory: ego poses that cover those times.
        """
        times = np.array(sorted(frames), dtype=np.int64)
        counts = [len(frames[int(time)]) for time in times]
        boxes = Boxes.concatenate([frames[int(time)] for time in times])
        frame = np.repeat(np.arange(len(times), dtype=np.int64), counts)
        row = np.concatenate([np.arange(c) for c in counts]) if counts else np.zeros(0)
        alone = np.char.add("?", np.arange(len(boxes)).astype(str))
        boxes = replace(boxes, track_id=np.where(boxes.track_id == "", alone, boxes.track_id))
        order = np.lexsort((frame, boxes.track_id))
        frame, boxes, row = frame[order], boxes.take(order), row[order].astype(np.int64)
        poses = trajectory.interpolate(times, 1_000_000_000)
        center, yaw = to_map(poses, frame, boxes)
        return cls(recording, times, poses, frame, boxes, center, yaw, row)

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.frame)

    @property
    def time_s(self) -> Float64:
        """(N,) seconds since the first frame."""
        first = self.frame_times_ns[0] if len(self.frame_times_ns) else 0
        return (self.frame_times_ns[self.frame] - first) / 1e9

    def neighbour(self, step: int) -> Int64:
        """Return (N,) index of the box `step` boxes further on in the same track, -1 for none."""
        count = len(self)
        there = np.arange(count, dtype=np.int64) + step
        inside = (there >= 0) & (there < count)
        safe = np.clip(there, 0, max(count - 1, 0))
        same = self.boxes.track_id[safe] == self.boxes.track_id if count else inside
        return np.where(inside & same, safe, -1)

    def speed_mps(self) -> Float64:
        """Return (N,) ground speed from the neighbours in the track, NaN for single boxes."""
        return np.hypot(*self.velocity_map_mps().T)

    def velocity_map_mps(self) -> Float64:
        """Return (N, 2) velocity in the map frame by central differences, NaN for single boxes."""
        here = np.arange(len(self))
        before, after = self.neighbour(-1), self.neighbour(1)
        before = np.where(before < 0, here, before)
        after = np.where(after < 0, here, after)
        span = self.time_s[after] - self.time_s[before]
        step = self.center_map_m[after, :2] - self.center_map_m[before, :2]
        with np.errstate(invalid="ignore", divide="ignore"):
            return step / np.where(span > 0, span, np.nan)[:, None]

    def to_ego(self, frame: int, center_map_m: Float64) -> Float64:
        """Return (K, 3) map points in the ego frame of one frame."""
        rotation = quat_to_matrix(self.poses.quat_wxyz[frame : frame + 1])[0]
        return (center_map_m - self.poses.translation_m[frame]) @ rotation

    def ego_yaw_rad(self, frame: int) -> float:
        """Return the heading of the ego vehicle in the map at one frame."""
        rotation = quat_to_matrix(self.poses.quat_wxyz[frame : frame + 1])[0]
        return float(np.arctan2(rotation[1, 0], rotation[0, 0]))


def to_map(poses: Trajectory, frame: Int64, boxes: Boxes) -> tuple[Float64, Float64]:
    """Return (N, 3) centres and (N,) headings in the map of boxes in the ego frames given."""
    if not len(boxes):
        return np.zeros((0, 3)), np.zeros(0)
    rotation = quat_to_matrix(poses.quat_wxyz)
    center = np.einsum("nij,nj->ni", rotation[frame], boxes.center_xyz_m)
    turn = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])[frame]
    return center + poses.translation_m[frame], wrap_angle(boxes.yaw_rad + turn)
