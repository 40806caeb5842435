"""Annotated frames become an immutable dataset."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from loop.curate import splits
from loop.settle import annotation_node
from loop.turns import model_of_turn
from loop.workspace import Workspace
from scene.errors import DataError
from scene.recording import RecordingId
from storage import layout, lineage, schemas
from storage.boxes import BOX_SCHEMA
from storage.lineage import Node
from storage.manifest import DatasetManifest

SIMULATED_PREFIX = "sim-"


@dataclass(frozen=True)
class _Frame:
    recording: str
    timestamp_ns: int
    split: str
    sweeps_key: str
    annotator: str


def build_dataset(workspace: Workspace, turn: int) -> DatasetManifest:
    """Collect all annotated frames with their splits; write manifest and table row.

    Frames of failed scenarios form the split `sim`: trained on, never evaluated on.

    Raises:
        DataError: if no training frame or no held-out frame is annotated.
    """
    trained = model_of_turn(workspace, turn)
    if trained is not None:
        return DatasetManifest.load(workspace.store, trained["dataset"])
    annotated = workspace.tables.read("annotated_frames").to_pylist()
    split = splits(workspace)
    side = {(name, time): where for name, time, where in split.frames}
    frames = [frame for row in annotated if (frame := _frame(row, side)) is not None]
    frames = _without_excess(frames)
    count = {s: sum(f.split == s for f in frames) for s in ("train", "test", "sim")}
    for needed, why in (("train", "to train on"), ("test", "held out to evaluate on")):
        if not count[needed]:
            raise DataError(f"dataset: no annotated frame {why}; label some, see `starloop status`")
    manifest = DatasetManifest.build(
        pa.Table.from_pylist([vars(frame) for frame in frames]),
        _boxes_of(workspace, frames),
        split.unit,
        tuple(node.digest for node in _parents(workspace, frames)),
    )
    manifest.save(workspace.store)
    lineage.record(
        workspace.tables,
        Node("dataset", f"datasets/{manifest.digest}", manifest.digest),
        _parents(workspace, frames),
    )
    row = {
        "digest": manifest.digest,
        "turn": turn,
        "num_train": count["train"],
        "num_test": count["test"],
        "num_sim": count["sim"],
        "num_boxes": len(manifest.boxes),
        "split_unit": split.unit,
    }
    rows = pa.Table.from_pylist([row], schema=schemas.DATASETS)
    workspace.tables.replace("datasets", rows, {"turn": turn})
    return manifest


def _frame(row: dict, side: dict[tuple[str, int], str]) -> _Frame | None:
    """Return the dataset frame of an annotated frame, or None if it may not be used."""
    name, time = row["recording"], row["timestamp_ns"]
    if name.startswith(SIMULATED_PREFIX):
        return _Frame(name, time, "sim", layout.simulated_sweeps(name), row["annotator"])
    where = side.get((name, time))
    if where not in {"train", "test"}:
        return None
    return _Frame(name, time, where, layout.sweeps(RecordingId(name)), row["annotator"])


def _without_excess(frames: list[_Frame]) -> list[_Frame]:
    """Return the frames in order, simulated ones thinned to half as many as real training frames.

    A small real set would otherwise drown in simulated sweeps of another sensor.
    """
    ordered = sorted(frames, key=lambda frame: (frame.recording, frame.timestamp_ns))
    real = [frame for frame in ordered if frame.split != "sim"]
    simulated = [frame for frame in ordered if frame.split == "sim"]
    room = sum(frame.split == "train" for frame in real) // 2
    stride = max(1, -(-len(simulated) // room)) if room else len(simulated) + 1
    return real + simulated[::stride][:room]


def _boxes_of(workspace: Workspace, frames: list[_Frame]) -> pa.Table:
    """Return the annotations of exactly these frames, ordered by recording and time."""
    table = workspace.tables.read("annotations").select(BOX_SCHEMA.names)
    wanted = {(frame.recording, frame.timestamp_ns) for frame in frames}
    keys = zip(table["recording"].to_pylist(), table["timestamp_ns"].to_pylist(), strict=True)
    kept = table.filter(pa.array([key in wanted for key in keys], pa.bool_()))
    return kept.sort_by([(name, "ascending") for name in ("recording", "timestamp_ns", "track_id")])


def _parents(workspace: Workspace, frames: list[_Frame]) -> list[Node]:
    """Return the annotations that the dataset is made of."""
    annotated = workspace.tables.read("annotated_frames")
    names = sorted({frame.recording for frame in frames})
    column = annotated["recording"].to_pylist()
    return [
        annotation_node(name, annotated.filter(pa.array([c == name for c in column], pa.bool_())))
        for name in names
    ]
