"""How good and how dear the labels are."""

import math
from dataclasses import asdict

import dagster as dg

from assets.automation import ON_NEW_DATA, PER_RECORDING
from assets.label import annotations
from assets.label_checks import QUALITY, quality_results
from assets.metadata import picture, table
from assets.partitions import RECORDINGS
from labeling.qa.suspicion import LOOK_SCORE
from loop.label_errors import find_label_errors
from loop.label_quality import LabelQuality, measure_labels
from loop.label_tables import agreement_table, annotator_table, cost_table, error_table
from loop.workspace import Workspace
from scene.recording import RecordingId
from storage import layout


@dg.asset(
    deps=[annotations],
    partitions_def=RECORDINGS,
    group_name="label",
    kinds={"delta"},
    automation_condition=PER_RECORDING,
    description="Labels that are probably wrong, worst first, each with the reason.",
)
def label_errors(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult:
    """Compare labels with their tracks, their class, the points and the champion."""
    rows = find_label_errors(workspace, RecordingId(context.partition_key))
    scores = rows["score"].to_pylist()
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(rows),
            "worth_a_look": sum(score >= LOOK_SCORE for score in scores),
            "worst": table(error_table(rows.to_pylist())),
        }
    )


@dg.asset(
    deps=[annotations, label_errors],
    group_name="label",
    kinds={"delta"},
    automation_condition=ON_NEW_DATA,
    check_specs=QUALITY,
    description="Tasks waiting and done, agreement, honeypots, annotators, cost a box.",
)
def label_quality(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
    """Measure everything that people answered, and draw the worst disagreements."""
    quality = measure_labels(workspace)
    pictures = {
        f"worst_disagreement_{i + 1}": picture(workspace.store, layout.label_picture(i), reason)
        for i, (_, reason) in enumerate(quality.worst[:3])
    }
    return dg.MaterializeResult(
        metadata={
            **_headline(quality),
            "agreement": table(agreement_table(quality)),
            "annotators": table(annotator_table(quality)),
            "cost": table(cost_table(quality)),
            **pictures,
        },
        check_results=quality_results(quality),
    )


def _headline(quality: LabelQuality) -> dict[str, float]:
    """Return the figures that are plotted over time; those that nobody measured are left out."""
    counts = {f"tasks_{k.removeprefix('num_')}": v for k, v in asdict(quality.tasks).items()}
    first = quality.agreement[0] if quality.agreement else None
    figures = {
        "tasks_waiting": quality.tasks.num_waiting,
        **counts,
        "agreement_f1": first.f1_50 if first else math.nan,
        "agreement_alpha_class": first.alpha_class if first else math.nan,
        "honeypot_score": quality.honeypot_score,
        "seconds_per_box": quality.seconds_per_box(),
        "seconds_per_box_with_prelabels": quality.seconds_per_box("with prelabels"),
        "seconds_per_box_without_prelabels": quality.seconds_per_box("without prelabels"),
        "prelabel_correction_rate": quality.correction_rate.value,
        "probable_errors": quality.num_errors,
    }
    known = {name: value for name, value in figures.items() if not math.isnan(value)}
    return {name: v if isinstance(v, int) else round(float(v), 4) for name, v in known.items()}
