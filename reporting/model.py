"""What a turn of the loop has to say, as plain numbers and texts.

The loop runner fills a `TurnReport` from the tables; `reporting.report` turns it into a page.
It can be kept as JSON (`to_dict`, `from_dict`), so that an old page can be made again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from reporting.plain import from_plain, to_plain
from scene.errors import FormatError


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % bootstrap interval; NaN where nothing could be measured."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RecordingLine:
    """One recording that went in.

    Attributes:
        recording: its id.
        format: for example "ROS 2 MCAP".
        num_sweeps, num_points, duration_s: how much is readable in it.
        status: "ok", "damaged" (partly read) or "quarantined".
        reused: already ingested by an earlier turn, unchanged.
        message: what is wrong with it and what to do; empty when nothing is.
    """

    recording: str
    format: str
    num_sweeps: int
    num_points: int
    duration_s: float
    status: str = "ok"
    reused: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class SelectionCount:
    """How many frames an arm (issue, trigger, uncertainty, control) chose, and for which reason."""

    arm: str
    reason: str
    num_frames: int


@dataclass(frozen=True, slots=True)
class SelectionRow:
    """One frame that was chosen to be labelled."""

    recording: str
    timestamp_ns: int
    arm: str
    reason: str
    issue_id: str = ""
    score: float = math.nan


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """What came back from labelling in this turn.

    Attributes:
        num_frames, num_boxes: newly labelled.
        backend: "embedded" or "label_studio".
        note: where the labels come from, said openly.
        num_waiting: frames pushed that nobody has finished.
    """

    num_frames: int
    num_boxes: int
    backend: str
    note: str
    num_waiting: int = 0


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """The dataset this turn trained and tested on.

    Attributes:
        digest: its name.
        num_train, num_test, num_sim: frames in each split; `num_sim` is trained on, never tested.
        num_boxes: all boxes.
        split_unit: "recording" or "segment".
        warning: what the reader must know about the split; empty when nothing.
        num_test_recordings: how many recordings no turn trains on.
    """

    digest: str
    num_train: int
    num_test: int
    num_sim: int
    num_boxes: int
    split_unit: str
    warning: str = ""
    num_test_recordings: int = 0


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """How the candidate was trained.

    Attributes:
        model_id: the candidate.
        init_model: the model it started from; empty when from nothing.
        device: "cpu", "cuda" ...
        iterations, seconds: how long.
        loss_curve: (iteration, loss) pairs.
        reused: the same data and settings were trained before, so it was not repeated.
    """

    model_id: str
    device: str
    iterations: int
    seconds: float
    loss_curve: tuple[tuple[int, float], ...] = ()
    init_model: str = ""
    reused: bool = False


@dataclass(frozen=True, slots=True)
class RangeScore:
    """Average precision of a category between two distances from the vehicle."""

    range_min_m: float
    range_max_m: float
    ap: Interval
    num_boxes: int = 0


@dataclass(frozen=True, slots=True)
class CategoryScore:
    """Average precision of a category, all distances and by distance."""

    category: str
    ap: Interval
    num_boxes: int = 0
    ranges: tuple[RangeScore, ...] = ()


@dataclass(frozen=True, slots=True)
class ConditionLine:
    """What a model reaches under one condition, all categories together.

    Attributes:
        name: such as "speed: over 10 m/s".
        ap: not measured where false alarms cannot have the property.
        found: share of the objects that are found.
        num_boxes: objects.
    """

    name: str
    ap: Interval
    found: Interval
    num_boxes: int


@dataclass(frozen=True, slots=True)
class ModelMetrics:
    """What one model reaches on the test frames."""

    model_id: str
    mean_ap: Interval
    nds: Interval
    num_frames: int
    categories: tuple[CategoryScore, ...] = ()
    conditions: tuple[ConditionLine, ...] = ()


@dataclass(frozen=True, slots=True)
class SlicePoint:
    """What the champion of a turn reached on a slice."""

    turn: int
    ap: Interval


@dataclass(frozen=True, slots=True)
class SliceLine:
    """A part of the test frames that an issue is about (or one that is watched).

    Attributes:
        name: for people, for example "pedestrian, 0-20 m, near a vehicle".
        before, after: average precision of champion and candidate; None without a champion.
        num_frames, num_boxes: size of the slice; no turn trained on these frames.
        history: earlier turns, oldest first.
        targeted: an open issue chose frames for it.
    """

    name: str
    before: Interval | None
    after: Interval | None
    num_frames: int
    num_boxes: int = 0
    history: tuple[SlicePoint, ...] = ()
    targeted: bool = True
    issue_id: str = ""


@dataclass(frozen=True, slots=True)
class GateReason:
    """One rule of the gate and how it came out."""

    passed: bool
    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class GateSummary:
    """Whether the candidate was released."""

    approved: bool
    reasons: tuple[GateReason, ...]
    champion_before: str = ""
    champion_after: str = ""


@dataclass(frozen=True, slots=True)
class ScenarioRun:
    """How a model did in a scenario.

    Attributes:
        verdict: "pass", "perception_failure" or "planner_failure".
        min_ttc_s: smallest time to collision; infinite when never on a collision course.
        first_failed_frame: first frame in which perception failed; None when it did not.
    """

    verdict: str
    collision: bool
    impact_speed_mps: float
    min_ttc_s: float
    first_failed_frame: int | None = None


@dataclass(frozen=True, slots=True)
class ScenarioLine:
    """A scenario, driven by the champion and by the candidate."""

    scenario: str
    title: str
    ground_truth_passes: bool
    champion: ScenarioRun | None
    candidate: ScenarioRun | None


@dataclass(frozen=True, slots=True)
class IssueLine:
    """A known weakness.

    Attributes:
        state: "open" or "resolved".
        evidence: the measurement in words.
        num_selected: frames that it selects for the next labels.
    """

    issue_id: str
    title: str
    state: str
    evidence: str
    num_selected: int = 0
    kind: str = ""
    opened_turn: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG with a caption."""

    caption: str
    png: bytes


@dataclass(frozen=True, slots=True)
class StageTiming:
    """Wall seconds of a stage; `note` says what was reused."""

    stage: str
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """Where to look further."""

    label: str
    href: str


@dataclass(frozen=True, slots=True)
class TurnReport:
    """Everything on the page about one turn.

    Attributes:
        turn: 0 for the bootstrap, then counting.
        title: for example "Turn 1".
        data_note: what kind of data this is, said openly ("generated by the product's simulator").
        recordings, selection_counts, selection_rows, labels, dataset, training: what went in.
        before, after: champion and candidate on the same test frames.
        slices, gate, scenarios, issues: what came out.
        pictures: bird's-eye views; the first is the face of the page.
        timings, links: the rest.
    """

    turn: int
    title: str
    data_note: str = ""
    recordings: tuple[RecordingLine, ...] = ()
    selection_counts: tuple[SelectionCount, ...] = ()
    selection_rows: tuple[SelectionRow, ...] = ()
    labels: LabelSummary | None = None
    dataset: DatasetSummary | None = None
    training: TrainingSummary | None = None
    before: ModelMetrics | None = None
    after: ModelMetrics | None = None
    slices: tuple[SliceLine, ...] = ()
    gate: GateSummary | None = None
    scenarios: tuple[ScenarioLine, ...] = ()
    issues: tuple[IssueLine, ...] = ()
    pictures: tuple[Picture, ...] = ()
    timings: tuple[StageTiming, ...] = ()
    links: tuple[Link, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value; pictures as base64, NaN and infinity as text."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> TurnReport:
        """Undo `to_dict`.

        Raises:
            FormatError: if a field is missing or has the wrong type.
        """
        try:
            return from_plain(cls, value)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise FormatError(f"turn report: {error!r}") from error
