"""The annotation of a clip as JSON: what the editor sends, what is stored, and what it means.

The editor mirrors these names in `labeling/editor/src/core/protocol.ts`. Boxes are in the ego frame
of their own frame, meters and radians, like everywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labeling.clips import FrameAnswer, Origin
from scene.box import Boxes
from scene.errors import LabelError
from scene.pose import wrap_angle
from scene.taxonomy import CATEGORY

FORMAT: Final = 1
_MAX_BOXES: Final = 200_000
_MAX_ACTIONS: Final = 1000
_UNTOUCHED_M: Final = 1e-3  # numbers of a prelabel come back rounded, never by more
_UNTOUCHED_RAD: Final = 1e-3

_Coordinate = Annotated[float, Field(ge=-1e5, le=1e5, allow_inf_nan=False)]
_Length = Annotated[float, Field(gt=0, le=200, allow_inf_nan=False)]
_Seconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]
_Sequence = Annotated[int, Field(ge=0, lt=2**53)]
_Identifier = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9_-]+$")]
_Name = Annotated[str, Field(min_length=1, max_length=100)]


class ClipBox(BaseModel):
    """One box in one frame of a clip.

    Attributes:
        track_id: the same object has the same one in all frames; unique in a frame.
        frame: index into the frames of the task.
        category: a name of `scene.taxonomy`.
        center_xyz_m, size_lwh_m, yaw_rad: cuboid in the ego frame of that frame.
        origin: drawn by hand, a prelabel left as it was, or a prelabel that was changed.
        key_frame: placed by somebody or something, not interpolated between two others.
        attributes: free, for example occlusion.
        score: of the model, for prelabels.
    """

    model_config = ConfigDict(extra="forbid")

    track_id: _Name
    frame: Annotated[int, Field(ge=0)]
    category: str
    center_xyz_m: tuple[_Coordinate, _Coordinate, _Coordinate]
    size_lwh_m: tuple[_Length, _Length, _Length]
    yaw_rad: Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
    origin: Origin = "manual"
    key_frame: bool = True
    attributes: dict[str, str | float | bool] = {}
    score: Annotated[float, Field(ge=0, le=1)] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values; a box of a person has no score at all."""
        return self.model_dump(exclude_none=True)


class Events(BaseModel):
    """How much was done, for the cost of a box.

    Attributes:
        clicks, keys, drags: of the person.
        actions: how often each kind of action was used.
        seconds_by_track: active seconds while a track was selected.
    """

    model_config = ConfigDict(extra="forbid")

    clicks: _Count = 0
    keys: _Count = 0
    drags: _Count = 0
    actions: Annotated[dict[str, _Count], Field(max_length=_MAX_ACTIONS)] = {}
    seconds_by_track: Annotated[dict[str, _Seconds], Field(max_length=_MAX_BOXES)] = {}


class Annotation(BaseModel):
    """What a person says about a clip.

    Attributes:
        format: of this JSON; 1.
        boxes: of all frames.
        time_spent_s: time that the person worked in the editor, pauses left out.
        events: what that took.
    """

    model_config = ConfigDict(extra="forbid")

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT
    boxes: Annotated[list[ClipBox], Field(max_length=_MAX_BOXES)]
    time_spent_s: _Seconds = 0.0
    events: Events = Events()

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return self.model_dump(exclude_none=True)


class Draft(BaseModel):
    """Unsubmitted work; of all windows of a person the highest sequence wins.

    Attributes:
        client_id: the browser that sent it.
        sequence: grows with every save.
        version: of the task that it is a draft of.
        work_id: of the piece of work, which an annotation of Label Studio may hold too.
        annotation: the work so far.
    """

    model_config = ConfigDict(extra="forbid")

    client_id: _Identifier
    sequence: _Sequence
    version: _Name
    work_id: _Identifier | None = None
    annotation: Annotation


class Submission(BaseModel):
    """Finished work; sent again with the same id it is one answer.

    Attributes:
        submission_id: made once for one press of the button.
        client_id: the browser that sent it.
        sequence: of the last draft that it contains.
        version: of the task that was shown.
        annotation: the work.
        lead_time_s: from opening the task to submitting it, and what earlier sittings took.
    """

    model_config = ConfigDict(extra="forbid")

    submission_id: _Identifier
    client_id: _Identifier = "unknown"
    sequence: _Sequence = 0
    version: _Name = "unknown"
    annotation: Annotation
    lead_time_s: _Seconds | None = None


def parse_submission(text: str | bytes, where: str) -> Submission:
    """Return the submission of a JSON text.

    Raises:
        LabelError: naming every field that is wrong.
    """
    try:
        return Submission.model_validate_json(text)
    except ValidationError as error:
        raise LabelError(f"{where}: {explain(error.errors())}") from error


def explain(errors: Sequence[Any], limit: int = 5) -> str:
    """Return problems found by pydantic as `path: message`, one after another."""
    shown = [
        f"{'.'.join(str(part) for part in item['loc']) or 'body'}: {item['msg']}"
        for item in errors[:limit]
    ]
    more = [f"and {len(errors) - limit} more"] if len(errors) > limit else []
    return "; ".join([*shown, *more])


def check_annotation(annotation: Annotation, num_frames: int) -> None:
    """Check what depends on the task.

    Raises:
        LabelError: if a box lies in a frame that the clip does not have, has an unknown category,
            or shares its track with another box of the frame.
    """
    seen: dict[tuple[int, str], int] = {}
    for index, box in enumerate(annotation.boxes):
        where = f"boxes.{index}"
        if box.frame >= num_frames:
            raise LabelError(f"{where}.frame: {box.frame}, but the clip has {num_frames} frames")
        if box.category not in CATEGORY:
            known = ", ".join(CATEGORY)
            raise LabelError(f"{where}.category: {box.category!r} is none of {known}")
        first = seen.setdefault((box.frame, box.track_id), index)
        if first != index:
            raise LabelError(
                f"{where}.track_id: {box.track_id!r} is in frame {box.frame} already "
                f"(boxes.{first}): one object has one box a frame"
            )


@dataclass(frozen=True, slots=True, eq=False)
class BoxColumns:
    """The boxes of a clip as arrays.

    Attributes:
        boxes: of all frames, ego frame of each.
        frame: (N,) int64 index of the frame.
        origin: (N,) names of `labeling.clips.ORIGINS`.
    """

    boxes: Boxes
    frame: np.ndarray
    origin: np.ndarray

    @classmethod
    def of(cls, boxes: Sequence[ClipBox]) -> BoxColumns:
        """Gather the boxes."""
        if not boxes:
            return cls(Boxes.empty(), np.zeros(0, np.int64), np.zeros(0, "<U18"))
        score = [np.nan if box.score is None else box.score for box in boxes]
        return cls(
            Boxes.make(
                np.array([box.center_xyz_m for box in boxes]),
                np.array([box.size_lwh_m for box in boxes]),
                np.array([box.yaw_rad for box in boxes]),
                [box.category for box in boxes],
                track_id=[box.track_id for box in boxes],
                score=np.array(score, dtype=np.float64),
            ),
            np.array([box.frame for box in boxes], dtype=np.int64),
            np.array([box.origin for box in boxes]),
        )


def to_answers(
    annotation: Annotation, prelabels: Sequence[ClipBox], timestamps_ns: Sequence[int]
) -> dict[int, FrameAnswer]:
    """Return the answer of every frame of a clip by its time.

    The origin is not believed but compared: a box is a `prediction` only where a prelabel of its
    track and frame has the same class, place, size and heading.

    Args:
        annotation: checked with `check_annotation`.
        prelabels: what the person was shown.
        timestamps_ns: of the frames of the clip.
    """
    given, shown = BoxColumns.of(annotation.boxes), BoxColumns.of(prelabels)
    place = {
        (frame, track): row
        for row, (frame, track) in enumerate(
            zip(shown.frame.tolist(), shown.boxes.track_id.tolist(), strict=True)
        )
    }
    keys = zip(given.frame.tolist(), given.boxes.track_id.tolist(), strict=True)
    match = np.array([place.get(key, -1) for key in keys], dtype=np.int64)
    origin = np.full(len(match), "manual", dtype="<U18")
    known = np.flatnonzero(match >= 0)
    same = _same(given.boxes.take(known), shown.boxes.take(match[known]))
    origin[known] = np.where(same, "prediction", "prediction-changed")
    origin[(match < 0) & (given.origin != "manual")] = "prediction-changed"
    kept = np.bincount(shown.frame[match[known]], minlength=len(timestamps_ns))
    offered = np.bincount(shown.frame, minlength=len(timestamps_ns))
    boxes = _without_score(given.boxes)
    answers = {}
    for index, time in enumerate(timestamps_ns):
        rows = np.flatnonzero(given.frame == index)
        deleted = int(offered[index] - kept[index])
        answers[int(time)] = FrameAnswer(boxes.take(rows), origin[rows], deleted)
    return answers


def to_clip_boxes(boxes: Mapping[int, Boxes], origin: Origin = "prediction") -> list[ClipBox]:
    """Return boxes by index of the frame as JSON models; boxes without a track get one each."""
    models: list[ClipBox] = []
    for frame, found in sorted(boxes.items()):
        columns = zip(
            found.track_id.tolist(), found.category.tolist(), found.center_xyz_m.tolist(),
            found.size_lwh_m.tolist(), found.yaw_rad.tolist(), found.score.tolist(), strict=True,
        )  # fmt: skip
        for number, (track, category, center, size, yaw, score) in enumerate(columns):
            models.append(
                ClipBox(
                    track_id=track or f"p{frame}-{number}",
                    frame=frame,
                    category=category,
                    center_xyz_m=tuple(round(value, 4) for value in center),
                    size_lwh_m=tuple(round(value, 4) for value in size),
                    yaw_rad=round(yaw, 6),
                    origin=origin,
                    score=None if np.isnan(score) else round(score, 4),
                )
            )
    return models


def _same(left: Boxes, right: Boxes) -> np.ndarray:
    """Return (N,) whether two boxes in a row are the same."""
    turned = np.abs(wrap_angle(left.yaw_rad - right.yaw_rad))
    return (
        (np.abs(left.center_xyz_m - right.center_xyz_m).max(axis=1, initial=0) <= _UNTOUCHED_M)
        & (np.abs(left.size_lwh_m - right.size_lwh_m).max(axis=1, initial=0) <= _UNTOUCHED_M)
        & (turned <= _UNTOUCHED_RAD)
        & (left.category == right.category)
    )


def _without_score(boxes: Boxes) -> Boxes:
    return Boxes.make(
        boxes.center_xyz_m, boxes.size_lwh_m, boxes.yaw_rad, boxes.category, track_id=boxes.track_id
    )
