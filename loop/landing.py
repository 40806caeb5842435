"""From files in the landing place to named recordings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from loop.workspace import Workspace
from recordings.discovery import Source, group_keys
from recordings.uploads import Cache
from scene.errors import NotFoundError
from scene.recording import RecordingId
from storage import layout
from storage.local import LocalStore

_IMAGES: Final = (".jpg", ".jpeg", ".png")
_IMAGE_HEAD_BYTES: Final = 4096
# What index files of data sets said, by landing place: sensors look every few seconds.
_INDEXES: dict[str, Cache] = {}


def scan(workspace: Workspace) -> list[Source]:
    """Return all recordings in the landing place, ordered by name."""
    landing = workspace.landing
    stats = ((s.key, s.size_bytes, s.etag) for s in landing.list(workspace.landing_prefix))
    return group_keys(stats, landing.get, _INDEXES.setdefault(landing.url, {}))


def register(workspace: Workspace, source: Source) -> None:
    """Write down which landed objects make the recording, for the steps that follow."""
    body = {
        "prefix": source.prefix,
        "keys": list(source.keys),
        "digest": source.digest,
        "part": source.part,
    }
    workspace.store.put(layout.source(source.name), json.dumps(body, indent=1).encode())


def registered(workspace: Workspace, recording: RecordingId) -> Source:
    """Return the landed objects of a recording.

    Raises:
        NotFoundError: if no such recording has landed.
    """
    try:
        body = json.loads(workspace.store.get(layout.source(recording)))
    except NotFoundError as error:
        raise NotFoundError(
            f"recording {recording}: not seen in the landing place {workspace.landing.url}; "
            "drop its files there, or run `starloop ingest`"
        ) from error
    return Source(
        recording, body["prefix"], tuple(body["keys"]), body["digest"], body.get("part", "")
    )


def landed_file(workspace: Workspace, recording: RecordingId, uri: str) -> bytes | None:
    """Return a file of a landed recording by its path in it; None if it has been taken away."""
    try:
        source = registered(workspace, recording)
        return workspace.landing.get(f"{source.prefix}{uri}")
    except NotFoundError:
        return None


@contextmanager
def local_copy(workspace: Workspace, source: Source) -> Iterator[Path]:
    """Give a path to the recording's file or folder: the landed one, or a temporary download.

    Of images only the beginning is downloaded, with their size in it: readers keep those that lie
    in files of their own by reference, and they are most of a data set.
    """
    prefix = source.prefix
    landing = workspace.landing
    if isinstance(landing, LocalStore):
        yield landing.root / prefix if prefix else landing.root
        return
    with TemporaryDirectory(prefix="starloop-") as folder:
        for key in source.keys:  # a reader may look one folder up, so whole keys are kept
            target = Path(folder) / key
            target.parent.mkdir(parents=True, exist_ok=True)
            if key.lower().endswith(_IMAGES):
                target.write_bytes(landing.get_range(key, 0, _IMAGE_HEAD_BYTES))
                continue
            with landing.local_file(key) as path:
                shutil.copyfile(path, target)
        yield Path(folder) / prefix
