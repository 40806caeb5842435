import fcntl
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene.errors import StoreError
from training.byte_cache import ByteCache

OVERHEAD = 32  # bytes of an entry that are not content


def text(found):
    return None if found is None else found.tobytes()


def files(folder):
    return sorted(path for path in folder.glob("*/*") if path.is_file())


def grow_old(folder, seconds=100.0):
    for path in files(folder):
        age = time.time() - seconds
        os.utime(path, (age, age))


def test_what_is_put_comes_back(tmp_path):
    cache = ByteCache(tmp_path, 10_000)
    assert cache.get("a") is None
    assert cache.put("a", [b"one ", memoryview(b"two")])
    assert cache.put("b", [])
    assert text(cache.get("a")) == b"one two"
    assert text(cache.get("b")) == b""
    assert text(ByteCache(tmp_path, 10_000).get("a")) == b"one two"
    assert (cache.stats.hits, cache.stats.misses, cache.stats.written) == (2, 1, 2)
    assert cache.stats.hit_share == pytest.approx(2 / 3)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_flipped_byte_goes_unnoticed(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cache")
    cache = ByteCache(folder, 10_000)
    cache.put("a", [bytes(range(100))])
    (path,) = files(folder)
    raw = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.booleans())
    path.write_bytes(raw[:place] if cut else raw)
    assert cache.get("a") is None
    assert cache.stats.damaged == 1
    assert not files(folder)
    assert cache.put("a", [b"again"])
    assert text(cache.get("a")) == b"again"


def test_an_entry_under_another_name_is_not_believed(tmp_path):
    cache = ByteCache(tmp_path, 10_000)
    cache.put("a", [b"content of a"])
    cache.put("b", [b"content of b"])
    cache._path("a").replace(cache._path("b"))
    assert cache.get("b") is None


def test_the_oldest_go_first(tmp_path):
    size = 100 + OVERHEAD
    before = ByteCache(tmp_path, 10 * size)
    for name in "abcdefghij":
        assert before.put(name, [b"x" * 100])
    for age, name in enumerate("jihgfedcba"):
        then = time.time() - 100 * (age + 1)
        os.utime(before._path(name), (then, then))
    cache = ByteCache(tmp_path, 10 * size)
    assert cache.get("a") is not None  # used again: no longer the oldest
    assert cache.put("k", [b"x" * 100])
    assert cache.size_bytes() <= 10 * size
    gone = [name for name in "abcdefghijk" if cache.get(name) is None]
    assert gone == ["b", "c"]  # a tenth more than needed
    assert cache.stats.evicted == 2


def test_what_this_training_uses_is_not_thrown_out_for_more_of_it(tmp_path):
    size = 100 + OVERHEAD
    cache = ByteCache(tmp_path, 3 * size)
    names = [f"{i}" for i in range(9)]
    for _ in range(3):
        for name in names:
            if cache.get(name) is None:
                cache.put(name, [b"x" * 100])
    assert cache.stats.evicted == 0
    assert cache.stats.hits == 2 * 3
    assert cache.size_bytes() == 3 * size


def test_a_lower_limit_holds_at_once(tmp_path):
    for name in "abcdef":
        ByteCache(tmp_path, 10_000).put(name, [b"x" * 100])
    grow_old(tmp_path)
    assert ByteCache(tmp_path, 300).size_bytes() <= 300


def test_too_large_is_refused_and_nothing_is_lost_for_it(tmp_path):
    cache = ByteCache(tmp_path, 300)
    cache.put("a", [b"x" * 100])
    assert not cache.put("b", [b"x" * 300])
    assert cache.stats.refused == 1
    assert text(cache.get("a")) == b"x" * 100


def test_what_killed_writers_left_is_counted_and_swept(tmp_path):
    cache = ByteCache(tmp_path, 10_000)
    cache.put("a", [b"x" * 100])
    folder = files(tmp_path)[0].parent
    dead = folder / ".999999999-abc.part"  # no such process
    alive = folder / f".{os.getpid()}-abc.part"
    dead.write_bytes(b"x" * 500)
    alive.write_bytes(b"x" * 50)
    (tmp_path / ".total").write_bytes(b"")  # killed while it was written
    assert ByteCache(tmp_path, 10_000).size_bytes() == 100 + OVERHEAD + 50
    assert not dead.exists()
    assert alive.exists()
    grow_old(tmp_path, 7200)
    ByteCache(tmp_path, 10_000)
    assert not alive.exists()


def test_no_file_gets_its_name_while_somebody_counts(tmp_path, monkeypatch):
    """A count that had listed the old name and not the new one would miss it: too much is kept."""
    cache, replace, locked = ByteCache(tmp_path, 10_000), Path.replace, []

    def watched(path, target):
        with (tmp_path / ".lock").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked.append(False)
            except BlockingIOError:
                locked.append(True)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", watched)
    assert cache.put("a", [b"x"])
    assert locked == [True]


def test_a_disk_that_takes_nothing_does_not_stop_a_training(tmp_path):
    cache = ByteCache(tmp_path, 10_000)
    path = cache._path("a")
    path.parent.write_bytes(b"a file where a folder should be")
    assert not cache.put("a", [b"x"])
    assert cache.get("a") is None
    path.parent.unlink()
    assert cache.put("a", [b"x"])


def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be used"):
        ByteCache(tmp_path / "file", 1000)
