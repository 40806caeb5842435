"""Events of a recording, and which frames to label next."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.clusters import Clusters, find_clusters
from curation.issues import Issue, trigger_for
from curation.selection import Policy, frame_uncertainty, select_frames
from curation.signal_triggers import fire_signals
from curation.triggers import Drive, Event, ego_path, events_to_arrow, fire_all
from loop.duplicates import groups_with_shared_moments
from loop.predictions import predict_recording
from loop.turns import champion_id, model_of_turn
from loop.workspace import Workspace
from scene.box import Boxes
from scene.recording import RecordingId
from scene.types import Float64
from storage import layout, schemas
from storage.manifest import assign_splits
from storage.signals import read_signals
from storage.sweeps import SweepFile, read_poses

Progress = Callable[[str], None]
EVALUATION = "evaluation"  # arm of the held-out frames: measured on, never trained on
_POOL_BUDGETS = 8  # frames looked at for each frame to label
_FIRST_SET_SPACING = 3  # label every third frame at most: neighbours teach little, and the rest
# is what later turns choose from


def detect_events(workspace: Workspace, recording: RecordingId) -> pa.Table:
    """Run all triggers over a recording; write and return its rows of table `events`."""
    drive = load_drive(workspace, recording, refresh=True)
    found = [*fire_all(drive), *fire_signals(read_signals(workspace.store, recording))]
    found.sort(key=lambda event: (event.start_ns, event.trigger, event.end_ns))
    rows = events_to_arrow({recording: found})
    workspace.tables.replace("events", rows, {"recording": recording})
    return rows


def load_drive(workspace: Workspace, recording: RecordingId, *, refresh: bool = False) -> Drive:
    """Return what triggers look at; point clusters are found once and kept.

    A recording without a lidar has poses at most.
    """
    trajectory = read_poses(workspace.store, layout.poses(recording))
    rows = workspace.tables.read("recordings", {"recording": recording}).to_pylist()
    if rows and rows[0]["status"] == "ok" and not rows[0]["num_sweeps"]:
        none = np.zeros(0, dtype=np.int64)
        return Drive(recording, trajectory, none, none, Clusters.empty())
    key = layout.clusters(recording)
    with SweepFile(workspace.store, layout.sweeps(recording)) as sweeps:
        times, num_points = sweeps.timestamps_ns, sweeps.num_points
        if refresh or not workspace.store.exists(key):
            parts = []
            for index in range(len(sweeps)):
                sweep = sweeps.read(index)
                path = ego_path(trajectory, sweep.timestamp_ns, ahead_m=50.0)
                parts.append(find_clusters(sweep.points_ego_m, sweep.timestamp_ns, path))
            _write_clusters(workspace, key, parts)
    with workspace.store.open(key) as file:
        clusters = Clusters.from_arrow(pq.read_table(file))
    return Drive(recording, trajectory, times, num_points, clusters)


def _write_clusters(workspace: Workspace, key: str, parts: list[Clusters]) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables([part.to_arrow() for part in parts]), sink, compression="zstd")
    workspace.store.put(key, sink.getvalue().to_pybytes())


def usable_recordings(workspace: Workspace) -> list[dict]:
    """Return the rows of table `recordings` that can be learnt from, in order of time.

    Those that are quarantined and those without sweeps cannot.
    """
    read = workspace.tables.read("recordings", {"status": "ok"}).to_pylist()
    rows = [row for row in read if row["num_sweeps"]]
    return sorted(rows, key=lambda row: (row["start_ns"], row["recording"]))


@dataclass(frozen=True)
class Splits:
    """Which side every frame is on.

    Attributes:
        frames: (recording, timestamp_ns, side), recordings in order of time.
        unit: `recording`, or `segment` when there was only one recording, or only copies of one.
    """

    frames: tuple[tuple[str, int, str], ...]
    unit: str

    def of(self, side: str) -> list[tuple[str, int]]:
        """Return the frames on one side."""
        return [(recording, time) for recording, time, where in self.frames if where == side]


def splits(workspace: Workspace) -> Splits:
    """Return the split of every frame.

    By recording, so that no drive is on both sides; recordings that share moments are on one side.
    With fewer than two drives there is nothing to hold out: then the end of the drive is held
    out, behind a gap, and the unit is `segment`, which the report says is optimistic.
    """
    names = [row["recording"] for row in usable_recordings(workspace)]
    rows = workspace.tables.read("frames", columns=["recording", "timestamp_ns"])
    times: dict[str, list[int]] = {name: [] for name in names}
    for name, time in zip(*(rows[c].to_pylist() for c in rows.column_names), strict=True):
        if name in times:
            times[name].append(time)
    frames = [(name, time) for name in names for time in sorted(times[name])]
    groups = groups_with_shared_moments(workspace.tables, names)
    if len(names) - sum(len(group) - 1 for group in groups) >= 2:
        side = assign_splits(names, workspace.config.test_share, groups)
        return Splits(tuple((name, time, side[name]) for name, time in frames), "recording")
    frames.sort(key=lambda frame: (frame[1], frame[0]))  # copies hold the same moments
    cut = len(frames) - round(len(frames) * workspace.config.test_share)
    gap = max(len(names), len(frames) // 20)
    return Splits(
        tuple(
            (name, time, "test" if i >= cut else "train" if i < cut - gap else "gap")
            for i, (name, time) in enumerate(frames)
        ),
        "segment",
    )


def select(workspace: Workspace, turn: int, progress: Progress | None = None) -> pa.Table:
    """Choose the frames to label in this turn; write and return rows of table `selections`.

    Turn 0 takes the first labelled set from the earliest recordings. Later turns mine with the
    champion. Both add the frames that the metrics are measured on, which no turn trains on.
    """
    if model_of_turn(workspace, turn) is not None:
        return workspace.tables.read("selections", {"turn": turn})
    split = splits(workspace)
    champion = champion_id(workspace)
    training = (
        _first_frames(split.of("train"), workspace.config.bootstrap_frames)
        if champion is None
        else _mined_frames(workspace, mining_pool(workspace, split), champion, turn, progress)
    )
    held_out = _evaluation_frames(split.of("test"), workspace.config.evaluation_stride)
    rows = pa.concat_tables([training, held_out])
    rows = rows.append_column("turn", pa.array([turn] * len(rows), pa.int64()))
    rows = rows.select(schemas.SELECTIONS.names).cast(schemas.SELECTIONS)
    workspace.tables.replace("selections", rows, {"turn": turn})
    return rows


def _selection(frames: list[tuple[str, int]], arm: str, reason: str) -> pa.Table:
    rows = [
        {
            "recording": recording,
            "timestamp_ns": timestamp,
            "arm": arm,
            "reason": reason,
            "issue_id": "",
            "score": 0.0,
        }
        for recording, timestamp in frames
    ]
    schema = schemas.SELECTIONS.remove(schemas.SELECTIONS.get_field_index("turn"))
    return pa.Table.from_pylist(rows, schema=schema)


def _first_frames(frames: list[tuple[str, int]], budget: int) -> pa.Table:
    """Return the first labelled set: evenly spaced frames of the earliest drives."""
    count = min(budget, -(-len(frames) // _FIRST_SET_SPACING))
    pool = frames[: _FIRST_SET_SPACING * count]
    index = np.unique(np.linspace(0, len(pool) - 1, min(count, len(pool))).round().astype(int))
    chosen = [pool[i] for i in index]
    return _selection(chosen, "bootstrap", "first labelled set: the earliest drives, evenly spaced")


def _evaluation_frames(frames: list[tuple[str, int]], stride: int) -> pa.Table:
    """Return the held-out frames that metrics are measured on."""
    chosen = _every(frames, stride)
    return _selection(chosen, EVALUATION, "held-out drive: measured on, never trained on")


def _mined_frames(
    workspace: Workspace,
    keys: list[tuple[str, int]],
    champion: str,
    turn: int,
    progress: Progress | None,
) -> pa.Table:
    """Return frames that triggers, open issues, the champion's doubt and chance ask for."""
    pool = pa.table({"recording": [k[0] for k in keys], "timestamp_ns": [k[1] for k in keys]})
    issues = open_issues(workspace)
    uncertainty: list[Float64] = []
    issue_events: list[pa.Table] = []
    names = list(dict.fromkeys(key[0] for key in keys))
    for done, name in enumerate(names):
        recording = RecordingId(name)
        times = [key[1] for key in keys if key[0] == name]
        predictions = predict_recording(workspace, champion, recording, times)
        uncertainty.append(frame_uncertainty(predictions, times))
        issue_events.append(
            _issue_rows(name, fire_issues(workspace, recording, issues, predictions))
        )
        if progress:
            progress(f"mined {done + 1}/{len(names)} recordings")
    policy = Policy(
        budget=workspace.config.label_budget,
        control_share=workspace.config.control_share,
        min_gap_s=_gap_s(keys, workspace.config.min_gap_s, workspace.config.label_budget),
        seed=workspace.config.seed + turn,
    )
    return select_frames(
        pool,
        workspace.tables.read("events"),
        pa.concat_tables(issue_events or [_issue_rows("", {})]),
        np.concatenate(uncertainty) if uncertainty else np.zeros(0),
        labelled_frames(workspace) - _selected_now(workspace, turn),
        policy,
    )


def _gap_s(frames: list[tuple[str, int]], wanted_s: float, budget: int) -> float:
    """Return the least time between chosen frames: shorter when there is little to choose from."""
    drives = [
        [time for _, time in drive]
        for _, drive in itertools.groupby(frames, key=lambda frame: frame[0])
    ]
    driven_s = sum((max(times) - min(times)) / 1e9 for times in drives)
    return min(wanted_s, driven_s / (2 * budget))


def _selected_now(workspace: Workspace, turn: int) -> set[tuple[str, int]]:
    """Return the frames that this turn was the first to select: selecting again may keep them."""
    rows = workspace.tables.read("selections").to_pylist()
    now = {(r["recording"], r["timestamp_ns"]) for r in rows if r["turn"] == turn}
    return now - {(r["recording"], r["timestamp_ns"]) for r in rows if r["turn"] < turn}


def _issue_rows(recording: str, fired: Mapping[str, Sequence[Event]]) -> pa.Table:
    """Return events of issues as rows of table `events` with the issue's id."""
    tables = []
    for issue_id, events in fired.items():
        rows = events_to_arrow({recording: events})
        column = pa.array([issue_id] * len(rows), pa.string())
        tables.append(rows.append_column("issue_id", column))
    empty = schemas.EVENTS.append(pa.field("issue_id", pa.string())).empty_table()
    return pa.concat_tables([empty, *tables])


def fire_issues(
    workspace: Workspace,
    recording: RecordingId,
    issues: Sequence[Issue],
    predictions: Mapping[int, Boxes],
) -> dict[str, list[Event]]:
    """Return by issue where its trigger fires, at the times that have predictions."""
    if not issues:
        return {}
    drive = load_drive(workspace, recording)
    return {
        issue.issue_id: trigger_for(issue).fire(drive, predictions, predictions.keys())
        for issue in issues
    }


def mining_pool(workspace: Workspace, split: Splits) -> list[tuple[str, int]]:
    """Return the frames that the champion looks through for the next labels.

    Evenly thinned to a few times the budget: neighbours are never chosen together anyway.
    """
    frames = split.of("train")
    return _every(frames, len(frames) // (_POOL_BUDGETS * workspace.config.label_budget))


def _every(frames: list[tuple[str, int]], stride: int) -> list[tuple[str, int]]:
    """Return every `stride`-th frame of each drive, its first one always."""
    return [
        frame
        for _name, drive in itertools.groupby(frames, key=lambda frame: frame[0])
        for frame in list(drive)[:: max(1, stride)]
    ]


def open_issues(workspace: Workspace) -> list[Issue]:
    """Return the known weaknesses that are not resolved."""
    rows = workspace.tables.read("issues", {"state": "open"}).to_pylist()
    return [Issue.from_row(row) for row in sorted(rows, key=lambda row: row["issue_id"])]


def labelled_frames(workspace: Workspace) -> set[tuple[str, int]]:
    """Return the frames that have annotations."""
    rows = workspace.tables.read("annotated_frames", columns=["recording", "timestamp_ns"])
    return set(zip(rows["recording"].to_pylist(), rows["timestamp_ns"].to_pylist(), strict=True))
