"""Choosing frames, sending them to the labelling team, fetching what came back."""

from collections import Counter

import dagster as dg
import pyarrow as pa

from assets.automation import PER_RECORDING
from assets.ingest import events
from assets.metadata import table
from assets.partitions import RECORDINGS
from loop.curate import EVALUATION, select
from loop.label import pull_annotations, push_tasks
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
    kinds={"delta"},
    automation_condition=PER_RECORDING,
    description="Frames of this recording sent to the labelling backend, with prelabels.",
)
def label_tasks(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult:
    """Push the selected frames of one recording; frames already pushed are not pushed again."""
    rows = push_tasks(workspace, RecordingId(context.partition_key))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(rows),
            "backend": workspace.label_backend().name,
            "note": workspace.label_backend().note,
        }
    )


@dg.asset(
    deps=[label_tasks],
    partitions_def=RECORDINGS,
    group_name="label",
    kinds={"delta"},
    automation_condition=PER_RECORDING,
    description="Boxes that people (or, in the demo, the recording's own ground truth) confirmed.",
)
def annotations(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult:
    """Pull finished annotations of one recording."""
    rows = pull_annotations(workspace, RecordingId(context.partition_key))
    return dg.MaterializeResult(
        metadata={
            "frames": len(rows),
            "boxes": int(sum(rows["num_boxes"].to_pylist())),
            "annotators": ", ".join(sorted(set(rows["annotator"].to_pylist()))) or "nobody yet",
        }
    )
