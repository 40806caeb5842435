"""Figures about labels as rows of text, the same for the web page and the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from labeling.qa.intervals import Estimate
from loop.label_quality import LabelQuality

Row = dict[str, str]


def agreement_table(quality: LabelQuality) -> list[Row]:
    """Return agreement by class and range."""
    return [
        {
            "slice": row.slice_name,
            "frames": str(row.num_frames),
            "objects": str(row.num_objects),
            "F1 at 0.5": _number(row.f1_50, 2),
            "F1 at 0.7": _number(row.f1_70, 2),
            "IoU": _number(row.mean_iou, 2),
            "centre, cm": _number(100 * row.center_m, 0),
            "size, cm": _number(100 * row.size_m, 0),
            "yaw, deg": _number(row.yaw_deg, 1),
            "alpha class": _number(row.alpha_class, 2),
            "alpha / AC1 presence": f"{_number(row.alpha_presence, 2)} / "
            f"{_number(row.ac1_presence, 2)}",
        }
        for row in quality.agreement
    ]


def annotator_table(quality: LabelQuality) -> list[Row]:
    """Return one row a person."""
    return [
        {
            "annotator": row.annotator,
            "tasks": str(row.num_tasks),
            "boxes": str(row.num_boxes),
            "known frames": str(row.num_known),
            "precision": _number(row.precision.value, 2),
            "recall": _number(row.recall.value, 2),
            "along, cm": f"{row.along_cm:.1f}",
            "across, cm": f"{row.across_cm:.1f}",
            "length, cm": f"{row.length_cm:.1f}",
            "yaw, deg": f"{row.yaw_deg:.1f}",
            "s / box": _number(row.seconds_per_box.value, 1),
            "corrected": _percent(row.correction_rate),
        }
        for row in quality.annotators
    ]


def cost_table(quality: LabelQuality) -> list[Row]:
    """Return seconds a box by kind of task and of work."""
    rows = [
        {
            "work": row.name,
            "tasks": str(row.num_tasks),
            "count": str(row.num_boxes),
            "seconds each": f"{row.seconds:.1f}",
        }
        for row in quality.cost
    ]
    if quality.correction_rate.num:
        share = f"{_percent(quality.correction_rate)} corrected"
        shown = str(quality.correction_rate.num)
        rows.append({"work": "prelabels shown", "tasks": "", "count": shown, "seconds each": share})
    return rows


def error_table(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return probable errors, worst first."""
    return [
        {
            "score": f"{row['score']:.1f}",
            "kind": row["kind"],
            "recording": row["recording"],
            "time": str(row["timestamp_ns"]),
            "object": f"{row['category']} {row['track_id'][:12]}".strip(),
            "at x, y": f"{row['x_m']:.0f}, {row['y_m']:.0f} m",
            "why": row["reason"],
        }
        for row in sorted(rows, key=lambda row: (-row["score"], row["recording"]))
    ]


def dispute_table(quality: LabelQuality, limit: int = 10) -> list[Row]:
    """Return what people disagree about most."""
    return [
        {"recording": recording, "time": str(time), "why": reason}
        for (recording, time), reason in quality.worst[:limit]
    ]


def _number(value: float, digits: int) -> str:
    return "-" if not math.isfinite(value) else f"{value:.{digits}f}"


def _percent(estimate: Estimate) -> str:
    return "-" if not estimate.num else f"{estimate:.0%}"
