"""Boxes as Arrow columns: the one schema of ground truth, annotations and predictions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from scene.box import Boxes

BOX_SCHEMA = pa.schema(
    [
        pa.field("recording", pa.string(), nullable=False),
        pa.field("timestamp_ns", pa.int64(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("track_id", pa.string(), nullable=False),
        *(
            pa.field(name, pa.float64(), nullable=False)
            for name in ("x_m", "y_m", "z_m", "length_m", "width_m", "height_m", "yaw_rad")
        ),
        pa.field("vx_mps", pa.float64()),
        pa.field("vy_mps", pa.float64()),
        pa.field("score", pa.float64()),
        pa.field("num_points", pa.int64(), nullable=False),
    ]
)


def boxes_to_arrow(recording: str, frames: Mapping[int, Boxes]) -> pa.Table:
    """Return one row a box, ego frame of its `timestamp_ns`, in the order of the frames.

    Unknown velocities and scores (NaN) become nulls. A frame without boxes leaves no row: the
    caller's frame table says which frames were looked at.
    """
    times = sorted(frames)
    boxes = Boxes.concatenate([frames[t] for t in times])
    counts = [len(frames[t]) for t in times]
    columns = {
        "recording": np.full(len(boxes), recording),
        "timestamp_ns": np.repeat(np.array(times, dtype=np.int64), counts),
        "category": boxes.category,
        "track_id": boxes.track_id,
        "x_m": boxes.center_xyz_m[:, 0],
        "y_m": boxes.center_xyz_m[:, 1],
        "z_m": boxes.center_xyz_m[:, 2],
        "length_m": boxes.size_lwh_m[:, 0],
        "width_m": boxes.size_lwh_m[:, 1],
        "height_m": boxes.size_lwh_m[:, 2],
        "yaw_rad": boxes.yaw_rad,
        "vx_mps": boxes.velocity_xy_mps[:, 0],
        "vy_mps": boxes.velocity_xy_mps[:, 1],
        "score": boxes.score,
        "num_points": boxes.num_points,
    }
    nullable = {"vx_mps", "vy_mps", "score"}
    arrays = [
        pa.array(columns[field.name], type=field.type, from_pandas=field.name in nullable)
        for field in BOX_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=BOX_SCHEMA)


def arrow_to_boxes(table: pa.Table) -> dict[int, Boxes]:
    """Return boxes by `timestamp_ns` of the rows of one recording; extra columns are ignored."""
    column = {name: table.column(name).to_numpy() for name in BOX_SCHEMA.names[1:]}
    order = np.argsort(column["timestamp_ns"], kind="stable")
    boxes = Boxes.make(
        np.stack([column["x_m"], column["y_m"], column["z_m"]], 1),
        np.stack([column["length_m"], column["width_m"], column["height_m"]], 1),
        column["yaw_rad"],
        column["category"].astype(np.str_),
        np.stack([column["vx_mps"], column["vy_mps"]], 1).astype(np.float64),
        column["track_id"].astype(np.str_),
        column["score"].astype(np.float64),
        column["num_points"],
    ).take(order)
    times, starts = np.unique(column["timestamp_ns"][order], return_index=True)
    ends = np.append(starts[1:], len(order))[: len(times)]
    return {
        int(t): boxes.take(np.arange(start, end))
        for t, start, end in zip(times, starts, ends, strict=True)
    }
