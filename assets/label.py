"""Choosing frames, sending them to the labelling team, fetching what came back."""

from collections import Counter

import dagster as dg
import pyarrow as pa

from assets.automation import PER_RECORDING
from assets.ingest import events
from assets.label_checks import SETTLED, TASKS_MADE, settled_result, tasks_result
from assets.metadata import table
from assets.partitions import RECORDINGS
from loop.curate import EVALUATION, select
from loop.label import push_tasks, wanted_frames
from loop.prelabel import PrelabelSummary, prelabel_recording
from loop.settle import pull_annotations
from loop.turns import current_turn
from loop.workspace import Workspace
from scene.recording import RecordingId


@dg.asset(
    deps=[events],
    group_name="label",
    kinds={"delta"},
    description="The frames to label next, each with the reason it was picked.",
)
def selection(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult:
    """Mine the pool with triggers, open issues, the champion's doubt and a random control."""
    turn = current_turn(workspace)
    rows = select(workspace, turn, progress=context.log.info)
    arms = Counter(rows["arm"].to_pylist())
    wanted = [arm != EVALUATION for arm in rows["arm"].to_pylist()]
    picked = rows.filter(pa.array(wanted, pa.bool_()))
    return dg.MaterializeResult(
        metadata={
            "turn": turn,
            "dagster/row_count": len(rows),
            "arms": table([{"arm": arm, "frames": count} for arm, count in sorted(arms.items())]),
            "picked": table(picked.select(["recording", "arm", "reason"]).to_pylist()),
        }
    )


@dg.asset(
    deps=[selection],
    partitions_def=RECORDINGS,
    group_name="label",
    kinds={"parquet"},
    automation_condition=PER_RECORDING,
    description="The champion's boxes tracked through the whole recording, for people to start at.",
)
def prelabels(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult:
    """Track forwards and backwards; nothing is done where nobody labels or nothing is selected."""
    recording = RecordingId(context.partition_key)
    needed = workspace.people_label and bool(wanted_frames(workspace, recording))
    made = prelabel_recording(workspace, recording) if needed else PrelabelSummary("")
    return dg.MaterializeResult(
        metadata={
            "model": made.model or "none needed, or no champion yet",
            "frames": made.num_frames,
            "boxes": made.num_boxes,
            "tracks": made.num_tracks,
            "boxes_where_nothing_was_detected": made.num_filled,
            "reused": made.reused,
        }
    )


@dg.asset(
    deps=[selection, prelabels],
    partitions_def=RECORDINGS,
    group_name="label",
    kinds={"delta"},
    automation_condition=PER_RECORDING,
    check_specs=[TASKS_MADE],
    description="Frames of this recording sent to the labelling backend, with prelabels.",
)
def label_tasks(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult:
    """Push the selected frames of one recording; frames already pushed are not pushed again."""
    recording = RecordingId(context.partition_key)
    rows = push_tasks(workspace, recording)
    place = workspace.label_place()
    mine = zip(rows["purpose"].to_pylist(), rows["backend"].to_pylist(), strict=True)
    purposes = Counter(purpose for purpose, backend in mine if backend == place.name)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(rows),
            "frames_to_label": purposes["label"],
            "honeypots": purposes["honeypot"],
            "prelabels": sum(rows["num_prelabels"].to_pylist()),
            "backend": place.name,
            "note": place.note,
        },
        check_results=[tasks_result(rows, wanted_frames(workspace, recording))],
    )


@dg.asset(
    deps=[label_tasks],
    partitions_def=RECORDINGS,
    group_name="label",
    kinds={"delta"},
    automation_condition=PER_RECORDING,
    check_specs=[SETTLED],
    description="Boxes that people (or, in the demo, the recording's own ground truth) confirmed.",
)
def annotations(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult:
    """Pull finished answers of one recording and settle them."""
    recording = RecordingId(context.partition_key)
    rows = pull_annotations(workspace, recording)
    reviews = workspace.tables.read("label_reviews", {"recording": recording}).to_pylist()
    wanted = set(wanted_frames(workspace, recording))
    seconds = [value for value in rows["seconds"].to_pylist() if value is not None]
    return dg.MaterializeResult(
        metadata={
            "frames": len(rows),
            "waiting": len(wanted - set(rows["timestamp_ns"].to_pylist())),
            "boxes": int(sum(rows["num_boxes"].to_pylist())),
            "seconds_spent": round(sum(seconds), 1),
            "in_review": sum(row["state"] == "waiting" for row in reviews),
            "annotators": ", ".join(sorted(set(rows["annotator"].to_pylist()))) or "nobody yet",
        },
        check_results=[settled_result(reviews)],
    )
