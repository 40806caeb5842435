from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from loop import landing
from loop.ingest import ingest_recording
from loop.landing import local_copy, register, scan
from loop.workspace import Workspace
from recordings.open import open_recording
from storage.images import read_images
from storage.layout import images
from storage.local import LocalStore
from tests.support.nuscenes_writer import write_nuscenes
from tests.support.workspaces import make_workspace


class Remote:
    """A store that is not on this machine as far as anybody can tell; counts what is read."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self.url = "s3://landing/elsewhere"
        self.read: list[str] = []

    def get(self, key: str) -> bytes:
        self.read.append(key)
        return self._store.get(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def remote_workspace(tmp_path: Path) -> tuple[Workspace, Remote]:
    workspace = make_workspace(tmp_path)
    assert isinstance(workspace.landing, LocalStore)
    write_nuscenes(workspace.landing.root / "nuscenes")
    remote = Remote(workspace.landing)
    return replace(workspace, landing=remote), remote  # type: ignore[arg-type]


def test_an_index_is_read_once_however_often_the_landing_place_is_looked_at(
    tmp_path: Path,
) -> None:
    workspace, remote = remote_workspace(tmp_path)
    landing._INDEXES.pop(remote.url, None)
    names = [[str(source.name) for source in scan(workspace)] for _ in range(3)]
    assert names == [[f"nuscenes_scene-000{i}" for i in (1, 2, 3)]] * 3
    tables = ["scene", "log", "sample"]
    assert remote.read == [f"nuscenes/v1.0-mini/{name}.json" for name in tables]


def test_a_remote_scene_is_downloaded_without_the_others_and_without_whole_images(
    tmp_path: Path,
) -> None:
    workspace, _ = remote_workspace(tmp_path)
    source = scan(workspace)[1]
    picture = next(key for key in source.keys if key.endswith(".jpg"))
    store = make_workspace(tmp_path).landing
    store.put(picture, store.get(picture) + bytes(100_000))
    with local_copy(workspace, source) as path:
        files = [p for p in path.rglob("*") if p.is_file()]
        assert len(files) == len(source.keys)
        assert (path.parent / picture).stat().st_size == 4096
        recording = open_recording(path, source.name, source.part)
        assert len(list(recording.images())) == 10
        times = [sweep.timestamp_ns for sweep in recording.sweeps()]
        assert recording.damage == []
    local = open_recording(tmp_path / "landing" / "nuscenes", part=source.part)
    assert times == [sweep.timestamp_ns for sweep in local.sweeps()]


def test_a_scene_goes_into_the_bucket(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    assert isinstance(workspace.landing, LocalStore)
    write_nuscenes(workspace.landing.root / "nuscenes")
    source = scan(workspace)[2]
    register(workspace, source)
    result = ingest_recording(workspace, source.name)
    assert (result.status, result.message) == ("ok", "")
    assert (result.format, result.num_sweeps) == ("nuscenes", 10)
    boxes = workspace.tables.read("boxes", {"recording": source.name})
    assert boxes.num_rows == 12
    assert len(np.unique(boxes["timestamp_ns"].to_numpy())) == 4
    kept = list(read_images(workspace.store, images(source.name)))
    assert len(kept) == 10
    assert all((workspace.landing.root / "nuscenes" / image.uri).is_file() for image in kept)


def test_a_file_name_that_is_not_utf_8_is_a_recording_like_others(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    assert isinstance(workspace.landing, LocalStore)
    broken = workspace.landing.root / os.fsdecode(b"caf\xe9.mcap")
    broken.write_bytes(b"no recording")
    (source,) = scan(workspace)
    register(workspace, source)
    result = ingest_recording(workspace, source.name)
    assert (result.recording, result.status) == ("caf", "quarantined")
    assert result.message.startswith("caf\ufffd.mcap: ")
    (row,) = workspace.tables.read("recordings").to_pylist()
    assert row["source"] == "caf\ufffd.mcap"
