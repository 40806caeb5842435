"""A clip to label: consecutive frames of one recording, with prelabels, as one task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from labeling.annotation import ClipBox, to_clip_boxes
from labeling.clip_images import ImageIndex, matrix_of
from labeling.clips import Purpose, clip_id_of
from scene.box import Boxes
from scene.errors import DataError, LabelError
from scene.recording import RecordingId
from storage import layout
from storage.store import ObjectStore
from storage.sweeps import SweepFile

FORMAT: Final = 1
DEFAULT_LENGTH: Final = 10


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """One frame of a clip.

    Attributes:
        timestamp_ns: of the sweep.
        sweep: row in the sweeps of the recording.
        num_points: of the sweep.
        map_SE3_ego: 4 x 4 matrix, row by row, 16 numbers.
        images: what the cameras saw nearest to the sweep; see `labeling.clip_images`.
    """

    timestamp_ns: int
    sweep: int
    num_points: int
    map_SE3_ego: tuple[float, ...]
    images: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ClipTask:
    """A clip for a person to label.

    Attributes:
        recording: id of the recording.
        frames: in time order.
        prelabels: boxes to start from.
        purpose: why it was made; the person is not told.
        title: for people.
        num_people: how many are asked about it; they are not told.
    """

    recording: RecordingId
    frames: tuple[ClipFrame, ...]
    prelabels: tuple[ClipBox, ...] = ()
    purpose: Purpose = "label"
    title: str = ""
    num_people: int = 1
    _cache: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Check that there is something to label and that it is in order."""
        times = self.timestamps_ns
        if not times or any(a >= b for a, b in pairwise(times)):
            raise LabelError(f"clip of {self.recording}: times must strictly increase, got {times}")

    @property
    def timestamps_ns(self) -> list[int]:
        """Times of the frames."""
        return [frame.timestamp_ns for frame in self.frames]

    @property
    def task_id(self) -> str:
        """Digest of the frames and the purpose: the same clip is the same task everywhere."""
        return clip_id_of(self.recording, self.timestamps_ns, self.purpose)

    @property
    def version(self) -> str:
        """Digest of what the person is shown, 12 hex digits; changes with the prelabels."""
        if "version" not in self._cache:
            values = self.to_json()
            del values["num_people"]
            shown = json.dumps(values, sort_keys=True)
            self._cache["version"] = hashlib.sha256(shown.encode()).hexdigest()[:12]
        return self._cache["version"]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as they are stored."""
        return {
            "format": FORMAT,
            "recording": str(self.recording),
            "purpose": self.purpose,
            "title": self.title,
            "num_people": self.num_people,
            "frames": [
                {
                    "timestamp_ns": frame.timestamp_ns,
                    "sweep": frame.sweep,
                    "num_points": frame.num_points,
                    "map_SE3_ego": list(frame.map_SE3_ego),
                    "images": list(frame.images),
                }
                for frame in self.frames
            ],
            "prelabels": [box.to_json() for box in self.prelabels],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: str) -> ClipTask:
        """Undo `to_json`.

        Raises:
            LabelError: if it is something else.
        """
        try:
            if values["format"] != FORMAT:
                raise LabelError(f"{where}: format {values['format']}, this version reads {FORMAT}")
            frames = tuple(
                ClipFrame(
                    int(frame["timestamp_ns"]),
                    int(frame["sweep"]),
                    int(frame["num_points"]),
                    tuple(frame["map_SE3_ego"]),
                    tuple(frame["images"]),
                )
                for frame in values["frames"]
            )
            prelabels = tuple(ClipBox(**box) for box in values["prelabels"])
            return cls(
                RecordingId(values["recording"]), frames, prelabels, values["purpose"],
                values["title"], int(values.get("num_people", 1)),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise LabelError(f"{where}: not a clip task ({error!r}); push it again") from error


def cut_clips(
    store: ObjectStore,
    recording: RecordingId,
    *,
    length: int = DEFAULT_LENGTH,
    start: int = 0,
    stop: int | None = None,
    prelabels: Mapping[int, Boxes] | None = None,
    purpose: Purpose = "label",
) -> Iterator[ClipTask]:
    """Yield the sweeps `start` to `stop` of a recording as clips, one after another.

    Args:
        store: the bucket.
        recording: an ingested recording.
        length: frames of a clip; the last one may have fewer.
        start: first row of the sweeps.
        stop: row after the last one.
        prelabels: boxes by time, ego frame.
        purpose: see `labeling.clips`.

    Raises:
        LabelError: if there is no such frame.
        NotFoundError: if the recording was not ingested.
    """
    with SweepFile(store, layout.sweeps(recording)) as sweeps:
        rows = range(len(sweeps))[start:stop]
        if not rows or length < 1:
            raise LabelError(
                f"{recording} has {len(sweeps)} sweeps: no clip of {length} in {start}:{stop}"
            )
        images = ImageIndex(store, recording, sweeps)
        for first in range(0, len(rows), length):
            part = rows[first : first + length]
            yield make_clip(sweeps, recording, part, images, prelabels or {}, purpose)


def clips_of_times(
    store: ObjectStore,
    recording: RecordingId,
    parts: Iterable[tuple[Sequence[int], Purpose]],
    prelabels: Mapping[int, Boxes] | None = None,
) -> list[ClipTask]:
    """Return for each part the clip of the frames at exactly its times.

    Raises:
        DataError: if there is no sweep at one of the times.
        NotFoundError: if the recording was not ingested.
    """
    with SweepFile(store, layout.sweeps(recording)) as sweeps:
        images = ImageIndex(store, recording, sweeps)
        return [
            make_clip(
                sweeps, recording, [sweeps.index_of(int(time)) for time in sorted(times)],
                images, prelabels or {}, purpose,
            )
            for times, purpose in parts
        ]  # fmt: skip


def make_clip(
    sweeps: SweepFile,
    recording: RecordingId,
    rows: Sequence[int],
    images: ImageIndex,
    prelabels: Mapping[int, Boxes],
    purpose: Purpose,
) -> ClipTask:
    """Return the clip of some rows of the sweeps."""
    if not rows:
        raise DataError(f"{recording}: a clip needs a frame")
    times = [int(sweeps.timestamps_ns[row]) for row in rows]
    frames = tuple(
        ClipFrame(
            time,
            row,
            int(sweeps.num_points[row]),
            matrix_of(sweeps.map_SE3_ego(row)),
            images.of(time),
        )
        for row, time in zip(rows, times, strict=True)
    )
    shown = {i: prelabels[time] for i, time in enumerate(times) if time in prelabels}
    title = f"{recording}, frames {rows[0]} to {rows[-1]}"
    return ClipTask(recording, frames, tuple(to_clip_boxes(shown)), purpose, title)
