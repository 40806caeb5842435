"""What is special about a directory as a store, and how a store is chosen."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene.errors import ConfigError, StoreError
from storage.local import LocalStore
from storage.open import StoreConfig, open_store
from storage.store import check_key, is_hidden


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def land(store: LocalStore, key: str, data: bytes, age_s: float = 60.0) -> Path:
    """Put a file there as a person would, without the store."""
    path = store.root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    when = path.stat().st_mtime_ns - int(age_s * 1e9)
    os.utime(path, ns=(when, when))
    return path


def test_files_of_others_are_objects(store: LocalStore) -> None:
    land(store, "day 1/drive.mcap", b"points")
    [stat] = store.list()
    assert (stat.key, stat.size_bytes) == ("day 1/drive.mcap", 6)
    assert stat.etag == store.put("same", b"points").etag
    assert store.get(stat.key) == b"points"


def test_etag_of_a_settled_file_is_computed_once(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = land(store, "drive", b"points")
    etag = store.stat("drive").etag
    monkeypatch.setattr("storage.local._hash", lambda _: pytest.fail("hashed again"))
    assert store.stat("drive").etag == etag
    assert LocalStore(store.root).stat("drive").etag == etag
    store.put("ours", b"x" * 100)
    store.stat("ours")
    monkeypatch.undo()
    path.write_bytes(b"others")
    assert store.stat("drive").etag == store.put("same", b"others").etag


def test_a_file_still_being_written_is_hashed_each_time(store: LocalStore) -> None:
    """Two writes within one tick of the clock have one time: only the content can tell."""
    path = land(store, "drive", b"one", age_s=0)
    times = path.stat().st_mtime_ns
    first = store.stat("drive").etag
    path.write_bytes(b"two")
    os.utime(path, ns=(times, times))
    assert store.stat("drive").etag != first


def test_without_extended_attributes(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> bytes:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(os, "setxattr", unsupported)
    monkeypatch.setattr(os, "getxattr", unsupported)
    first = store.put("k", b"1")
    land(store, "drive", b"points")
    assert store.stat("k") == first
    monkeypatch.setattr("storage.local._hash", lambda _: pytest.fail("hashed again"))
    store.put("k", b"2", if_match=first.etag)
    monkeypatch.undo()
    assert store.get("k") == b"2"


def test_hidden_and_unfinished_files_are_not_objects(store: LocalStore) -> None:
    for key in (".DS_Store", "a/.x.1234.part", ".cache/a", "a/.b/c"):
        land(store, key, b"x")
    (store.root / "empty" / "folder").mkdir(parents=True)
    store.put("a/b", b"1")
    assert [stat.key for stat in store.list()] == ["a/b"]


def test_a_failed_write_leaves_nothing(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a/k", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"a/k.*No space left"):
        store.put("a/k", b"new")
    assert [path.name for path in (store.root / "a").iterdir()] == ["k"]
    assert list((store.root / ".partial").iterdir()) == []
    assert store.get("a/k") == b"old"


def test_leftovers_of_killed_writers_are_swept(store: LocalStore) -> None:
    old = land(store, ".partial/.old.part", b"x", age_s=2 * 86_400)
    new = land(store, ".partial/.new.part", b"x", age_s=60)
    LocalStore(store.root)
    assert not old.exists()
    assert new.exists()


def test_links_are_followed_but_not_in_circles(store: LocalStore, tmp_path: Path) -> None:
    elsewhere = tmp_path / "disk2"
    elsewhere.mkdir()
    (elsewhere / "drive.mcap").write_bytes(b"points")
    (elsewhere / "back").symlink_to(store.root)
    store.put("a", b"1")
    (store.root / "linked").symlink_to(elsewhere)
    (store.root / "broken").symlink_to(tmp_path / "nowhere")
    keys = [stat.key for stat in store.list()]
    assert keys == ["a", "linked/drive.mcap"]


def test_a_name_that_is_no_key_hides_nothing_else(store: LocalStore) -> None:
    names = ["a", "back\\slash.pcd", "b" * 210, "caf\udce9.mcap", "z"]  # one is not UTF-8
    for name in names:
        (store.root / name).write_bytes(name[:1].encode())
    (store.root / "circle").symlink_to("circle")
    found = {stat.key: stat.size_bytes for stat in store.list()}
    assert found == dict.fromkeys(names, 1)


def test_a_folder_that_cannot_be_listed_is_named(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("shut/a", b"1")
    listed = os.scandir

    def refuse(path: Path) -> object:
        if str(path).endswith("shut"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StoreError, match=r"shut: cannot be listed.*Permission denied"):
        list(store.list())


def test_a_key_under_another_object_is_refused(store: LocalStore) -> None:
    store.put("a", b"1")
    with pytest.raises(StoreError, match="a/b"):
        store.put("a/b", b"2")
    store.put("c/d", b"1")
    with pytest.raises(StoreError, match="c"):
        store.put("c", b"2")
    store.delete("c")
    assert store.get("c/d") == b"1"


def test_a_store_needs_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be used as a store"):
        LocalStore(tmp_path / "file")


@given(st.text(max_size=30))
def test_accepted_keys_stay_inside(key: str) -> None:
    try:
        check_key(key)
    except StoreError:
        return
    path = os.path.normpath(f"/root/{key}")
    assert path == f"/root/{key}"
    assert not is_hidden(key)


def test_open_store_by_url(tmp_path: Path) -> None:
    folder = tmp_path / "ä b"
    for url in (folder.as_uri(), str(folder)):
        store = open_store(StoreConfig(url))
        assert store.url == folder.as_uri()
    assert folder.is_dir()
    for url in ("", "ftp://x/y", "s3:///prefix", "file://host/x"):
        with pytest.raises(ConfigError, match="expected a directory"):
            open_store(StoreConfig(url))


def test_config_round_trip_and_secret() -> None:
    config = StoreConfig("s3://b/p", "http://127.0.0.1:1", "key", "hush")
    assert StoreConfig.from_dict(config.to_dict()) == config
    assert "hush" not in repr(config)
    with pytest.raises(ConfigError, match="colour"):
        StoreConfig.from_dict({"url": "x", "colour": "red"})


def test_an_absent_server_is_named() -> None:
    with pytest.raises(StoreError, match=r"http://127\.0\.0\.1:9.*check the endpoint"):
        open_store(StoreConfig("s3://bucket/x", "http://127.0.0.1:9", "a", "b"))


def test_a_folder_that_is_only_read_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "drive.mcap").write_bytes(b"points")
    store = LocalStore(tmp_path)
    assert [stat.key for stat in store.list()] == ["drive.mcap"]
    assert store.get("drive.mcap") == b"points"
    assert [path.name for path in tmp_path.iterdir()] == ["drive.mcap"]
