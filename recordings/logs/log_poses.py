"""Which frame is the vehicle, where its lidar sits and how it moves, from a ROS transform tree."""

from __future__ import annotations

from dataclasses import replace

from recordings.logs.frames import EGO_NAMES, FrameTree
from recordings.recording import ASSUMED_POSES, empty_trajectory, identity_trajectory
from scene.calibration import Calibration
from scene.pose import SE3, Trajectory

LoosePoses = dict[str, list[tuple[str, int, tuple[float, ...]]]]
_MIN_LOOSE_POSES = 3


def calibrate(tree: FrameTree, sensor: str) -> tuple[str, Calibration]:
    """Return the name of the ego frame and the extrinsics known for it.

    The ego frame is the first usual name that the lidar is fixed to, else the first usual name
    that moves, else the topmost frame above the lidar.

    Args:
        tree: all transforms.
        sensor: frame of the lidar, empty if there is none.
    """
    names = tree.frames()
    usual = [name for name in EGO_NAMES if name in names or name == sensor]
    fixed = [name for name in usual if not sensor or tree.static_between(name, sensor) is not None]
    moving = [name for name in usual if tree.root_of(name)]
    ego = next(iter([*fixed, *moving]), "") or _topmost(tree, sensor)
    sensors = {
        name: pose for name in sorted(names) if (pose := tree.static_between(ego, name)) is not None
    }
    assumed: frozenset[str] = frozenset()
    if sensor and (sensor not in sensors or sensor == ego):
        assumed = frozenset() if sensor in EGO_NAMES else frozenset({sensor})
        sensors[sensor] = SE3.identity()
    return ego, Calibration(sensors, assumed)


def _topmost(tree: FrameTree, sensor: str) -> str:
    """Return the frame that the sensor's static chain hangs on, or what the odometry moves."""
    if sensor:
        parents = {child: parent for parent, child in tree.static}
        seen = {sensor}
        while sensor in parents and parents[sensor] not in seen:
            sensor = parents[sensor]
            seen.add(sensor)
        return sensor
    return next((child for _, child in sorted(tree.moving)), EGO_NAMES[0])


def ego_trajectory(
    tree: FrameTree, loose: LoosePoses, ego: str, calibration: Calibration, stamps_ns: list[int]
) -> tuple[Trajectory, Calibration]:
    """Return `map_SE3_ego` and the calibration, which says so if the poses were assumed.

    Args:
        tree: all transforms; poses without a child frame are added if there is nothing better.
        loose: poses without a child frame, by topic: parent frame, time, pose.
        ego: name of the ego frame.
        calibration: extrinsics.
        stamps_ns: times of the sweeps, for a trajectory that stands still.
    """
    root = tree.root_of(ego)
    if root is None:
        _adopt_loose_poses(tree, loose, ego)
        root = tree.root_of(ego)
    track = empty_trajectory() if root is None else tree.trajectory(root, ego)
    if len(track):
        return track, calibration
    assumed = calibration.assumed | {ASSUMED_POSES}
    calibration = replace(calibration, assumed=assumed)
    return (identity_trajectory(stamps_ns) if stamps_ns else track), calibration


def _adopt_loose_poses(tree: FrameTree, loose: LoosePoses, ego: str) -> None:
    """Take the most frequent poses without a child frame for those of the ego vehicle."""
    topic = max(sorted(loose), key=lambda name: len(loose[name]), default="")
    poses = loose.get(topic, [])
    if len(poses) < _MIN_LOOSE_POSES:  # a goal that was set now and then is no trajectory
        return
    for frame, time, pose in poses:
        if frame != ego:
            tree.add_moving(frame, ego, time, pose)
