"""How good and how dear the labels are: figures of all recordings, into table `label_quality`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from labeling.clips import ClipResult
from labeling.qa.agreement import (
    AgreementRow,
    FrameAgreement,
    FrameKey,
    compare_frame,
    measure_agreement,
)
from labeling.qa.annotators import AnnotatorRow, measure_annotators
from labeling.qa.cost import CostRow, corrections, measure_cost
from labeling.qa.intervals import Estimate
from labeling.qa.suspicion import LOOK_SCORE
from loop.answers import known_answers, people_answers
from loop.curate import labelled_frames
from loop.workspace import Workspace
from reporting.pictures import bev_png
from scene.bev import BevView
from scene.box import Boxes
from scene.recording import RecordingId
from storage import layout, schemas
from storage.sweeps import SweepFile

_NUM_PICTURES = 3
_AROUND_M = 14.0


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """How far the labelling is.

    Attributes:
        num_sent: frames sent for labelling.
        num_done: of these, frames with settled labels.
        num_honeypots: frames with a known answer that were sent along.
        num_in_review: disputed frames that nobody has decided.
        num_reviewed: disputed frames that were decided.
        num_shared: frames that two people are asked about.
        num_compared: of these, frames that two people have answered.
    """

    num_sent: int
    num_done: int
    num_honeypots: int
    num_in_review: int
    num_reviewed: int
    num_shared: int
    num_compared: int

    @property
    def num_waiting(self) -> int:
        """Frames that nobody has labelled, or that are disputed."""
        return self.num_sent - self.num_done


@dataclass(frozen=True, slots=True)
class LabelQuality:
    """Everything that is measured about labels.

    Attributes:
        tasks: how far the labelling is.
        agreement: of people on the same frames; the first row is over all.
        annotators: one row a person.
        cost: seconds a box.
        correction_rate: share of prelabels that people changed or deleted.
        worst: what people disagree about most, worst first: frame and reason.
        num_errors: suspicions about labels that are worth a look.
        num_boxes: labels in all.
    """

    tasks: TaskCounts
    agreement: Sequence[AgreementRow]
    annotators: Sequence[AnnotatorRow]
    cost: Sequence[CostRow]
    correction_rate: Estimate
    worst: Sequence[tuple[FrameKey, str]]
    num_errors: int
    num_boxes: int

    @property
    def honeypot_score(self) -> float:
        """F1 of all people on frames with a known answer, weighted by these; NaN without any."""
        known = [(r.score, r.num_known) for r in self.annotators if not np.isnan(r.score)]
        total = sum(count for _, count in known)
        return sum(score * count for score, count in known) / total if total else float("nan")

    def seconds_per_box(self, name: str = "all") -> float:
        """Return the cost of one kind of task; NaN if there was none."""
        return next((row.seconds.value for row in self.cost if row.name == name), float("nan"))


def measure_labels(workspace: Workspace) -> LabelQuality:
    """Measure all labels, and write table `label_quality` and pictures of the worst disputes."""
    results = people_answers(workspace)
    shared = _shared_frames(results)
    compared = {key: compare_frame(answers) for key, answers in shared.items()}
    known: dict[FrameKey, Boxes] = {}
    for recording in sorted({result.recording for result in results}):
        found = known_answers(workspace, recording)
        known |= {(recording, time): boxes for time, boxes in found.items()}
    labelled = [r for r in results if r.purpose != "review"]
    errors = workspace.tables.read("label_errors", columns=["score"])["score"].to_numpy()
    boxes = workspace.tables.read("annotated_frames", columns=["num_boxes"])["num_boxes"]
    quality = LabelQuality(
        count_tasks(workspace),
        measure_agreement(shared, compared),
        measure_annotators(labelled, known),
        measure_cost(labelled),
        corrections(labelled),
        _worst(compared),
        int((errors >= LOOK_SCORE).sum()),
        int(sum(boxes.to_pylist())),
    )
    _draw(workspace, quality.worst, shared, compared)
    table = pa.Table.from_pylist(_rows(quality), schema=schemas.LABEL_QUALITY)
    workspace.tables.replace("label_quality", table, {})
    return quality


def count_tasks(workspace: Workspace) -> TaskCounts:
    """Count frames by how far they are."""
    sent = workspace.tables.read("label_tasks").to_pylist()
    asked = {(r["recording"], r["timestamp_ns"]) for r in sent if r["purpose"] != "honeypot"}
    pots = {(r["recording"], r["timestamp_ns"]) for r in sent if r["purpose"] == "honeypot"}
    reviews = workspace.tables.read("label_reviews", columns=["state"])["state"].to_pylist()
    waiting = reviews.count("waiting")
    done = len(asked & labelled_frames(workspace))
    twice = {(r["recording"], r["timestamp_ns"]) for r in sent if (r["num_people"] or 1) > 1}
    answered = _people_by_frame(workspace)
    compared = sum(len(answered.get(key, ())) > 1 for key in twice)
    return TaskCounts(
        len(asked), done, len(pots), waiting, len(reviews) - waiting, len(twice), compared
    )


def _people_by_frame(workspace: Workspace) -> dict[FrameKey, set[str]]:
    """Return who answered each frame, reviewers left out."""
    columns = ["recording", "timestamp_ns", "annotator", "purpose"]
    people: dict[FrameKey, set[str]] = defaultdict(set)
    for row in workspace.tables.read("label_answers", columns=columns).to_pylist():
        if row["purpose"] != "review":
            people[row["recording"], row["timestamp_ns"]].add(row["annotator"])
    return people


def _shared_frames(results: Sequence[ClipResult]) -> dict[FrameKey, dict[str, Boxes]]:
    """Return the newest boxes of each person by frame; reviews are no opinions of equals."""
    frames: dict[FrameKey, dict[str, Boxes]] = {}
    for result in sorted(results, key=lambda r: (r.submitted_ns, r.external_id)):
        if result.purpose == "review" or result.review == "rejected":
            continue
        for time, answer in result.frames.items():
            frames.setdefault((result.recording, time), {})[result.annotator] = answer.boxes
    return {key: people for key, people in frames.items() if len(people) >= 2}


def _worst(compared: Mapping[FrameKey, FrameAgreement]) -> list[tuple[FrameKey, str]]:
    found = []
    for key, frame in compared.items():
        if frame.disputes:
            first = frame.disputes[0]
            weight = sum(dispute.severity for dispute in frame.disputes)
            found.append((-first.severity, -weight, key, first.reason))
    return [(key, reason) for _, _, key, reason in sorted(found)]


def _draw(
    workspace: Workspace,
    worst: Sequence[tuple[FrameKey, str]],
    shared: Mapping[FrameKey, Mapping[str, Boxes]],
    compared: Mapping[FrameKey, FrameAgreement],
) -> None:
    """Draw the worst disputes: the first person's boxes dashed, the second's solid."""
    for index, ((recording, time), reason) in enumerate(worst[:_NUM_PICTURES]):
        answers, frame = shared[recording, time], compared[recording, time]
        at = frame.consensus.boxes.center_xyz_m[frame.disputes[0].object_index]
        one, two = frame.annotators[:2]
        with SweepFile(workspace.store, layout.sweeps(RecordingId(recording))) as sweeps:
            points = sweeps.read(sweeps.index_of(time)).points_ego_m
        view = BevView(
            at[0] - _AROUND_M, at[0] + _AROUND_M, at[1] - _AROUND_M, at[1] + _AROUND_M, 0.05
        )
        second = answers[two]
        drawn = Boxes.make(
            second.center_xyz_m, second.size_lwh_m, second.yaw_rad, second.category,
            score=np.ones(len(second)),
        )  # fmt: skip
        title = f"{one} dashed, {two} solid: {reason}"
        png = bev_png(points, answers[one], drawn, title, view)
        workspace.store.put(layout.label_picture(index), png)


def _rows(quality: LabelQuality) -> list[dict[str, object]]:
    """Return all figures as rows of table `label_quality`."""
    rows = [
        _figure("tasks", "all", name, float(getattr(quality.tasks, name)), 1)
        for name in (
            "num_sent", "num_done", "num_waiting", "num_honeypots", "num_in_review", "num_reviewed",
            "num_shared", "num_compared",
        )
    ]  # fmt: skip
    for row in quality.agreement:
        for name in ("f1_50", "f1_70", "mean_iou", "center_m", "size_m", "yaw_deg", "flips",
                     "alpha_class", "alpha_presence", "ac1_presence"):  # fmt: skip
            value = getattr(row, name)
            rows.append(_figure("agreement", row.slice_name, name, value, row.num_objects))
    for row in quality.annotators:
        rows += [
            _estimate("annotators", row.annotator, name, estimate)
            for name, estimate in row.estimates().items()
        ]
    rows += [_estimate("cost", row.name, "seconds", row.seconds) for row in quality.cost]
    rows.append(_estimate("prelabels", "all", "correction_rate", quality.correction_rate))
    rows.append(
        _figure("errors", "all", "worth_a_look", float(quality.num_errors), quality.num_boxes)
    )
    return rows


def _figure(part: str, subject: str, metric: str, value: float, num: int) -> dict[str, object]:
    return _estimate(part, subject, metric, Estimate(value, float("nan"), float("nan"), num))


def _estimate(part: str, subject: str, metric: str, estimate: Estimate) -> dict[str, object]:
    """Return a row; what is not known is null."""
    low, high, value = (
        None if not np.isfinite(v) else float(v)
        for v in (estimate.low, estimate.high, estimate.value)
    )
    return {
        "part": part, "subject": subject, "metric": metric, "value": value, "low": low,
        "high": high, "num": estimate.num,
    }  # fmt: skip
