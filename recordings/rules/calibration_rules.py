"""Rules about where the sensors sit and how the cameras see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from recordings.recording import NOT_SENSORS
from recordings.rules.rule import Facts, Finding, Rule
from scene.calibration import Intrinsics
from scene.pose import SE3

ASSUMED: Final = Rule(
    "REC007", "warning", "the lidar's mounting was assumed",
    "record /tf_static with the lidar's pose in base_link",
)  # fmt: skip
UNTURNED_CAMERA: Final = Rule(
    "REC041", "warning", "a camera is mounted as if nobody had measured it",
    "record the pose of the camera's optical frame (z forward) in base_link, not the identity",
)  # fmt: skip
SKEWED: Final = Rule(
    "REC042", "error", "the lidar's mounting is no rotation",
    "write the rotation as a quaternion, or with all its digits: points would be sheared",
)  # fmt: skip
MIRRORED: Final = Rule(
    "REC043", "error", "the lidar's mounting mirrors the world",
    "one axis has the wrong sign: left and right are swapped; use a right-handed frame",
)  # fmt: skip
WRONG_UNIT: Final = Rule(
    "REC044", "error", "the lidar is mounted too far from the vehicle",
    "write translations in metres; thousands mean millimetres",
)  # fmt: skip
OTHER_SENSOR: Final = Rule(
    "REC045", "warning", "the mounting of another sensor is impossible",
    "correct its rotation (right-handed, orthonormal) and translation (metres) before using it",
)  # fmt: skip
INTRINSICS: Final = Rule(
    "REC046", "warning", "intrinsics of a camera are impossible",
    "give focal length and principal point in pixels of the recorded image size",
)  # fmt: skip
NO_TREE: Final = Rule(
    "REC047", "warning", "the coordinate frames are no tree",
    "publish every frame with one parent only; remap one of the two sources",
)  # fmt: skip
RULES: Final = (
    ASSUMED, UNTURNED_CAMERA, SKEWED, MIRRORED, WRONG_UNIT, OTHER_SENSOR, INTRINSICS, NO_TREE,
)  # fmt: skip

# Two thousandths are 0.2 m at 100 m. Matrices printed with four digits stay below 3e-4.
_MAX_SKEW: Final = 2e-3
_MAX_LEVER_M: Final = 25.0  # longer than any lorry with its trailer
# Focal lengths of real cameras in image widths: 0.3 (fisheye) to 5 (telephoto).
_FOCAL_WIDTHS: Final = (0.1, 20.0)
_MAX_ASPECT: Final = 1.5


def check_calibration(facts: Facts) -> Iterator[Finding]:
    """Give what is wrong with the calibration."""
    calibration = facts.calibration
    sensors = sorted(calibration.assumed - NOT_SENSORS)
    if sensors:
        yield ASSUMED.found(
            f"no mounting in the recording for {', '.join(sensors)}: taken for the ego frame",
            len(sensors),
        )
    if facts.frame_problems:
        yield NO_TREE.found("; ".join(facts.frame_problems[:3]), len(facts.frame_problems))
    for name, pose in sorted(calibration.ego_SE3_sensor.items()):
        for rule, what in _impossible(pose):
            own = rule if name == facts.sensor else OTHER_SENSOR
            yield own.found(f"{name}: {what}")
    for name, camera in sorted(calibration.cameras.items()):
        pose = calibration.ego_SE3_sensor.get(name)
        # An optical frame looks along z: unturned, the camera would look at the sky.
        if (
            pose is not None
            and name not in calibration.assumed
            and np.allclose(pose.rotation, np.eye(3), atol=1e-9)
        ):
            yield UNTURNED_CAMERA.found(f"{name}: its axes are those of the ego frame")
        if (what := _impossible_camera(camera)) is not None:
            yield INTRINSICS.found(f"{name}: {what}")


def _impossible(pose: SE3) -> Iterator[tuple[Rule, str]]:
    rotation, translation_m = pose.rotation, pose.translation_m
    if not (np.isfinite(rotation).all() and np.isfinite(translation_m).all()):
        yield SKEWED, "not a number in it"
        return
    skew = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    if skew > _MAX_SKEW:
        yield SKEWED, f"rotation times its transpose is off the identity by {skew:.3g}"
    elif np.linalg.det(rotation) < 0:
        yield MIRRORED, "the determinant of its rotation is -1"
    lever_m = float(np.linalg.norm(translation_m))
    if lever_m > _MAX_LEVER_M:
        yield WRONG_UNIT, f"{lever_m:,.1f} m from the ego origin"


def _impossible_camera(camera: Intrinsics) -> str | None:
    width, height, matrix = camera.width_px, camera.height_px, camera.matrix
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    if not (np.isfinite(matrix).all() and np.isfinite(camera.distortion).all()):
        return "not a number in them"
    if width <= 0 or height <= 0:
        return f"the image is {width} x {height} pixels"
    if not (fx > 0 and fy > 0) or not _FOCAL_WIDTHS[0] < fx / width < _FOCAL_WIDTHS[1]:
        return f"focal lengths {fx:g} and {fy:g} pixels for an image {width} wide"
    if not 1 / _MAX_ASPECT < fx / fy < _MAX_ASPECT:
        return f"focal lengths {fx:g} and {fy:g} pixels: one of them is wrong"
    if not (0 < cx < width and 0 < cy < height):
        return f"principal point ({cx:g}, {cy:g}) outside the image of {width} x {height}"
    return None
