"""One suite for every object store: what holds for a directory holds for a real S3 server."""

from __future__ import annotations

import hashlib
import io
import random
import signal
import subprocess
import sys
import textwrap
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scene.errors import ConflictError, NotFoundError, StoreError
from storage.local import LocalStore
from storage.open import StoreConfig, open_store
from storage.store import ObjectStore
from tests.support.rgw import shared_rgw

ROOT = Path(__file__).resolve().parents[2]
KINDS = ["local", pytest.param("s3", marks=pytest.mark.integration)]


@pytest.fixture(params=KINDS)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> StoreConfig:
    if request.param == "local":
        return StoreConfig((tmp_path / "store").as_uri())
    server = shared_rgw()
    return StoreConfig(
        f"s3://contract/{uuid.uuid4()}", server.endpoint, server.access_key, server.secret_key
    )


@pytest.fixture
def store(config: StoreConfig) -> ObjectStore:
    return open_store(config)


def test_put_get_stat(store: ObjectStore) -> None:
    stat = store.put("a/b.bin", b"hello")
    assert store.get("a/b.bin") == b"hello"
    assert (stat.key, stat.size_bytes) == ("a/b.bin", 5)
    assert stat.etag
    assert '"' not in stat.etag
    assert store.stat("a/b.bin") == stat
    assert next(store.list()) == stat
    assert store.exists("a/b.bin")
    assert not store.exists("a/c.bin")
    assert not store.exists("a")


def test_etag_follows_the_content(store: ObjectStore) -> None:
    first, other = store.put("k", b"one").etag, store.put("k", b"two").etag
    assert first != other
    assert store.put("k", b"one").etag == first


@pytest.mark.parametrize("method", ["get", "stat", "open"])
def test_absent(store: ObjectStore, method: str) -> None:
    store.put("there/x", b"1")
    for key in ("nowhere", "there", "there/x/y"):
        with pytest.raises(NotFoundError, match=key):
            getattr(store, method)(key)
    with pytest.raises(NotFoundError):
        store.get_range("nowhere", 0, 0)
    with pytest.raises(NotFoundError), store.local_file("nowhere"):
        pass


def test_delete(store: ObjectStore) -> None:
    store.put("a/b", b"1")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("never/was")
    assert not store.exists("a/b")
    assert list(store.list()) == []
    store.put("a/b", b"2", if_absent=True)
    assert store.get("a/b") == b"2"


def test_range_is_cut_at_the_end(store: ObjectStore) -> None:
    store.put("k", b"0123456789")
    assert store.get_range("k", 3, 4) == b"3456"
    assert store.get_range("k", 8, 100) == b"89"
    assert store.get_range("k", 10, 5) == b""
    assert store.get_range("k", 99, 5) == b""
    assert store.get_range("k", 4, 0) == b""
    with pytest.raises(StoreError, match="negative"):
        store.get_range("k", -1, 5)


def test_empty_object(store: ObjectStore) -> None:
    assert store.put("empty", b"").size_bytes == 0
    assert store.get("empty") == b""
    assert store.get_range("empty", 0, 3) == b""
    with store.open("empty") as file:
        assert file.read() == b""


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "..", "../a", "a/../../b", "./a", "a/.hidden", ".x", "a\\b", "a\0b",
     "a\nb", "x" * 201, "/".join("x" * 100 for _ in range(9)), "/etc/passwd", "~/../a"],
)  # fmt: skip
def test_bad_keys_are_refused_everywhere(store: ObjectStore, key: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    calls: list[Callable[[], object]] = [
        lambda: store.put(key, b"x"),
        lambda: store.put(key, b"x", if_absent=True),
        lambda: store.put_file(key, file),
        lambda: store.get(key),
        lambda: store.get_range(key, 0, 1),
        lambda: store.open(key),
        lambda: store.stat(key),
        lambda: store.exists(key),
        lambda: store.delete(key),
        lambda: store.presigned_url(key),
        lambda: store.table_location(key),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="key"):
            call()


def test_odd_keys_are_kept(store: ObjectStore) -> None:
    keys = ["ä/ü ß.bin", "a b/c+d&e=f", "%2e%2e/x", "日本/録画", "a..b/c", "#1?x=2", "x" * 200]
    for key in keys:
        store.put(key, key.encode())
    assert all(store.get(key) == key.encode() for key in keys)
    assert [stat.key for stat in store.list()] == sorted(keys, key=str.encode)


def test_list_is_sorted_by_bytes_and_cut_by_prefix(store: ObjectStore) -> None:
    keys = ["a", "a-b", "a.b/c", "ab/b", "ab/c.d/e", "ab/c/d", "ab/c0", "b/a", "b/a!", "B", "zz/ä"]
    for key in random.Random(1).sample(keys, len(keys)):
        store.put(key, b"1")
    assert [stat.key for stat in store.list()] == sorted(keys, key=str.encode)
    for prefix in ("a", "ab", "ab/", "ab/c", "ab/c/", "b/", "q", "q/w", "a/"):
        expected = sorted((key for key in keys if key.startswith(prefix)), key=str.encode)
        assert [stat.key for stat in store.list(prefix)] == expected, prefix
    with pytest.raises(StoreError):
        list(store.list("../"))


def test_more_objects_than_one_page(store: ObjectStore) -> None:
    keys = [f"many/{i:04d}" for i in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b""), keys))
    assert [stat.key for stat in store.list("many/")] == keys


def test_if_absent(store: ObjectStore) -> None:
    store.put("k", b"first", if_absent=True)
    with pytest.raises(ConflictError, match="k"):
        store.put("k", b"second", if_absent=True)
    assert store.get("k") == b"first"


def test_if_match(store: ObjectStore) -> None:
    with pytest.raises(ConflictError):
        store.put("k", b"x", if_match="0" * 32)
    assert not store.exists("k")
    first = store.put("k", b"1").etag
    second = store.put("k", b"2", if_match=first).etag
    assert second != first
    with pytest.raises(ConflictError):
        store.put("k", b"3", if_match=first)
    assert store.get("k") == b"2"


def test_of_16_racing_creators_one_wins(store: ObjectStore) -> None:
    for round_ in range(3):

        def create(writer: int, key: str = f"race/{round_}") -> int | None:
            try:
                store.put(key, b"%d" % writer, if_absent=True)
            except ConflictError:
                return None
            return writer

        with ThreadPoolExecutor(16) as pool:
            winners = [w for w in pool.map(create, range(16)) if w is not None]
        assert len(winners) == 1
        assert store.get(f"race/{round_}") == b"%d" % winners[0]


def test_racing_counters_lose_no_count(store: ObjectStore) -> None:
    """Compare-and-swap: 16 threads add 3 each; a lost update would show in the sum."""
    store.put("counter", b"0")

    def add(_: int) -> None:
        for _ in range(3):
            while True:
                before = store.stat("counter")
                value = int(store.get("counter"))
                try:
                    store.put("counter", b"%d" % (value + 1), if_match=before.etag)
                except ConflictError:
                    continue
                break

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(add, range(16)))
    assert store.get("counter") == b"48"


def test_put_file(store: ObjectStore, tmp_path: Path) -> None:
    """40 MB, so several parts on S3."""
    path = tmp_path / "big"
    path.write_bytes(random.Random(3).randbytes(40 << 20))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    stat = store.put_file("big", path)
    assert stat == store.stat("big")
    assert stat.size_bytes == 40 << 20
    assert hashlib.sha256(store.get("big")).hexdigest() == digest
    with store.local_file("big") as copy:
        assert hashlib.sha256(copy.read_bytes()).hexdigest() == digest
    with store.open("big") as file, path.open("rb") as expected:
        for offset in (0, (16 << 20) - 3, (33 << 20) + 1, (40 << 20) - 5):
            assert file.seek(offset) == expected.seek(offset)
            assert file.read(11) == expected.read(11)
    empty = tmp_path / "empty"
    empty.touch()
    assert store.put_file("empty", empty).size_bytes == 0
    with pytest.raises(StoreError, match="missing"):
        store.put_file("x", tmp_path / "missing")


def test_a_file_that_is_given_becomes_the_object(store: ObjectStore, tmp_path: Path) -> None:
    data = random.Random(4).randbytes(3 << 20)
    store.put("given", b"what lay there before")
    path = tmp_path / "given"
    path.write_bytes(data)
    stat = store.put_file("given", path, given_sha256=hashlib.sha256(data).hexdigest())
    assert stat == store.stat("given")
    assert store.get("given") == data
    copied = store.put("copied", data)
    if isinstance(store, LocalStore):
        assert not path.exists()
        assert stat.etag == copied.etag
    with pytest.raises(StoreError, match="given"):
        store.put_file("x", tmp_path / "given-nowhere", given_sha256="0" * 64)


def test_open_reads_like_a_file(store: ObjectStore) -> None:
    data = random.Random(2).randbytes(1 << 20)
    store.put("k", data)
    with store.open("k") as file:
        model = io.BytesIO(data)
        rng = random.Random(4)
        for _ in range(12):
            offset, length = rng.randrange(len(data)), rng.choice([1, 100, 70_000, 400_000])
            file.seek(offset)
            model.seek(offset)
            assert file.read(length) == model.read(length)
            assert file.tell() == model.tell()
        assert file.seek(-5, io.SEEK_END) == len(data) - 5
        assert file.read() == data[-5:]


def test_parquet_is_read_in_place(store: ObjectStore) -> None:
    buffer = io.BytesIO()
    table = pa.table({"i": range(10_000), "text": [str(i) for i in range(10_000)]})
    pq.write_table(table, buffer, row_group_size=1000)
    store.put("t.parquet", buffer.getvalue())
    with store.open("t.parquet") as file, pq.ParquetFile(file) as parquet:
        assert parquet.read_row_group(7).equals(table.slice(7000, 1000))


def test_a_reader_sees_one_version(store: ObjectStore) -> None:
    old, new = b"a" * (1 << 20), b"b" * (1 << 20)
    store.put("k", old)
    with store.open("k") as file:
        assert file.read(10) == old[:10]
        store.put("k", new)
        file.seek(900_000)
        with suppress(ConflictError):
            assert file.read(10) == old[:10]
    assert store.get("k") == new


def test_presigned_url(store: ObjectStore) -> None:
    store.put("a b/ä", b"picture")
    with urllib.request.urlopen(store.presigned_url("a b/ä", expires_s=60)) as answer:
        assert answer.read() == b"picture"


def test_a_second_process_sees_the_same(config: StoreConfig) -> None:
    stat = open_store(config).put("k", b"shared")
    again = open_store(StoreConfig.from_dict(config.to_dict()))
    assert again.stat("k") == stat
    assert again.url == open_store(config).url


_WRITER = """
import sys
from storage.open import StoreConfig, open_store
store = open_store(StoreConfig(*sys.argv[1:5]))
for round_ in range(10_000):
    byte = b"%d" % (round_ % 10)
    store.put("small", byte * 100_000)
    store.put(f"new/{round_:05d}", byte * 5_000)
    print(round_, flush=True)
"""


@pytest.fixture
def writer(config: StoreConfig) -> Iterator[subprocess.Popen[str]]:
    values = config.to_dict()
    arguments = [values[name] for name in ("url", "endpoint", "access_key", "secret_key")]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WRITER), *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield process
    process.kill()
    process.wait()


def test_kill_during_put(store: ObjectStore, writer: subprocess.Popen[str]) -> None:
    """`kill -9` in the middle leaves whole objects only, and everything that was acknowledged."""
    assert writer.stdout is not None
    acknowledged = -1
    while acknowledged < 25:
        acknowledged = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    rest = writer.stdout.read().split()
    acknowledged = int(rest[-1]) if rest else acknowledged
    stats = list(store.list())
    keys = [stat.key for stat in stats]
    assert keys[-1] == "small"
    assert all(len(set(store.get(key))) == 1 for key in keys)
    assert {stat.size_bytes for stat in stats[:-1]} == {5000}
    assert store.stat("small").size_bytes == 100_000
    written = [int(key.removeprefix("new/")) for key in keys[:-1]]
    assert acknowledged <= written[-1] <= acknowledged + 1
    assert all(b == a + 1 for a, b in pairwise(written))
