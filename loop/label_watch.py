"""Which recordings wait for people, and whether there is anything new from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager

from labeling.backend import LabelBackend
from loop.workspace import Workspace
from scene.recording import RecordingId
from storage import layout


def open_recordings(workspace: Workspace) -> list[str]:
    """Return the recordings with tasks, or with clips that somebody answered, sorted.

    Finished ones too: a person may correct an answer, and a reviewer may decide later.
    """
    prefix = layout.CLIP_ANSWERS_PREFIX
    names = {stat.key.removeprefix(prefix).split("/")[0] for stat in workspace.store.list(prefix)}
    if workspace.people_label:
        tasks = workspace.tables.read("label_tasks", columns=["recording"])
        names |= set(tasks["recording"].to_pylist())
    return sorted(names)


@contextmanager
def open_rectangles(workspace: Workspace) -> Iterator[LabelBackend | None]:
    """Give where rectangles are answered, for `digest_of_answers`; None where people draw none.

    It holds connections, so one is made for all recordings.
    """
    if workspace.labels_clips or not workspace.people_label:
        yield None
        return
    with closing(workspace.label_backend(count_points=False)) as backend:
        yield backend


def digest_of_answers(
    workspace: Workspace, recording: str, rectangles: LabelBackend | None = None
) -> str:
    """Return a digest of all answers that a recording has now; empty if there is none.

    Clips: names and versions of the objects in the bucket, without reading them. Rectangles: ids
    and times of the annotations on the server.

    Args:
        workspace: the bucket and its tables.
        recording: its id.
        rectangles: from `open_rectangles`.
    """
    name = RecordingId(recording)
    found = [f"{s.key}:{s.etag}" for s in workspace.store.list(layout.clip_answers_prefix(name))]
    if rectangles is not None:
        rows = workspace.tables.read("label_tasks", {"recording": recording})
        frames = [(recording, time) for time in sorted(set(rows["timestamp_ns"].to_pylist()))]
        answers = rectangles.answers(frames)
        found += [f"{answer.external_id}:{answer.submitted_ns}" for answer in answers]
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()[:16] if found else ""
