"""An ingested recording seen as a `Recording` again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from loop.workspace import Workspace
from recordings.geometry.deskew import undo
from recordings.prepare import DESKEWED_BY_US
from recordings.recording import Damage, Recording
from scene.box import Boxes
from scene.errors import DataError, NotFoundError
from scene.image import Image
from scene.recording import RecordingId
from scene.sweep import Sweep
from storage import layout
from storage.boxes import arrow_to_boxes
from storage.images import read_images
from storage.signals import read_signals
from storage.sweeps import SweepFile, read_poses

BoxesFrom = Literal["boxes", "annotations"]


class StoredRecording(Recording):
    """What ingest kept of a recording. Use as a context manager, or `close`.

    Where a labelled frame holds no object, the bucket keeps no row of it for boxes that came with
    the recording, so it counts as not labelled here.

    Attributes:
        num_sweeps: how many there are.
    """

    format = "stored"

    def __init__(
        self,
        workspace: Workspace,
        recording: RecordingId,
        boxes: BoxesFrom = "boxes",
        *,
        as_measured: bool = False,
    ) -> None:
        """Open.

        Args:
            workspace: the bucket and its tables.
            recording: its id.
            boxes: "boxes" that came with the recording, or "annotations" of the labelling team.
            as_measured: undo the motion compensation that ingest did.

        Raises:
            NotFoundError: if no such recording has been ingested.
            DataError: if it is quarantined or holds no lidar.
        """
        self.recording = recording
        self.damage: list[Damage] = []
        self._workspace = workspace
        self._file = _open(workspace, recording)
        self.sensor, self.calibration = self._file.sensor, self._file.calibration
        self.trajectory = read_poses(workspace.store, layout.poses(recording))
        self.motion = self._file.motion
        self._undo = as_measured and self._file.compensated_by == DESKEWED_BY_US
        if self._undo:
            self.motion = "raw"
        self.signals = read_signals(workspace.store, recording)
        self.num_sweeps = len(self._file)
        self.ground_truth = self._boxes(boxes)

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the sweeps."""
        for index in range(len(self._file)):
            sweep = self._file.read(index)
            yield undo(sweep, self.trajectory) if self._undo else sweep

    def images(self) -> Iterator[Image]:
        """Yield the images, by reference where they were kept so."""
        return read_images(self._workspace.store, layout.images(self.recording))

    def close(self) -> None:
        """Let go of the file of sweeps."""
        self._file.close()

    def __enter__(self) -> StoredRecording:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _boxes(self, table: BoxesFrom) -> dict[int, Boxes] | None:
        """Return the boxes by time; None where there are none at all."""
        tables, own = self._workspace.tables, {"recording": self.recording}
        found = arrow_to_boxes(tables.read(table, own))
        if table == "annotations":
            looked_at = tables.read("annotated_frames", own, ["timestamp_ns"])
            times = looked_at["timestamp_ns"].to_pylist()
            found = {time: found.get(time, Boxes.empty()) for time in sorted(times)}
        return found or None


def _open(workspace: Workspace, recording: RecordingId) -> SweepFile:
    rows = workspace.tables.read("recordings", {"recording": recording}).to_pylist()
    if not rows:
        raise NotFoundError(
            f"recording {recording}: not ingested; `starloop status` lists what is, "
            "or give the path of a file or folder"
        )
    if rows[0]["status"] != "ok":
        raise DataError(f"recording {recording} is quarantined: {rows[0]['message']}")
    if not rows[0]["num_sweeps"]:
        raise DataError(f"recording {recording} holds no lidar: there are no sweeps to export")
    return SweepFile(workspace.store, layout.sweeps(recording))
