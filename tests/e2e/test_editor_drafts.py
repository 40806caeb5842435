"""Unsaved work in the editor survives a dead server, a reload and a second window."""

from __future__ import annotations

import time

import pytest

from labeling.clip_store import EDITOR, ClipStore
from labeling.serve.access import TokenAccess
from labeling.serve.app import create_app
from storage.local import LocalStore
from tests.support import editor_page
from tests.support.clips import clips_of, store_recording
from tests.support.editor_page import EditorPage
from tests.support.editor_server import serving

pytestmark = pytest.mark.e2e


@pytest.fixture
def task(tmp_path):
    store = LocalStore(tmp_path)
    return clips_of(store, store_recording(store))[0]


def opened(page, address, access, task) -> EditorPage:
    page.goto(f"{address}/editor/?token={access.tokens[0]}&task={task.task_id}")
    editor = EditorPage(page, inside=False)
    editor.ready()
    return editor


def move(editor, times=1) -> float:
    """Move the first box forward by keys; return where it is then."""
    if editor.state()["selected"] is None:
        editor.press("Tab")
    for _ in range(times):
        editor.press("w")
    return selected(editor)["center_xyz_m"][0]


def selected(editor):
    return editor.box(editor.state()["selected"])


def until(what, seconds=30):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


def on_server(clips, task, track) -> float | None:
    """Return where the server's draft has a box of the first frame; None without a draft."""
    draft = clips.draft(task.task_id, f"{EDITOR}:1")
    if draft is None:
        return None
    [box] = [
        box for box in draft["annotation"]["boxes"] if (box["track_id"], box["frame"]) == (track, 0)
    ]
    return box["center_xyz_m"][0]


def test_work_done_while_the_server_is_dead_is_there_afterwards(task, tmp_path):
    editor_page.require()
    store, access = LocalStore(tmp_path), TokenAccess.new()
    clips = ClipStore(store)
    with editor_page.browsing(1000, 640) as page:
        with serving(create_app(store, access)) as address:
            port = int(address.rpartition(":")[2])
            editor = opened(page, address, access, task)
            before = move(editor)
            track = editor.state()["selected"]
            until(lambda: on_server(clips, task, track) == pytest.approx(before, abs=1e-3))
        after = move(editor, 5)  # nobody answers
        assert after != before
        page.get_by_text("offline").first.wait_for(state="attached")
        assert on_server(clips, task, track) == pytest.approx(before, abs=1e-3)
        with serving(create_app(store, access), port):
            page.reload()
            editor.ready()
            assert editor.box(track)["center_xyz_m"][0] == pytest.approx(after, abs=1e-3)
            # by content: how many saves the moves became depends on how fast they came
            until(lambda: on_server(clips, task, track) == pytest.approx(after, abs=1e-3))
