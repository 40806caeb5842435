"""The frame cache shared by processes, some of which are killed while they write."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from storage.local import LocalStore
from tests.support.tiny_scenes import make_scene, store_dataset
from training import config as recipes
from training.byte_cache import ByteCache
from training.data import DataOptions, open_frames
from training.frame_store import StoreFrames

pytestmark = pytest.mark.integration

LIMIT = 400_000
WORKER = """
import sys, zlib
import numpy as np
from pathlib import Path
from storage.local import LocalStore
from tests.support.tiny_scenes import make_scene, store_dataset
from training import config as recipes
from training.byte_cache import ByteCache
from training.data import DataOptions, open_frames
from training.frame_store import StoreFrames

folder, limit, seed, rounds = Path(sys.argv[1]), *map(int, sys.argv[2:])
rng = np.random.default_rng(seed)
cache = ByteCache(folder, limit)
print("ready", flush=True)
for _ in range(rounds):
    cache._since_ns = 2**62  # everything may be evicted: the hardest case
    name = str(rng.integers(40))
    want = np.random.default_rng(int(name)).bytes(20_000)
    found = cache.get(name)
    if found is None:
        cache.put(name, [want[:7000], want[7000:]])
    elif found.tobytes() != want:
        sys.exit(f"entry {name} has other bytes")
    cache._full = False
if cache.stats.damaged:
    sys.exit(f"{cache.stats.damaged} damaged entries")
print(cache.stats.hits, cache.stats.evicted)
"""


def start(folder, seed, rounds):
    command = [sys.executable, "-c", WORKER, str(folder), str(LIMIT), str(seed), str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_share_a_cache_and_some_are_killed(tmp_path):
    victims = [start(tmp_path, seed, 10**9) for seed in range(2)]
    for victim in victims:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "ready\n"
    workers = [start(tmp_path, 10 + seed, 500) for seed in range(2)]
    sizes = []
    watcher = ByteCache(tmp_path, LIMIT)
    for round_ in range(40):
        time.sleep(0.02)
        sizes.append(watcher.size_bytes())
        if round_ in (10, 20):
            victim = victims.pop()
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            if round_ == 10:
                victims.append(start(tmp_path, 20, 10**9))
    for victim in victims:
        victim.kill()
        victim.communicate()
    for worker in workers:
        out, err = worker.communicate(timeout=60)
        assert worker.returncode == 0, err
        hits, evicted = map(int, out.split()[1:])
        assert hits > 0
        assert evicted > 0
    assert max(sizes) <= LIMIT
    cache = ByteCache(tmp_path, LIMIT)
    whole = [cache.get(str(name)) for name in range(40)]
    assert cache.stats.damaged == 0
    assert any(data is not None for data in whole)
    for name, data in enumerate(whole):
        if data is not None:
            assert data.tobytes() == np.random.default_rng(name).bytes(20_000)
    assert not [p for p in tmp_path.glob("*/*.part") if p.stat().st_size > 0]


def test_forked_workers_do_not_share_open_files(tmp_path):
    """A file that two processes read through one descriptor would give each the other's bytes."""
    store = LocalStore(tmp_path / "store")
    manifest = store_dataset(store, [make_scene(i, columns=120) for i in range(6)])
    opened = []

    def reopen():
        opened.append(1)
        return LocalStore(tmp_path / "store")

    frames = open_frames(
        store, manifest, recipes.small(), DataOptions(memory_bytes=0), reopen=reopen
    )
    assert isinstance(frames, StoreFrames)
    expected = [frames[i].points.sum() for i in range(6)]  # leaves an open file behind
    context = multiprocessing.get_context("fork")
    answers = context.Queue()

    def read(seed):
        order = np.random.default_rng(seed).integers(0, 6, 60)
        same = all(frames[int(i)].points.sum() == expected[i] for i in order)
        answers.put((same, len(opened)))

    workers = [context.Process(target=read, args=(seed,)) for seed in range(3)]
    for worker in workers:
        worker.start()
    found = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(timeout=60)
    assert found == [(True, 1)] * 3
    assert opened == []
