"""Labelled frames as a training sees them: the points of one or several sweeps, and boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from scene.box import Boxes, count_points
from scene.recording import frame_id
from scene.types import Float32, Mask
from storage.manifest import DatasetManifest
from storage.sweeps import SweepFile
from training.config import TrainConfig

MAX_LAG_S: Final = 1.0  # sweeps older than this are not joined to a frame
_MARGIN_M: Final = 4.0  # kept around the area, for turned and scaled frames
_MARGIN_Z_M: Final = 1.0


@dataclass(frozen=True, slots=True)
class FrameRow:
    """One line of a dataset: where a frame's points are and what was labelled in it.

    Attributes:
        frame_id: `<recording>@<timestamp_ns>`.
        key: object that holds the recording's sweeps.
        timestamp_ns: start of the frame's own sweep.
        boxes: annotations that the settings can use, ego frame; `num_points` is -1 where the
            dataset does not say.
    """

    frame_id: str
    key: str
    timestamp_ns: int
    boxes: Boxes


@dataclass(frozen=True, slots=True)
class TrainFrame:
    """One labelled frame.

    Attributes:
        frame_id: `<recording>@<timestamp_ns>`.
        points: (N, 4) float32 x, y, z (ego at `timestamp_ns`, m), intensity in [0, 1]. With
            `config.num_sweeps` above 1 it is (N, 5): the last column says how many seconds before
            the frame the point's sweep began, 0 for the frame's own sweep.
        boxes: annotations in the ego frame with counted points.
    """

    frame_id: str
    points: Float32
    boxes: Boxes


def num_point_columns(config: TrainConfig) -> int:
    """Return 4 (x, y, z, intensity), or 5 where points of earlier sweeps carry their lag."""
    return 5 if config.num_sweeps > 1 else 4


def frame_rows(
    manifest: DatasetManifest, config: TrainConfig, splits: Sequence[str]
) -> Iterator[FrameRow]:
    """Yield the frames of some splits in the order of the dataset, without reading points."""
    for split in splits:
        for key, recording, time_ns, boxes in manifest.of_split(split):
            name = frame_id(recording, time_ns)
            yield FrameRow(name, key, time_ns, usable_boxes(boxes, config))


def usable_boxes(boxes: Boxes, config: TrainConfig) -> Boxes:
    """Return the boxes of known categories that turning and scaling can bring into the area."""
    near = boxes.range_m() < reach_m(config)
    return boxes.take(np.isin(boxes.category, config.categories) & near)


def read_points(file: SweepFile, timestamp_ns: int, config: TrainConfig) -> Float32:
    """Return the points of a frame: its sweep and up to `config.num_sweeps - 1` before it.

    Earlier sweeps are carried over by the ego's own motion; what else moved leaves a trail, which
    the lag column lets a network read as speed. Points that no variation can bring into the area
    are left out.

    Args:
        file: the recording.
        timestamp_ns: start of the frame's own sweep.
        config: area and number of sweeps.

    Returns:
        (N, 4) or (N, 5) float32, see `TrainFrame.points`; the frame's own sweep comes first.

    Raises:
        DataError: if the recording has no such sweep.
        FormatError: if bytes are damaged.
    """
    index = file.index_of(timestamp_ns)
    parts = []
    for i in earlier_sweeps(file, index, config.num_sweeps):
        sweep = file.read(i)
        xyz = sweep.points_ego_m
        if i != index:
            now_SE3_then = file.map_SE3_ego(index).inverse() @ file.map_SE3_ego(i)
            xyz = now_SE3_then.transform_points(xyz).astype(np.float32)
        columns = [xyz, sweep.intensity[:, None]]
        if config.num_sweeps > 1:
            lag_s = (timestamp_ns - int(file.timestamps_ns[i])) * 1e-9
            columns.append(np.full((len(xyz), 1), lag_s, dtype=np.float32))
        points = np.concatenate(columns, axis=1)
        parts.append(points[within_reach(points, config)])
    return np.concatenate(parts)


def earlier_sweeps(file: SweepFile, index: int, count: int) -> list[int]:
    """Return up to `count` sweeps, newest first: `index` and those at most a second before it."""
    first = int(file.timestamps_ns[index]) - round(MAX_LAG_S * 1e9)
    oldest = int(np.searchsorted(file.timestamps_ns, first))
    return list(range(index, max(oldest, index - count + 1) - 1, -1))


def within_reach(points: Float32, config: TrainConfig) -> Mask:
    """Return which of (N, 4+) points some variation can bring into the area."""
    near = np.hypot(points[:, 0], points[:, 1]) < reach_m(config)
    low, high = config.z_min_m - _MARGIN_Z_M, config.z_max_m + _MARGIN_Z_M
    return near & (points[:, 2] >= low) & (points[:, 2] < high)


def make_frame(name: str, points: Float32, boxes: Boxes, config: TrainConfig) -> TrainFrame:
    """Keep what training can use of (N, 4+) points and boxes; count points where unknown."""
    kept = np.ascontiguousarray(points[within_reach(points, config)], dtype=np.float32)
    return TrainFrame(name, kept, counted(kept, usable_boxes(boxes, config)))


def counted(points: Float32, boxes: Boxes) -> Boxes:
    """Return the boxes with their points counted where the dataset did not.

    Only the frame's own sweep counts, as in datasets that give the number.
    """
    unknown = boxes.num_points < 0
    if not unknown.any():
        return boxes
    own = points if points.shape[1] < 5 else points[points[:, 4] == 0]
    found = count_points(own[:, :3], boxes).num_points
    return replace(boxes, num_points=np.where(unknown, found, boxes.num_points))


def reach_m(config: TrainConfig) -> float:
    """Return how far from the ego origin points can matter after turning."""
    x = max(abs(config.x_min_m), abs(config.x_max_m))
    y = max(abs(config.y_min_m), abs(config.y_max_m))
    return float(np.hypot(x, y)) + _MARGIN_M
