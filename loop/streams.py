"""Recordings without a lidar: what is kept of them, and what is said about them.

Robots that manipulate, and logs of odometry alone, have signals, poses or cameras but no sweep.
They get partitions, checks and events like drives; frames, labels and datasets pass over them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from recordings.recording import Recording, describe_topics
from reporting.signal_pictures import signals_png
from scene.errors import FormatError, NotFoundError
from scene.recording import RecordingId
from storage import layout
from storage.signals import write_signals
from storage.store import ObjectStore
from storage.sweeps import SweepsSummary, write_poses

IMAGES = "images.parquet"  # in the folder of an ingest


def without_lidar(opened: Recording) -> bool:
    """Return whether a recording has no lidar on purpose, not because its sweeps are broken.

    Raises:
        FormatError: if it holds nothing at all that could be kept.
    """
    if opened.sensor:
        return False
    known = len(opened.damage)
    if next(iter(opened.sweeps()), None) is not None:
        del opened.damage[known:]  # it will be found again when the sweeps are read
        return False
    if opened.signals or len(opened.trajectory) or _first_image(opened):
        return True
    topics = ", ".join(f"{topic.name} ({topic.kind})" for topic in opened.topics[:20])
    raise FormatError(
        f"{opened.recording}: neither points, poses, signals nor images in it; it holds: "
        f"{topics or 'nothing'}. Record the lidar, odometry or the robot's joint states as well"
    )


def unused(opened: Recording | None) -> str:
    """Return what a recording holds of which nothing is used; empty if that is not so."""
    if opened is None or opened.sensor or not opened.topics:
        return ""
    return f"nothing in it is used: {describe_topics(opened.topics)}"


def write_streams(
    store: ObjectStore, recording: RecordingId, opened: Recording, spool: ObjectStore
) -> None:
    """Write signals and images; what an earlier ingest left of them is replaced."""
    write_signals(store, recording, opened.signals)
    _move(spool, IMAGES, store, layout.images(recording))


def keep_streams(
    store: ObjectStore, recording: RecordingId, opened: Recording, spool: ObjectStore
) -> None:
    """Write the readable part of a recording without a lidar into quarantine."""
    folder = layout.quarantine(recording, "signals/")
    write_signals(store, recording, opened.signals, folder)
    _move(spool, IMAGES, store, layout.quarantine(recording, IMAGES))
    if len(opened.trajectory):
        write_poses(store, layout.quarantine(recording, "poses.parquet"), opened.trajectory)


def summary_of(opened: Recording, spool: ObjectStore) -> SweepsSummary:
    """Return the digest and size of a recording without sweeps."""
    digest, size = hashlib.sha256(), 0
    for signal in opened.signals:
        digest.update(f"{signal.name}\0{signal.kind}\0{signal.frame}\0{signal.fields}\n".encode())
        size += _feed(digest, (signal.timestamps_ns, signal.values))
    track = opened.trajectory
    size += _feed(digest, (track.timestamps_ns, track.quat_wxyz, track.translation_m))
    if spool.exists(IMAGES):
        images = spool.get(IMAGES)
        digest.update(hashlib.sha256(images).digest())
        size += len(images)
    return SweepsSummary(digest.hexdigest(), 0, 0, size)


def times_of(opened: Recording) -> list[int]:
    """Return the first and last time of anything in the recording; nothing if it has no times."""
    series = [opened.trajectory.timestamps_ns, *(s.timestamps_ns for s in opened.signals)]
    known = [times for times in series if len(times)]
    return [int(edge) for times in known for edge in (times.min(), times.max())]


def note_of(opened: Recording, num_images: int) -> str:
    """Return one line for people about a recording that has no lidar."""
    parts = []
    if opened.signals:
        parts.append(f"signals {', '.join(signal.name for signal in opened.signals[:6])}")
    if len(opened.trajectory):
        parts.append(f"{len(opened.trajectory)} poses")
    if num_images:
        parts.append(f"{num_images} images")
    return f"no lidar: kept are {'; '.join(parts)}. Checks and events only, no frames to label"


def preview_png(opened: Recording) -> bytes:
    """Return the picture of a recording without a lidar: its main signals over time."""
    title = f"{opened.recording}  {opened.format}"
    return signals_png(opened.signals, opened.trajectory, title)


def _feed(digest: hashlib._Hash, arrays: Iterable[np.ndarray]) -> int:
    size = 0
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
        size += array.nbytes
    return size


def _first_image(opened: Recording) -> bool:
    return next(iter(opened.images()), None) is not None


def _move(source: ObjectStore, name: str, store: ObjectStore, key: str) -> None:
    """Put a file of the ingest's folder into the bucket, or delete what lay there before."""
    try:
        with source.local_file(name) as path:
            store.put_file(key, path)
    except NotFoundError:
        store.delete(key)
