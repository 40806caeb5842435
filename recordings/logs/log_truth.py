"""Ground truth of ROS 2 recordings: Detection3DArray brought to the ego frames of the sweeps."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np

from recordings.geometry.tracks import with_velocities
from recordings.logs.frames import FrameTree
from recordings.recording import Damage
from scene.box import Boxes
from scene.errors import FrameError
from scene.pose import SE3, Trajectory

logger = logging.getLogger(__name__)

_TOLERANCE_NS: Final = 50_000_000
Detections = dict[str, list[tuple[str, int, Boxes]]]


def ground_truth(
    detections: Detections,
    tree: FrameTree,
    ego: str,
    trajectory: Trajectory,
    stamps_ns: list[int],
    damage: list[Damage],
    *,
    moving: bool,
) -> dict[int, Boxes] | None:
    """Return boxes in the ego frame by sweep time, None if the recording has none.

    Boxes whose time is not a sweep's, but within 50 ms of one, are carried there by the ego
    motion and their own velocity. Sweeps without a message have no entry.

    Args:
        detections: by topic: frame, time, boxes in that frame.
        tree: transforms of the recording.
        ego: name of the ego frame.
        trajectory: `map_SE3_ego`.
        stamps_ns: times of the sweeps.
        damage: what cannot be placed is noted here.
        moving: whether the trajectory is real; without, velocities stay unknown.
    """
    if not detections or not stamps_ns:
        return None
    topic = max(sorted(detections), key=lambda name: len(detections[name]))
    if len(detections) > 1:
        logger.warning("several Detection3DArray topics %s: %s used", sorted(detections), topic)
    by_frame: dict[int, dict[str, Boxes]] = {}  # the objects of an instant may be in several frames
    for frame, time_ns, boxes in detections[topic]:
        try:
            placed = boxes.transform(_ego_SE3_frame(tree, ego, frame, time_ns))
            by_frame.setdefault(time_ns, {})[frame] = placed
        except FrameError as error:
            damage.append(Damage(topic, str(error), f"boxes at {time_ns}"))
    frames = {time: Boxes.concatenate(list(parts.values())) for time, parts in by_frame.items()}
    if moving and len(trajectory):
        first, last = int(trajectory.timestamps_ns[0]), int(trajectory.timestamps_ns[-1])
        inside = {t: b for t, b in frames.items() if first <= t <= last}
        frames = {**frames, **with_velocities(inside, trajectory)}
    return _at_sweeps(frames, sorted(set(stamps_ns)), trajectory, topic, damage)


def _ego_SE3_frame(tree: FrameTree, ego: str, frame: str, time_ns: int) -> SE3:
    if not frame or frame == ego:
        return SE3.identity()
    track = tree.between(ego, frame, np.array([time_ns], dtype=np.int64))
    return SE3.from_quaternion(track.quat_wxyz[0], track.translation_m[0])


def _at_sweeps(
    frames: dict[int, Boxes],
    stamps_ns: list[int],
    trajectory: Trajectory,
    topic: str,
    damage: list[Damage],
) -> dict[int, Boxes]:
    """Return by sweep time the frame nearest to it."""
    stamps = np.array(stamps_ns, dtype=np.int64)
    chosen: dict[int, int] = {}  # of several frames near a sweep the nearest counts
    for time_ns, boxes in frames.items():
        nearest = int(stamps[np.abs(stamps - time_ns).argmin()])
        if abs(nearest - time_ns) > _TOLERANCE_NS:
            what = f"no sweep within {_TOLERANCE_NS / 1e6:.0f} ms of the boxes at {time_ns} ns"
            damage.append(Damage(topic, what, f"{len(boxes)} boxes"))
        elif nearest not in chosen or abs(nearest - time_ns) < abs(nearest - chosen[nearest]):
            chosen[nearest] = time_ns
    placed: dict[int, Boxes] = {}
    for stamp_ns, time_ns in chosen.items():
        try:
            placed[stamp_ns] = _carry(frames[time_ns], time_ns, stamp_ns, trajectory)
        except FrameError as error:
            damage.append(Damage(topic, str(error), f"boxes at {time_ns}"))
    return placed


def _carry(boxes: Boxes, from_ns: int, to_ns: int, trajectory: Trajectory) -> Boxes:
    """Return boxes where they are at another time, by ego motion and their own velocity."""
    if from_ns == to_ns:
        return boxes
    seconds = (to_ns - from_ns) / 1e9
    step = np.nan_to_num(boxes.velocity_xy_mps) * seconds
    center = boxes.center_xyz_m + np.pad(step, ((0, 0), (0, 1)))
    moved = Boxes.make(
        center, boxes.size_lwh_m, boxes.yaw_rad, boxes.category, boxes.velocity_xy_mps,
        boxes.track_id, boxes.score, boxes.num_points,
    )  # fmt: skip
    return moved.transform(trajectory.at(to_ns).inverse() @ trajectory.at(from_ns))
