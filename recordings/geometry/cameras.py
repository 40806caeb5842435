"""Lidar points in camera images, each sensor taken at its own time.

A lidar and a camera of one vehicle are seldom read at the same moment; at 15 m/s the 50 ms between
them are 0.75 m. Points therefore go through the map: `cam_SE3_ego @ ego_SE3_map(image time) @
map_SE3_ego(sweep time) @ p`.

Models of distortion: "plumb_bob" (Brown-Conrady: k1 k2 p1 p2 k3) and "rational_polynomial" (k1 k2
p1 p2 k3 k4 k5 k6) after OpenCV, "Camera Calibration and 3D Reconstruction"; "equidistant" (k1..k4)
after OpenCV, "Fisheye camera model" (Kannala and Brandt, PAMI 2006). Their polynomials fold back
outside the angle they were fitted for; points out there are not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from recordings.geometry.deskew import compensate
from scene.calibration import Calibration, Intrinsics
from scene.errors import DataError, FrameError
from scene.pose import SE3, Trajectory
from scene.sweep import Motion, Sweep
from scene.types import Float, Float64, Mask

MODELS: Final = ("plumb_bob", "rational_polynomial", "equidistant")
# A pinhole sees no further than this from its axis (tangent: 84 degrees), whatever its polynomial.
_MAX_TANGENT: Final = 10.0
_STEPS: Final = 2001


class Projection(NamedTuple):
    """Where points lie in an image.

    Attributes:
        pixels: (N, 2) column and row, the centre of the first pixel being (0, 0); of use only where
            `seen`.
        depth_m: (N,) along the optical axis.
        seen: (N,) whether the point is in front of the camera and inside the image.
    """

    pixels: Float64
    depth_m: Float64
    seen: Mask


def project(points_camera_m: Float, intrinsics: Intrinsics) -> Projection:
    """Project (N, 3) points in the camera's optical frame (x right, y down, z forward).

    Raises:
        DataError: if the camera model or the number of its coefficients is not known.
    """
    points = np.asarray(points_camera_m, dtype=np.float64)
    depth = points[:, 2]
    model, coefficients = _model(intrinsics)
    if model == "equidistant":
        x, y, usable = _equidistant(points, coefficients)
    else:
        x, y, usable = _polynomial(points, coefficients)
    matrix = intrinsics.matrix
    columns = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
    rows = matrix[1, 1] * y + matrix[1, 2]
    seen = usable & (columns >= -0.5) & (columns < intrinsics.width_px - 0.5)
    seen &= (rows >= -0.5) & (rows < intrinsics.height_px - 0.5)
    return Projection(np.stack([columns, rows], axis=1), depth, seen)


def project_sweep(
    sweep: Sweep,
    trajectory: Trajectory,
    calibration: Calibration,
    camera: str,
    image_ns: int,
    motion: Motion = "unknown",
) -> Projection:
    """Project the points of a sweep into an image taken at another time.

    Args:
        sweep: points in the ego frame.
        trajectory: `map_SE3_ego` at both times.
        calibration: with the camera's mounting and intrinsics.
        camera: its name.
        image_ns: time of the image.
        motion: "raw" if each point of the sweep is in the ego frame at its own time.

    Raises:
        FrameError: if the camera is unknown, or a time lies outside the poses.
        DataError: if its model is not known.
    """
    points = (compensate(sweep, trajectory) if motion == "raw" else sweep).points_ego_m
    if camera not in calibration.cameras:
        known = ", ".join(sorted(calibration.cameras)) or "none"
        raise FrameError(f"no intrinsics of camera {camera!r}; known cameras: {known}")
    pose = camera_SE3_ego(trajectory, calibration, camera, sweep.timestamp_ns, image_ns)
    return project(pose.transform_points(points), calibration.cameras[camera])


def camera_SE3_ego(
    trajectory: Trajectory, calibration: Calibration, camera: str, ego_ns: int, image_ns: int
) -> SE3:
    """Return the transform from the ego frame at one time to the camera at another.

    Raises:
        FrameError: if the camera is unknown, or a time lies outside the poses.
    """
    ego_SE3_camera = calibration.of(camera)
    return (trajectory.at(image_ns) @ ego_SE3_camera).inverse() @ trajectory.at(ego_ns)


def _model(intrinsics: Intrinsics) -> tuple[str, Float64]:
    """Return the model, and its coefficients: 8 of a polynomial, 4 of a fisheye."""
    model, given = intrinsics.model, intrinsics.distortion
    if not given.any() and model in ("", *MODELS[:2]):
        return MODELS[0], np.zeros(8)
    full = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}
    if model not in full:
        raise DataError(f"camera model {model!r} is not known; known: {', '.join(MODELS)}")
    if len(given) > full[model] and given[full[model] :].any():
        raise DataError(f"camera model {model!r} has {full[model]} coefficients, got {len(given)}")
    coefficients = np.zeros(4 if model == "equidistant" else 8)
    count = min(len(given), full[model])
    coefficients[:count] = given[:count]
    return model, coefficients


def _radial(squared: Float64, k: Float64) -> Float64:
    """Return the radial factor at squared tangents, k in the order k1 k2 p1 p2 k3 k4 k5 k6."""
    above = 1 + squared * (k[0] + squared * (k[1] + squared * k[4]))
    below = 1 + squared * (k[5] + squared * (k[6] + squared * k[7]))
    with np.errstate(divide="ignore", invalid="ignore"):
        return above / below


def _polynomial(points_m: Float64, k: Float64) -> tuple[Float64, Float64, Mask]:
    """Return distorted image coordinates of (N, 3) points, and which can be relied on."""
    front = points_m[:, 2] > 1e-6
    depth = np.where(front, points_m[:, 2], 1.0)
    x, y = points_m[:, 0] / depth, points_m[:, 1] / depth
    squared = x * x + y * y
    usable = front & (squared < _fold(lambda r: r * _radial(r * r, k), _MAX_TANGENT) ** 2)
    x, y, squared = (np.where(usable, value, 0.0) for value in (x, y, squared))
    radial = _radial(squared, k)
    across_x = 2 * k[2] * x * y + k[3] * (squared + 2 * x * x)
    across_y = k[2] * (squared + 2 * y * y) + 2 * k[3] * x * y
    return x * radial + across_x, y * radial + across_y, usable


def _equidistant(points_m: Float64, k: Float64) -> tuple[Float64, Float64, Mask]:
    """Return distorted image coordinates of (N, 3) points, and which can be relied on."""

    def bent(angle: Float64) -> Float64:
        square = angle * angle
        return angle * (1 + square * (k[0] + square * (k[1] + square * (k[2] + square * k[3]))))

    aside = np.hypot(points_m[:, 0], points_m[:, 1])
    angle = np.arctan2(aside, points_m[:, 2])
    usable = angle < _fold(bent, np.pi)
    safe = np.where(aside > 1e-12, aside, 1.0)
    scale = np.where(aside > 1e-12, bent(angle) / safe, 0.0)
    return points_m[:, 0] * scale, points_m[:, 1] * scale, usable


def _fold(bent: Callable[[Float64], Float64], end: float) -> float:
    """Return where a function of the distance from the axis stops to grow, at most `end`."""
    at = np.linspace(0.0, end, _STEPS, dtype=np.float64)
    falls = np.flatnonzero(~(np.diff(bent(at)) > 0))
    return float(at[falls[0]]) if len(falls) else end
