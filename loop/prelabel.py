"""Boxes for people to start from: the champion's, tracked over the whole recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from labeling.tracking.offline import track_offline
from loop.predictions import predict_recording
from loop.turns import champion_id
from loop.workspace import Workspace
from scene.box import Boxes, count_points
from scene.errors import NotFoundError
from scene.recording import RecordingId
from storage import layout
from storage.boxes import arrow_to_boxes, boxes_to_arrow
from storage.sweeps import SweepFile

_MODEL = b"starloop.model"
_INTERPOLATED = "interpolated"
# A box that fewer points speak for than this, and that no detection confirms, is left to people.
_MIN_POINTS = 1


@dataclass(frozen=True, slots=True)
class PrelabelSummary:
    """What was prepared for one recording.

    Attributes:
        model: whose boxes they are; empty where there is no champion.
        num_frames, num_boxes, num_tracks: of the whole recording.
        num_filled: boxes in frames where nothing was detected.
        reused: whether they were there already.
    """

    model: str
    num_frames: int = 0
    num_boxes: int = 0
    num_tracks: int = 0
    num_filled: int = 0
    reused: bool = False


def prelabel_recording(workspace: Workspace, recording: RecordingId) -> PrelabelSummary:
    """Track the champion's boxes through a recording, forwards and backwards, and keep them.

    One size and class a track, gaps filled, what stands still refined over all its frames. Nothing
    is done without a champion.
    """
    model = champion_id(workspace)
    if model is None:
        return PrelabelSummary("")
    known = _load(workspace, recording, model)
    if known is not None:
        return _summary(model, known, reused=True)
    found = predict_recording(workspace, model, recording)
    times = sorted(found)
    with SweepFile(workspace.store, layout.sweeps(recording)) as sweeps:
        poses = [sweeps.map_SE3_ego(sweeps.index_of(time)) for time in times]
        tracked = track_offline(
            [found[time] for time in times], np.array(times, dtype=np.int64), poses
        )
        frames: dict[int, Boxes] = {}
        filled: list[np.ndarray] = []
        for time, boxes, gap in zip(times, tracked.boxes, tracked.interpolated, strict=True):
            points = sweeps.read(sweeps.index_of(time)).points_ego_m
            counted = count_points(points, boxes)
            kept = ~gap | (counted.num_points >= _MIN_POINTS)
            frames[time] = counted.take(kept)
            filled.append(gap[kept])
    table = boxes_to_arrow(recording, frames)
    flags = np.concatenate(filled) if filled else np.zeros(0, dtype=bool)
    table = table.append_column(_INTERPOLATED, pa.array(flags, pa.bool_()))
    table = table.replace_schema_metadata({_MODEL: model.encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    workspace.store.put(layout.prelabels(recording), sink.getvalue().to_pybytes())
    return _summary(model, table, reused=False)


def read_prelabels(
    workspace: Workspace, recording: RecordingId, model: str
) -> dict[int, Boxes] | None:
    """Return the prelabels by `timestamp_ns`, or None if there are none of this model."""
    table = _load(workspace, recording, model)
    return None if table is None else arrow_to_boxes(table)


def _load(workspace: Workspace, recording: RecordingId, model: str) -> pa.Table | None:
    try:
        with workspace.store.open(layout.prelabels(recording)) as file:
            table = pq.read_table(file)
    except NotFoundError:
        return None
    return table if (table.schema.metadata or {}).get(_MODEL) == model.encode() else None


def _summary(model: str, table: pa.Table, *, reused: bool) -> PrelabelSummary:
    return PrelabelSummary(
        model,
        len(set(table["timestamp_ns"].to_pylist())),
        len(table),
        len(set(table["track_id"].to_pylist())),
        sum(table[_INTERPOLATED].to_pylist()),
        reused,
    )
