"""Labels of a recording that are probably wrong, into table `label_errors`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from curation.clusters import Clusters
from labeling.qa.errors import find_errors
from labeling.qa.labels import LabelSet
from labeling.qa.suspicion import Suspicion
from loop.curate import load_drive
from loop.predictions import known_predictions
from loop.turns import champion_id
from loop.workspace import Workspace
from scene.box import Boxes
from scene.recording import RecordingId
from scene.sweep import Sweep
from storage import layout, schemas
from storage.boxes import arrow_to_boxes
from storage.sweeps import SweepFile, read_poses

_MAX_ROWS = 500
_FULL_POINTS = 120.0  # a cluster of so many points looks as much like an object as it can
_OBJECT_LENGTH_M = (0.4, 7.0)
_OBJECT_HEIGHT_M = (0.6, 3.5)


def find_label_errors(workspace: Workspace, recording: RecordingId) -> pa.Table:
    """Look through a recording's annotations; write and return its rows of `label_errors`.

    Sweeps are read at annotated times only. The champion's boxes help where it has looked already;
    it is not run for this.
    """
    labels = recording_labels(workspace, recording)
    found: list[Suspicion] = []
    if len(labels.frame_times_ns):
        champion = champion_id(workspace)
        detections = known_predictions(workspace, champion, recording) if champion else {}
        times = set(labels.frame_times_ns.tolist())
        found = find_errors(
            labels,
            _sweeps(workspace, recording, times),
            {time: boxes for time, boxes in detections.items() if time in times},
            _look_like_objects(load_drive(workspace, recording).clusters, times),
        )
    rows = [_row(recording, one) for one in found[:_MAX_ROWS]]
    table = pa.Table.from_pylist(rows, schema=schemas.LABEL_ERRORS)
    workspace.tables.replace("label_errors", table, {"recording": recording})
    return table


def recording_labels(workspace: Workspace, recording: RecordingId) -> LabelSet:
    """Return the annotations of a recording with their tracks."""
    where = {"recording": recording}
    looked_at = workspace.tables.read("annotated_frames", where, ["timestamp_ns"])
    boxes = arrow_to_boxes(workspace.tables.read("annotations", where))
    times = looked_at["timestamp_ns"].to_pylist()
    frames = {time: boxes.get(time, Boxes.empty()) for time in times}
    return LabelSet.make(recording, frames, read_poses(workspace.store, layout.poses(recording)))


def _sweeps(workspace: Workspace, recording: RecordingId, times: set[int]) -> Iterator[Sweep]:
    with SweepFile(workspace.store, layout.sweeps(recording)) as sweeps:
        for time in sorted(times):
            yield sweeps.read(sweeps.index_of(time))


def _look_like_objects(clusters: Clusters, times: set[int]) -> dict[int, Boxes]:
    """Return clusters of the size of objects as boxes; the score grows with their points."""
    length, height = clusters.size_lwh_m[:, 0], clusters.size_lwh_m[:, 2]
    fits = (length >= _OBJECT_LENGTH_M[0]) & (length <= _OBJECT_LENGTH_M[1])
    fits &= (height >= _OBJECT_HEIGHT_M[0]) & (height <= _OBJECT_HEIGHT_M[1])
    size = np.maximum(clusters.size_lwh_m, 0.1)
    score = np.clip(clusters.num_points / _FULL_POINTS, 0.0, 1.0)
    boxes = Boxes.make(
        clusters.center_xyz_m, size, clusters.yaw_rad, np.where(length < 1.2, "pedestrian", "car"),
        score=score, num_points=clusters.num_points,
    )  # fmt: skip
    found = {}
    for time in sorted(times):
        mine = boxes.take(fits & (clusters.timestamp_ns == time))
        found[time] = replace(mine, track_id=np.full(len(mine), ""))
    return found


def _row(recording: str, one: Suspicion) -> dict[str, object]:
    x, y, z = one.center_ego_m.tolist()
    return {
        "recording": recording,
        "timestamp_ns": one.timestamp_ns,
        "kind": one.kind,
        "score": one.score,
        "category": one.category,
        "track_id": one.track_id,
        "x_m": x,
        "y_m": y,
        "z_m": z,
        "reason": one.reason,
        "num_boxes": max(len(one.members), len(one.absent_ns)),
    }
