"""One landed recording in; canonical sweeps, poses, frames and ground truth out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from loop import streams
from loop.duplicates import find_duplicates, remember_fingerprint
from loop.landing import local_copy, registered
from loop.parts import Parts
from loop.sweep_pass import store_sweeps
from loop.sweep_watch import SweepWatch
from loop.workspace import Workspace
from recordings.discovery import Source
from recordings.geometry import odometry
from recordings.logs import slabs
from recordings.open import open_recording
from recordings.prepare import prepare
from recordings.recording import Recording, losses
from recordings.rules.quality import Finding
from reporting.pictures import bev_png
from scene.errors import DataError
from scene.image import Image
from scene.recording import RecordingId
from storage import layout, lineage, memory, schemas
from storage.boxes import boxes_to_arrow
from storage.images import write_images
from storage.lineage import Node
from storage.local import LocalStore
from storage.sweeps import SweepFile, SweepsSummary, write_poses

CODE_VERSION = "3"  # raise it when ingest would write other bytes for the same input


@dataclass(frozen=True)
class IngestResult:
    """What ingest did with one recording.

    Attributes:
        status: `ok` or `quarantined`.
        message: one line for a person; empty when there is nothing to say.
        reused: nothing was done because the same bytes had been ingested before.
        findings: results of the sanity rules.
    """

    recording: RecordingId
    status: str
    message: str
    reused: bool
    format: str
    num_sweeps: int
    num_points: int
    size_bytes: int
    digest: str
    findings: tuple[Finding, ...]


def ingest_recording(workspace: Workspace, recording: RecordingId) -> IngestResult:
    """Read a landed recording into the bucket, or quarantine it with the readable part kept.

    Idempotent: the row in table `recordings` is written last, and a recording whose landed bytes
    and code version match that row is left alone.
    """
    source = registered(workspace, recording)
    known = previous(workspace, recording, source.digest)
    if known is not None:
        return known
    with TemporaryDirectory(prefix="starloop-ingest-") as folder:
        try:
            return _Ingest(workspace, source, Path(folder)).run()
        finally:
            slabs.clear()


def previous(workspace: Workspace, recording: RecordingId, digest: str) -> IngestResult | None:
    """Return the earlier result for the same landed bytes, or None."""
    rows = workspace.tables.read("recordings", {"recording": recording}).to_pylist()
    if (
        not rows
        or rows[0]["source_digest"] != digest
        or rows[0]["code_version"] != _version(workspace)
    ):
        return None
    row = rows[0]
    stored = not row["num_sweeps"] or workspace.store.exists(layout.sweeps(recording))
    if row["status"] == "ok" and not stored:
        return None
    return IngestResult(
        recording=recording,
        status=row["status"],
        message=row["message"],
        reused=True,
        format=row["format"],
        num_sweeps=row["num_sweeps"],
        num_points=row["num_points"],
        size_bytes=row["size_bytes"],
        digest=row["sweeps_digest"],
        findings=tuple(Finding(**finding) for finding in json.loads(row["findings"])),
    )


def _version(workspace: Workspace) -> str:
    """Return what the stored bytes depend on besides the landed ones: the code and its settings."""
    wanted = workspace.ingest
    found = "yes" if wanted.odometry == "auto" and odometry.available() else "no"
    return f"{CODE_VERSION} deskew={wanted.deskew} odometry={found}"


class _Ingest:
    """One ingest, from the landed files to the row in table `recordings`."""

    def __init__(self, workspace: Workspace, source: Source, folder: Path) -> None:
        self.workspace = workspace
        self.source = source
        self.spool = LocalStore(folder)
        self.watch = SweepWatch(None)
        self.num_images = 0

    def run(self) -> IngestResult:
        """Read, check, write; never raises for bad data."""
        opened: Recording | None = None
        try:
            with memory.reused(), local_copy(self.workspace, self.source) as path:
                opened = open_recording(path, self.source.name, self.source.part)
                opened = prepare(
                    opened, self.workspace.ingest.deskew, self.workspace.ingest.odometry
                )
                self.watch = SweepWatch(opened)
                lidar = not streams.without_lidar(opened)
                summary = self._spool_sweeps(opened) if lidar else None
                self._spool_images(opened)
        except DataError as error:
            found = tuple(self.watch.check.finish(opened.damage)) if opened is not None else ()
            damage = _problem(opened, ()) if opened is not None else ""
            return self._finish(opened, None, found, damage or streams.unused(opened) or str(error))
        findings = (*self.watch.check.finish(opened.damage), *self._duplicates(summary))
        if summary is None:
            summary = streams.summary_of(opened, self.spool)
            self.watch.times = streams.times_of(opened)
        return self._finish(opened, summary, findings, _problem(opened, findings))

    def _duplicates(self, summary: SweepsSummary | None) -> list[Finding]:
        size = (summary.num_sweeps, summary.num_points) if summary else (0, 0)
        tables, words = self.workspace.tables, self.watch.check.fingerprint
        return find_duplicates(tables, self.source.name, words, size)

    def _spool_sweeps(self, opened: Recording) -> SweepsSummary:
        """Write the sweeps while the landed files are at hand, checking each on its way."""
        path = self.spool.root / "sweeps.parquet"
        workers = self.workspace.ingest.workers or len(os.sched_getaffinity(0))
        summary = store_sweeps(path, opened, self.watch, self._parts(), workers)
        if not summary.num_sweeps:
            raise DataError("the recording holds no readable sweep")
        return summary

    def _parts(self) -> Parts:
        identity = f"{self.source.digest} {_version(self.workspace)}"
        return Parts(self.workspace.store, self.source.name, identity)

    def _spool_images(self, opened: Recording) -> None:
        """Write the images while the landed files are at hand."""
        self.num_images = write_images(self.spool, streams.IMAGES, self._checked_images(opened))

    def _checked_images(self, opened: Recording) -> Iterator[Image]:
        for image in opened.images():
            self.watch.check.add_image(image.sensor, image.timestamp_ns)
            yield image

    def _finish(
        self,
        opened: Recording | None,
        summary: SweepsSummary | None,
        findings: tuple[Finding, ...],
        problem: str,
    ) -> IngestResult:
        """Write the result; the row of table `recordings` is last and makes it count."""
        name, workspace = self.source.name, self.workspace
        status = "quarantined" if problem else "ok"
        if opened is not None and summary is not None and summary.num_sweeps:
            key = layout.quarantined_sweeps(name) if problem else layout.sweeps(name)
            spooled = self.spool.root / "sweeps.parquet"
            workspace.store.put_file(key, spooled, given_sha256=summary.digest)
            write_poses(workspace.store, layout.poses(name), opened.trajectory)
            self._write_frames(key, opened, with_rows=not problem)
        elif opened is not None and summary is not None:
            self._write_without_lidar(opened, quarantine=bool(problem))
        if opened is not None and not problem:
            streams.write_streams(workspace.store, name, opened, self.spool)
        if problem:
            workspace.store.delete(layout.sweeps(name))
            reason = {"recording": name, "message": problem, "source": self.source.prefix}
            workspace.store.put(
                layout.quarantine(name, "reason.json"), json.dumps(reason, indent=1).encode()
            )
            self._forget_rows()
        result = IngestResult(
            recording=name,
            status=status,
            message=_readable(problem) or self._note(opened, summary),
            reused=False,
            format=opened.format if opened else "unknown",
            num_sweeps=summary.num_sweeps if summary else 0,
            num_points=summary.num_points if summary else 0,
            size_bytes=summary.size_bytes if summary else 0,
            digest=summary.digest if summary else "",
            findings=findings,
        )
        self._commit(result, opened)
        return result

    def _write_without_lidar(self, opened: Recording, *, quarantine: bool) -> None:
        """Write poses and the preview of a recording that has no sweeps on purpose."""
        name, store = self.source.name, self.workspace.store
        store.delete(layout.sweeps(name))
        self._forget_rows()
        store.put(layout.preview(name, "middle"), streams.preview_png(opened))
        if quarantine:
            streams.keep_streams(store, name, opened, self.spool)
        else:
            write_poses(store, layout.poses(name), opened.trajectory)

    def _note(self, opened: Recording | None, summary: SweepsSummary | None) -> str:
        if opened is None or summary is None or summary.num_sweeps:
            return ""
        return streams.note_of(opened, self.num_images)

    def _write_frames(self, key: str, opened: Recording, *, with_rows: bool) -> None:
        """Write tables `frames` and `boxes` and the preview of the middle sweep."""
        name, workspace = self.source.name, self.workspace
        with SweepFile(workspace.store, key) as sweeps:
            if with_rows:
                workspace.tables.replace("frames", frame_rows(sweeps, opened), {"recording": name})
                truth = boxes_to_arrow(name, self.watch.truth)
                workspace.tables.replace("boxes", truth, {"recording": name})
            middle = sweeps.read(len(sweeps) // 2)
        picture = bev_png(
            middle.points_ego_m,
            self.watch.truth.get(middle.timestamp_ns),
            None,
            title=f"{name}  {opened.format}",
        )
        workspace.store.put(layout.preview(name, "middle"), picture)

    def _forget_rows(self) -> None:
        """Take back rows that an earlier, undamaged version of the recording left."""
        for table in ("frames", "boxes"):
            empty = schemas.SCHEMAS[table].empty_table()
            self.workspace.tables.replace(table, empty, {"recording": self.source.name})

    def _commit(self, result: IngestResult, opened: Recording | None) -> None:
        """Write lineage and, last, the row that says that the recording is done."""
        name = result.recording
        if result.digest:
            key = layout.sweeps(name) if result.num_sweeps else layout.signals_prefix(name)
            lineage.record(
                self.workspace.tables,
                Node("sweeps" if result.num_sweeps else "signals", key, result.digest),
                [Node("recording", name, self.source.digest)],
            )
        times = self.watch.times
        row = {
            "recording": name,
            "source": _readable(self.source.prefix),
            "source_digest": self.source.digest,
            "format": result.format,
            "sensor": opened.sensor if opened else "",
            "status": result.status,
            "message": result.message,
            "start_ns": min(times, default=0),
            "end_ns": max(times, default=0),
            "num_sweeps": result.num_sweeps,
            "num_points": result.num_points,
            "size_bytes": result.size_bytes,
            "has_ground_truth": bool(self.watch.truth),
            "sweeps_digest": result.digest,
            "code_version": _version(self.workspace),
            "findings": json.dumps([asdict(finding) for finding in result.findings]),
        }
        words = self.watch.check.fingerprint if result.status == "ok" else ()
        remember_fingerprint(self.workspace.tables, name, words)
        rows = pa.Table.from_pylist([row], schema=schemas.RECORDINGS)
        self.workspace.tables.replace("recordings", rows, {"recording": name})
        self._parts().clear()


def frame_rows(sweeps: SweepFile, opened: Recording) -> pa.Table:
    """Return the rows of table `frames`: one per sweep, with the ego's pose and speed."""
    times = sweeps.timestamps_ns
    track = sweeps.trajectory
    full = opened.trajectory
    speed = (
        np.interp(times, full.timestamps_ns, full.speed_mps())
        if len(full) > 1
        else np.zeros(len(times))
    )
    w, x, y, z = track.quat_wxyz.T
    columns = {
        "recording": [opened.recording] * len(times),
        "timestamp_ns": times,
        "index": np.arange(len(times)),
        "num_points": sweeps.num_points,
        "x_m": track.translation_m[:, 0],
        "y_m": track.translation_m[:, 1],
        "yaw_rad": np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
        "speed_mps": speed,
    }
    return pa.table(columns).cast(schemas.FRAMES)


def _readable(text: str) -> str:
    """Return text that can be stored and printed: names of files may be in no encoding of ours."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _problem(opened: Recording, findings: tuple[Finding, ...]) -> str:
    """Return one line that says why the recording is quarantined; empty if it is not."""
    damage = losses(opened.damage)
    if damage:
        first = damage[0]
        more = f" (and {len(damage) - 1} more)" if len(damage) > 1 else ""
        return f"{first.where}: {first.what}; lost: {first.lost}{more}"
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        return f"{errors[0].code}: {errors[0].message}. {errors[0].remedy}"
    return ""
