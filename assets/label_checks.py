"""Checks of the way of a label: nothing forgotten or in dispute, good enough, not too dear."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg
import pyarrow as pa

from assets.metadata import table
from assets.partitions import RECORDINGS
from loop.label_quality import LabelQuality

# Below these, labels are not what one should train on without a look.
LEAST_F1: Final = 0.8
LEAST_HONEYPOT_SCORE: Final = 0.85
MOST_ERRORS: Final = 0.02  # suspicions for each box
_WARN: Final = dg.AssetCheckSeverity.WARN

with warnings.catch_warnings():
    # Partitioned checks work in the pinned Dagster; its warning would greet every user.
    warnings.filterwarnings("ignore", message=".*partitions_def.*", category=dg.PreviewWarning)
    TASKS_MADE: Final = dg.AssetCheckSpec(
        "every_selected_frame_has_one_task",
        asset="label_tasks",
        blocking=True,
        description="No selected frame was forgotten, and none was sent twice.",
        partitions_def=RECORDINGS,
    )
    SETTLED: Final = dg.AssetCheckSpec(
        "nothing_in_dispute",
        asset="annotations",
        description="No frame waits for a reviewer. Disputed frames are no annotations.",
        partitions_def=RECORDINGS,
    )
QUALITY: Final = (
    dg.AssetCheckSpec(
        "annotators_agree",
        asset="label_quality",
        description=f"People agree about the same frames: F1 at BEV IoU 0.5 of {LEAST_F1} or more.",
    ),
    dg.AssetCheckSpec(
        "honeypots_answered_well",
        asset="label_quality",
        description=f"F1 on frames with a known answer is {LEAST_HONEYPOT_SCORE} or more.",
    ),
    dg.AssetCheckSpec(
        "prelabels_save_time",
        asset="label_quality",
        description="A box takes less time with prelabels than without.",
    ),
    dg.AssetCheckSpec(
        "few_probable_errors",
        asset="label_quality",
        description=f"Fewer than {MOST_ERRORS:.0%} suspicions for each box.",
    ),
)


def tasks_result(rows: pa.Table, wanted: Mapping[int, int]) -> dg.AssetCheckResult:
    """Return whether each selected frame has exactly one task."""
    times = rows["timestamp_ns"].to_pylist()
    backends = rows["backend"].to_pylist()
    missing = len(set(wanted) - set(times))
    twice = len(times) - len(set(zip(times, backends, strict=True)))
    return dg.AssetCheckResult(
        check_name=TASKS_MADE.name,
        passed=not missing and not twice,
        metadata={"without_a_task": missing, "with_two_tasks": twice},
    )


def settled_result(reviews: Sequence[Mapping[str, Any]]) -> dg.AssetCheckResult:
    """Return whether a reviewer is waited for."""
    waiting = [row for row in reviews if row["state"] == "waiting"]
    waiting.sort(key=lambda row: -row["severity"])
    shown = [{"time": str(r["timestamp_ns"]), "why": r["reason"], "task": r["task_id"]}
             for r in waiting]  # fmt: skip
    return dg.AssetCheckResult(
        check_name=SETTLED.name,
        passed=not waiting,
        severity=_WARN,
        metadata={"waiting": len(waiting), "decided": len(reviews) - len(waiting),
                  "disputes": table(shown)},
    )  # fmt: skip


def quality_results(quality: LabelQuality) -> list[dg.AssetCheckResult]:
    """Return one result for each check of `label_quality`; what nobody measured passes."""
    f1 = quality.agreement[0].f1_50 if quality.agreement else math.nan
    helped = quality.seconds_per_box("with prelabels")
    alone = quality.seconds_per_box("without prelabels")
    share = quality.num_errors / quality.num_boxes if quality.num_boxes else math.nan
    score = quality.honeypot_score
    figures = (
        (QUALITY[0], f1 >= LEAST_F1, {"f1": f1}),
        (QUALITY[1], score >= LEAST_HONEYPOT_SCORE, {"f1": score}),
        (QUALITY[2], helped < alone, {"seconds_with": helped, "seconds_without": alone}),
        (QUALITY[3], share < MOST_ERRORS, {"suspicions_for_each_box": share}),
    )
    return [_result(spec, good, values) for spec, good, values in figures]


def _result(
    spec: dg.AssetCheckSpec, good: bool, values: Mapping[str, float]
) -> dg.AssetCheckResult:
    unknown = any(math.isnan(value) for value in values.values())
    shown = {name: float(value) for name, value in values.items() if not math.isnan(value)}
    return dg.AssetCheckResult(
        check_name=spec.name,
        passed=unknown or bool(good),
        severity=_WARN,
        description="not measured yet" if unknown else None,
        metadata=shown,
    )
