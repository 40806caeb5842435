"""What a model says about a recording, computed once and kept under the model's id."""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet as pq

from loop.workspace import Workspace
from scene.box import Boxes
from scene.recording import RecordingId
from serving.detector import OnnxDetector
from storage import layout
from storage.boxes import arrow_to_boxes, boxes_to_arrow
from storage.sweeps import SweepFile

_TIMES = b"starloop.timestamps_ns"


@lru_cache(maxsize=2)
def load_detector(workspace: Workspace, model_id: str) -> OnnxDetector:
    """Return the exported model, ready to run; two are kept loaded."""
    return OnnxDetector.load(workspace.store, model_id, num_threads=workspace.config.num_threads)


def predict_recording(
    workspace: Workspace,
    model_id: str,
    recording: RecordingId,
    timestamps_ns: list[int] | None = None,
) -> dict[int, Boxes]:
    """Return predictions by `timestamp_ns`, for all sweeps or for the given ones.

    Frames that the model has already seen are read from the bucket; new ones are added to it.
    """
    known = _stored(workspace, model_id, recording)
    with SweepFile(workspace.store, layout.sweeps(recording)) as sweeps:
        wanted = sweeps.timestamps_ns.tolist() if timestamps_ns is None else timestamps_ns
        missing = [time for time in wanted if time not in known]
        if missing:
            detector = load_detector(workspace, model_id)
            for time in missing:
                sweep = sweeps.read(sweeps.index_of(time))
                known[time] = detector.detect(sweep.points_ego_m, sweep.intensity)
            _store(workspace, model_id, recording, known)
    return {time: known[time] for time in wanted}


def known_predictions(
    workspace: Workspace, model_id: str, recording: RecordingId
) -> dict[int, Boxes]:
    """Return what the model has said about a recording so far, by `timestamp_ns`."""
    return _stored(workspace, model_id, recording)


def _stored(workspace: Workspace, model_id: str, recording: RecordingId) -> dict[int, Boxes]:
    key = layout.predictions(model_id, recording)
    if not workspace.store.exists(key):
        return {}
    with workspace.store.open(key) as file:
        table = pq.read_table(file)
    looked_at = (table.schema.metadata or {}).get(_TIMES, b"")
    boxes = arrow_to_boxes(table)
    times = [int(text) for text in looked_at.decode().split()]
    return {time: boxes.get(time, Boxes.empty()) for time in times}


def _store(
    workspace: Workspace, model_id: str, recording: RecordingId, known: dict[int, Boxes]
) -> None:
    """Write predictions; the frames looked at go into the metadata, as some have no boxes."""
    table = boxes_to_arrow(recording, known)
    times = " ".join(str(time) for time in sorted(known)).encode()
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({_TIMES: times}), sink, compression="zstd")
    workspace.store.put(layout.predictions(model_id, recording), sink.getvalue().to_pybytes())
