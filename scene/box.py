"""3D boxes as arrays: one `Boxes` holds all boxes of one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from scene.errors import ShapeError
from scene.pose import SE3, wrap_angle
from scene.types import Float, Float64, Int64, Mask, Text


@dataclass(frozen=True, slots=True)
class Boxes:
    """All boxes of one frame, structure of arrays.

    Attributes:
        center_xyz_m: (N, 3) float64, centre of the cuboid.
        size_lwh_m: (N, 3) float64, length (along the heading), width, height.
        yaw_rad: (N,) float64 in (-pi, pi], 0 along +x, counter-clockwise.
        category: (N,) str, a name of `scene.taxonomy`.
        velocity_xy_mps: (N, 2) float64, NaN where unknown.
        track_id: (N,) str, empty where unknown.
        score: (N,) float64 in [0, 1]; NaN for annotations.
        num_points: (N,) int64 lidar points inside; -1 where not counted.
    """

    center_xyz_m: Float64
    size_lwh_m: Float64
    yaw_rad: Float64
    category: Text
    velocity_xy_mps: Float64
    track_id: Text
    score: Float64
    num_points: Int64

    def __post_init__(self) -> None:
        """Check that all arrays speak of the same number of boxes."""
        count = len(self.yaw_rad)
        shapes = {
            "center_xyz_m": (count, 3), "size_lwh_m": (count, 3), "yaw_rad": (count,),
            "category": (count,), "velocity_xy_mps": (count, 2), "track_id": (count,),
            "score": (count,), "num_points": (count,),
        }  # fmt: skip
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ShapeError(f"Boxes.{name}: expected {shape}, got {getattr(self, name).shape}")

    @classmethod
    def make(
        cls,
        center_xyz_m: Float,
        size_lwh_m: Float,
        yaw_rad: Float,
        category: Text | Sequence[str],
        velocity_xy_mps: Float | None = None,
        track_id: Text | Sequence[str] | None = None,
        score: Float | None = None,
        num_points: Int64 | None = None,
    ) -> Boxes:
        """Make boxes from arrays of any float type; unknown columns are filled in."""
        count = len(yaw_rad)
        return cls(
            np.asarray(center_xyz_m, dtype=np.float64).reshape(count, 3),
            np.asarray(size_lwh_m, dtype=np.float64).reshape(count, 3),
            wrap_angle(np.asarray(yaw_rad, dtype=np.float64)),
            np.asarray(category, dtype=np.str_).reshape(count),
            np.full((count, 2), np.nan)
            if velocity_xy_mps is None
            else np.asarray(velocity_xy_mps, dtype=np.float64).reshape(count, 2),
            np.full(count, "", dtype="<U1")
            if track_id is None
            else np.asarray(track_id, dtype=np.str_).reshape(count),
            np.full(count, np.nan) if score is None else np.asarray(score, dtype=np.float64),
            np.full(count, -1, dtype=np.int64)
            if num_points is None
            else np.asarray(num_points, dtype=np.int64),
        )

    @classmethod
    def empty(cls) -> Boxes:
        """Return no boxes."""
        return cls.make(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), [])

    @classmethod
    def concatenate(cls, parts: Sequence[Boxes]) -> Boxes:
        """Return the boxes of all parts in order."""
        if not parts:
            return cls.empty()
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.yaw_rad)

    def take(self, index: Mask | Int64) -> Boxes:
        """Return the boxes chosen by a boolean mask or an index array."""
        return Boxes(*(getattr(self, f.name)[index] for f in fields(self)))

    def transform(self, dst_SE3_src: SE3) -> Boxes:
        """Return the boxes in another frame; roll and pitch of the transform turn centres only."""
        rotation = dst_SE3_src.rotation
        heading = np.stack([np.cos(self.yaw_rad), np.sin(self.yaw_rad), np.zeros(len(self))], 1)
        turned = heading @ rotation.T
        velocity = np.concatenate([self.velocity_xy_mps, np.zeros((len(self), 1))], axis=1)
        return replace(
            self,
            center_xyz_m=dst_SE3_src.transform_points(self.center_xyz_m),
            yaw_rad=wrap_angle(np.arctan2(turned[:, 1], turned[:, 0])),
            velocity_xy_mps=(velocity @ rotation.T)[:, :2],
        )

    def corners_bev_m(self) -> Float64:
        """Return (N, 4, 2) corners from above: front left, front right, rear right, rear left."""
        half = self.size_lwh_m[:, None, :2] / 2
        local = half * np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]])
        cos, sin = np.cos(self.yaw_rad)[:, None], np.sin(self.yaw_rad)[:, None]
        x = local[..., 0] * cos - local[..., 1] * sin
        y = local[..., 0] * sin + local[..., 1] * cos
        return np.stack([x, y], axis=2) + self.center_xyz_m[:, None, :2]

    def range_m(self) -> Float64:
        """Return (N,) distance of the centres from the origin in the ground plane."""
        return np.hypot(self.center_xyz_m[:, 0], self.center_xyz_m[:, 1])


def points_in_boxes(points_m: Float, boxes: Boxes, margin_m: float = 0.0) -> Mask:
    """Return which points lie inside which box, faces included.

    Args:
        points_m: (P, 3), same frame as the boxes.
        boxes: N boxes.
        margin_m: grow every face outwards by this much.

    Returns:
        (N, P) bool.
    """
    inside = np.zeros((len(boxes), len(points_m)), dtype=bool)
    reach = np.hypot(boxes.size_lwh_m[:, 0], boxes.size_lwh_m[:, 1]) / 2 + margin_m
    for i in range(len(boxes)):  # one pass per box; all points at once
        offset = points_m[:, :2] - boxes.center_xyz_m[i, :2]
        near = np.flatnonzero((np.abs(offset) <= reach[i]).all(axis=1))
        cos, sin = np.cos(boxes.yaw_rad[i]), np.sin(boxes.yaw_rad[i])
        along = offset[near, 0] * cos + offset[near, 1] * sin
        across = -offset[near, 0] * sin + offset[near, 1] * cos
        up = points_m[near, 2] - boxes.center_xyz_m[i, 2]
        half = boxes.size_lwh_m[i] / 2 + margin_m
        hit = (np.abs(along) <= half[0]) & (np.abs(across) <= half[1]) & (np.abs(up) <= half[2])
        inside[i, near[hit]] = True
    return inside


def count_points(points_m: Float, boxes: Boxes) -> Boxes:
    """Return the boxes with `num_points` counted from (P, 3) points of the same frame."""
    counts = points_in_boxes(points_m, boxes).sum(axis=1).astype(np.int64)
    return replace(boxes, num_points=counts)
