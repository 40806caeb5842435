"""Object-sized clusters of points that stand on the ground, without any trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import pyarrow as pa

from curation import cluster_kernels as kernels
from curation import ground_kernels as terrain
from scene.errors import ShapeError
from scene.types import Float, Float64, Int64, Mask

REACH_M: Final = 52.0  # beyond it 32 beams leave two points on a person
MIN_POINTS: Final = 4
MAX_LENGTH_M: Final = 14.0
MIN_TOP_M: Final = 0.45

CLUSTER_SCHEMA: Final = pa.schema(
    [
        pa.field("timestamp_ns", pa.int64(), nullable=False),
        *(
            pa.field(name, pa.float64(), nullable=False)
            for name in ("x_m", "y_m", "z_m", "length_m", "width_m", "height_m", "yaw_rad")
        ),
        pa.field("num_points", pa.int64(), nullable=False),
        pa.field("path_distance_m", pa.float64(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Clusters:
    """Point clusters of one or many sweeps, structure of arrays, ego frame of their sweep.

    Attributes:
        timestamp_ns: (N,) int64, sweep that the cluster was seen in.
        center_xyz_m: (N, 3) float64, centre of the visible extent; z is half the height above
            the local ground.
        size_lwh_m: (N, 3) float64, longer side, shorter side, and top above the local ground.
        yaw_rad: (N,) float64 in (-pi/2, pi/2], direction of the longer side.
        num_points: (N,) int64 points between 0.3 m and the top.
        path_distance_m: (N,) float64, from the centre to the path the ego vehicle drove next;
            inf where no path was given.
    """

    timestamp_ns: Int64
    center_xyz_m: Float64
    size_lwh_m: Float64
    yaw_rad: Float64
    num_points: Int64
    path_distance_m: Float64

    def __post_init__(self) -> None:
        """Check that all arrays speak of the same number of clusters."""
        count = len(self.timestamp_ns)
        for field in fields(self):
            array = getattr(self, field.name)
            wide = field.name in ("center_xyz_m", "size_lwh_m")
            expected = (count, 3) if wide else (count,)
            if array.shape != expected:
                raise ShapeError(f"Clusters.{field.name}: expected {expected}, got {array.shape}")

    @classmethod
    def empty(cls) -> Clusters:
        """Return no clusters."""
        none, wide = np.zeros(0), np.zeros((0, 3))
        whole = np.zeros(0, dtype=np.int64)
        return cls(whole, wide, wide, none, whole, none)

    @classmethod
    def concatenate(cls, parts: Sequence[Clusters]) -> Clusters:
        """Return the clusters of all parts in order."""
        if not parts:
            return cls.empty()
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def __len__(self) -> int:
        """Return the number of clusters."""
        return len(self.timestamp_ns)

    def take(self, index: Mask | Int64 | slice) -> Clusters:
        """Return the clusters chosen by a mask, an index array or a slice."""
        return Clusters(*(getattr(self, f.name)[index] for f in fields(self)))

    def by_time(self) -> dict[int, Clusters]:
        """Return the clusters of each sweep that has any, in time order."""
        if np.any(np.diff(self.timestamp_ns) < 0):
            return self.take(np.argsort(self.timestamp_ns, kind="stable")).by_time()
        times, starts = np.unique(self.timestamp_ns, return_index=True)
        ends = np.append(starts, len(self))[1:]  # right for no clusters too
        return {
            int(t): self.take(slice(int(start), int(end)))
            for t, start, end in zip(times, starts, ends, strict=True)
        }

    def range_m(self) -> Float64:
        """Return (N,) distance of the centres from the ego origin in the ground plane."""
        return np.hypot(self.center_xyz_m[:, 0], self.center_xyz_m[:, 1])

    def to_arrow(self) -> pa.Table:
        """Return one row a cluster; columns are `CLUSTER_SCHEMA`."""
        columns = [
            self.timestamp_ns,
            *self.center_xyz_m.T,
            *self.size_lwh_m.T,
            self.yaw_rad,
            self.num_points,
            self.path_distance_m,
        ]
        arrays = [
            pa.array(np.ascontiguousarray(column), type=field.type)
            for column, field in zip(columns, CLUSTER_SCHEMA, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=CLUSTER_SCHEMA)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Clusters:
        """Return the clusters of a table made by `to_arrow`; extra columns are ignored.

        Raises:
            ShapeError: if a column is missing.
        """
        missing = set(CLUSTER_SCHEMA.names) - set(table.column_names)
        if missing:
            raise ShapeError(f"cluster table: columns {sorted(missing)} are missing")
        column = {name: table.column(name).to_numpy() for name in CLUSTER_SCHEMA.names}
        return cls(
            column["timestamp_ns"].astype(np.int64),
            np.stack([column["x_m"], column["y_m"], column["z_m"]], axis=1),
            np.stack([column["length_m"], column["width_m"], column["height_m"]], axis=1),
            column["yaw_rad"],
            column["num_points"].astype(np.int64),
            column["path_distance_m"],
        )


def find_clusters(points_ego_m: Float, timestamp_ns: int, path_xy_m: Float) -> Clusters:
    """Return object-sized clusters of one sweep, ordered by distance from the ego vehicle.

    The ground is estimated on a 1 m grid, so the terrain need not be flat. What stands 0.3 m to
    2.4 m above it is joined where gaps are small; the joining distance grows with range as the
    gaps between neighbouring points of a beam do, which is measured in the sweep itself. Left
    out: walls and hedges longer than 14 m, what ends below 0.45 m (kerbs, litter) and the ego
    vehicle. Prefers to split rather than to merge: a person beside a car must stay a cluster of
    their own.

    Args:
        points_ego_m: (N, 3) meters; rows with NaN are ignored.
        timestamp_ns: time of the sweep.
        path_xy_m: (P, 2) path driven next, ego frame; may be empty.

    Raises:
        ShapeError: if `points_ego_m` is not (N, 3) or `path_xy_m` not (P, 2).

    Source: grid ground envelope and adaptive joining are ours; orientation by the closeness
    criterion of Zhang et al., "Efficient L-shape fitting", IEEE IV 2017.
    """
    points = np.ascontiguousarray(points_ego_m, dtype=np.float32)
    path = np.ascontiguousarray(path_xy_m, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ShapeError(f"sweep {timestamp_ns}: expected (N, 3) points, got {points.shape}")
    if path.ndim != 2 or path.shape[1] != 2:
        raise ShapeError(f"sweep {timestamp_ns}: expected a (P, 2) path, got {path.shape}")
    ground = terrain.ground_grid(points, REACH_M)
    height = terrain.height_above(points, ground, REACH_M)
    label, count = kernels.join_cells(points, height, REACH_M, kernels.beam_step(points))
    raw = kernels.measure(points, height, label, count)  # x, y, length, width, yaw, top, points
    keep = (
        (raw[:, 6] >= MIN_POINTS)
        & (raw[:, 2] <= MAX_LENGTH_M)
        & (raw[:, 5] >= MIN_TOP_M)
        & (np.hypot(raw[:, 0], raw[:, 1]) <= REACH_M)
    )
    raw = raw[keep]
    raw = raw[np.lexsort((raw[:, 1], raw[:, 0], np.hypot(raw[:, 0], raw[:, 1])))]
    base = terrain.ground_at(raw[:, :2], ground, REACH_M)
    return Clusters(
        np.full(len(raw), timestamp_ns, dtype=np.int64),
        np.stack([raw[:, 0], raw[:, 1], base + raw[:, 5] / 2], axis=1),
        np.ascontiguousarray(raw[:, [2, 3, 5]]),
        raw[:, 4].copy(),
        raw[:, 6].astype(np.int64),
        distance_to_path(raw[:, :2], path),
    )


def distance_to_path(points_xy_m: Float64, path_xy_m: Float64) -> Float64:
    """Return (N,) distance of (N, 2) points to a (P, 2) polyline; inf if it has no point."""
    if len(path_xy_m) == 0 or len(points_xy_m) == 0:
        return np.full(len(points_xy_m), np.inf)
    start, step = path_xy_m[:-1], np.diff(path_xy_m, axis=0)
    if len(path_xy_m) == 1:
        start, step = path_xy_m, np.zeros((1, 2))
    offset = points_xy_m[:, None] - start[None]
    length2 = np.maximum(np.sum(step**2, axis=1), 1e-12)
    ratio = np.clip(np.sum(offset * step, axis=2) / length2, 0.0, 1.0)
    gap = offset - ratio[..., None] * step
    return np.sqrt(np.min(np.sum(gap**2, axis=2), axis=1))
