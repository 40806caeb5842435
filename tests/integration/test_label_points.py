"""Points of a clip from a real S3 server: by URLs of single sweeps that only work for minutes."""

from __future__ import annotations

import uuid

import httpx
import numpy as np
import pytest

from labeling.clip_store import ClipStore
from labeling.serve.api import points_url
from scene.errors import StoreError
from storage import codec, layout
from storage.s3 import S3Store
from storage.sweeps import SweepFile
from tests.support.clips import clips_of, store_recording
from tests.support.rgw import shared_rgw

pytestmark = pytest.mark.integration
ORIGIN = "http://127.0.0.1:8020"


def test_a_browser_reads_one_sweep_and_nothing_else():
    server = shared_rgw()
    bucket = f"clips-{uuid.uuid4().hex[:8]}"
    store = S3Store(
        bucket, "team", server.endpoint, server.access_key, server.secret_key, secure=False
    )  # fmt: skip
    assert store.allow_browser(ORIGIN) == server.endpoint
    assert store.allow_browser(ORIGIN) == server.endpoint  # as after a restart
    recording = store_recording(store, num_frames=3)
    [task] = clips_of(store, recording)
    url = points_url(ClipStore(store), task.task_id, 1)
    answer = httpx.get(url, headers={"origin": ORIGIN}, timeout=60)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    foreign = httpx.get(url, headers={"origin": "http://evil.example"}, timeout=60)
    assert "access-control-allow-origin" not in foreign.headers
    with SweepFile(store, layout.sweeps(recording)) as sweeps:
        expected = sweeps.read(1).points_ego_m
    assert np.array_equal(codec.decode(answer.content, 0).points_ego_m, expected)
    other = layout.clip_points(recording, task.timestamps_ns[1])
    whole = url.replace(other, layout.sweeps(recording))
    assert whole != url
    assert httpx.get(whole, timeout=60).status_code == 403  # the signature is for one object
    assert httpx.get(url.partition("?")[0], timeout=60).status_code == 403
    assert store.exists(other)


def test_rules_of_somebody_else_are_left_alone():
    server = shared_rgw()
    bucket = f"clips-{uuid.uuid4().hex[:8]}"
    store = S3Store(bucket, "", server.endpoint, server.access_key, server.secret_key, secure=False)
    store.allow_browser("https://label.example")
    with pytest.raises(StoreError, match="rules already"):
        store.allow_browser(ORIGIN)
