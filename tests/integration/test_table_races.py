"""Many processes write one Delta table at once, and some are killed: nothing is lost or doubled."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from storage.open import StoreConfig, open_store
from storage.tables import Tables
from tests.support.rgw import shared_rgw

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
NUM_WRITERS = 6
ROUNDS = 5

_PROLOGUE = """
import sys
import pyarrow as pa
from storage.open import StoreConfig, open_store
from storage.schemas import AUDIT
from storage.tables import Tables

tables = Tables(open_store(StoreConfig(*sys.argv[1:5])))
me, rounds = int(sys.argv[5]), int(sys.argv[6])

def rows(actor, times, action="x", subject="s"):
    count = len(times)
    return pa.table([times, [actor] * count, [action] * count, [subject] * count, [""] * count],
                    schema=AUDIT)

print("ready", flush=True)
sys.stdin.readline()
"""

APPEND_OWN = """
for i in range(rounds):
    tables.append("audit", rows(f"w{me}", [i, i + 1000]))
"""
APPEND_SAME = """
for i in range(rounds):
    tables.append("audit", rows("all", [i, i + 1000]))
"""
REPLACE_OWN = """
for i in range(rounds):
    tables.replace("audit", rows(f"w{me}", list(range(i, i + 3))), {"actor": f"w{me}"})
"""
REPLACE_SAME = """
for i in range(rounds):
    tables.replace("audit", rows("all", [0, 1, 2], action=f"w{me}"), {"actor": "all"})
"""
# Each adds its own letter to what is there: a stale read would lose one.
MIXED = """
for i in range(rounds):
    if me % 2:
        tables.append("audit", rows(f"w{me}", [i]))
    else:
        tables.replace("audit", rows(f"w{me}", [i]), {"actor": f"w{me}"})
"""
FOREVER = """
i = 0
while True:
    tables.replace("audit", rows(f"w{me}", [i] * 50), {"actor": f"w{me}"})
    tables.append("audit", rows(f"a{me}", [i, i]))
    print(i, flush=True)
    i += 1
"""


@pytest.fixture(params=["local", "s3"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> StoreConfig:
    if request.param == "local":
        return StoreConfig((tmp_path / "store").as_uri())
    server = shared_rgw()
    return StoreConfig(
        f"s3://races/{uuid.uuid4()}", server.endpoint, server.access_key, server.secret_key
    )


@pytest.fixture
def tables(config: StoreConfig) -> Tables:
    return Tables(open_store(config))


def start(config: StoreConfig, body: str, writer: int) -> subprocess.Popen[str]:
    values = config.to_dict()
    arguments = [values[name] for name in ("url", "endpoint", "access_key", "secret_key")]
    process = subprocess.Popen(
        [sys.executable, "-c", _PROLOGUE + body, *arguments, str(writer), str(ROUNDS)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def race(config: StoreConfig, body: str) -> None:
    """Run the writers from one starting gun, and fail if one of them does."""
    writers = [start(config, body, writer) for writer in range(NUM_WRITERS)]
    for writer in writers:
        go(writer)
    assert [writer.wait(300) for writer in writers] == [0] * NUM_WRITERS


def rows_of(tables: Tables) -> list[tuple[str, int]]:
    read = tables.read("audit", columns=["actor", "at_ns"])
    return list(zip(*read.to_pydict().values(), strict=True))


def test_racing_appends_lose_no_row(config: StoreConfig, tables: Tables) -> None:
    race(config, APPEND_OWN)
    expected = [
        (f"w{w}", t) for w in range(NUM_WRITERS) for i in range(ROUNDS) for t in (i, i + 1000)
    ]
    assert rows_of(tables) == sorted(expected)


def test_racing_equal_appends_make_no_duplicate(config: StoreConfig, tables: Tables) -> None:
    race(config, APPEND_SAME)
    assert rows_of(tables) == [("all", t) for t in [*range(ROUNDS), *range(1000, 1000 + ROUNDS)]]


def test_racing_replaces_of_different_scopes(config: StoreConfig, tables: Tables) -> None:
    race(config, REPLACE_OWN)
    last = range(ROUNDS - 1, ROUNDS + 2)
    assert rows_of(tables) == [(f"w{w}", t) for w in range(NUM_WRITERS) for t in last]


def test_racing_replaces_of_one_scope_leave_one_writer(config: StoreConfig, tables: Tables) -> None:
    """The scope is empty at first: a commit that did not see the other's would double it."""
    race(config, REPLACE_SAME)
    read = tables.read("audit")
    assert read["at_ns"].to_pylist() == [0, 1, 2]
    assert len(set(read["action"].to_pylist())) == 1


def test_appends_and_replaces_together(config: StoreConfig, tables: Tables) -> None:
    race(config, MIXED)
    expected = [
        (f"w{w}", i) for w in range(NUM_WRITERS) for i in (range(ROUNDS) if w % 2 else [ROUNDS - 1])
    ]
    assert rows_of(tables) == expected


def test_kill_during_commit(config: StoreConfig, tables: Tables) -> None:
    """`kill -9` in a commit leaves the version before or the one after, and others go on."""
    for round_ in range(4):
        writers = [start(config, FOREVER, writer) for writer in range(2)]
        for writer in writers:
            go(writer)
        acknowledged = []
        for writer in writers:
            assert writer.stdout is not None
            done = -1
            while done < round_:  # a different moment of the commit each time
                done = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split()
            acknowledged.append(int(rest[-1]) if rest else done)
            writer.wait()
        counts: dict[tuple[str, int], int] = {}
        for row in rows_of(tables):
            counts[row] = counts.get(row, 0) + 1
        for w, done in enumerate(acknowledged):
            [(newest, count)] = [(t, n) for (actor, t), n in counts.items() if actor == f"w{w}"]
            assert count == 50
            assert newest in (done, done + 1)
            appended = sorted(t for (actor, t) in counts if actor == f"a{w}")
            assert appended == list(range(len(appended)))
            assert appended[-1] in (done, done + 1)
            assert all(n == 2 for (actor, _), n in counts.items() if actor == f"a{w}")
        tables.replace("audit", tables.read("audit").slice(0, 0), {})
    tables.compact("audit")
    assert len(tables.read("audit")) == 0
