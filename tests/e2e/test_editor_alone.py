"""A person labels a clip in the editor without Label Studio; what is stored is what was seen."""

from __future__ import annotations

import math

import pytest

from labeling.clip_store import ClipStore
from labeling.serve.access import TokenAccess
from labeling.serve.app import create_app
from storage.local import LocalStore
from tests.support import editor_page
from tests.support.clips import clips_of, store_recording
from tests.support.editor_page import EditorPage
from tests.support.editor_server import serving

pytestmark = pytest.mark.e2e
CENTIMETER, FIFTH_OF_A_DEGREE = 0.01, math.radians(0.2)


@pytest.fixture(scope="module")
def editor_at(tmp_path_factory):
    """Give a function that opens a clip in the one page, and the bucket with the clips."""
    editor_page.require()
    store = LocalStore(tmp_path_factory.mktemp("store"))
    tasks = clips_of(store, store_recording(store))
    access = TokenAccess.new()
    problems = []
    with (
        serving(create_app(store, access)) as address,
        editor_page.browsing(1280, 700) as page,
    ):
        page.on("pageerror", lambda error: problems.append(str(error)))

        def open_clip(number):
            task = tasks[number].task_id
            page.goto(f"{address}/editor/?token={access.tokens[0]}&task={task}")
            editor = EditorPage(page, inside=False)
            editor.ready()
            return editor, tasks[number]

        yield open_clip, ClipStore(store)
    assert problems == []


def selected(editor):
    return editor.box(editor.state()["selected"])


def handle(editor, view, *which):
    return editor.place("handle", view, *which)


def test_work_with_mouse_and_keys_is_stored_as_it_was_seen(editor_at):
    open_clip, clips = editor_at
    editor, task = open_clip(0)
    state = editor.state()
    assert (state["num_frames"], len(state["boxes"]), state["num_proposals"]) == (3, 2, 6)
    assert state["num_points"] > 7000

    editor.press("Shift+Enter")  # accept every prelabel
    assert editor.state()["num_proposals"] == 0

    editor.press("Tab")
    editor.idle()
    first = selected(editor)
    drag_a_face(editor)
    drag_the_body(editor)
    drag_a_corner(editor)
    drag_the_knob(editor)
    drawn = draw_a_box(editor)

    editor.press("p")  # goes on to the next frame
    editor.idle()
    state = editor.state()
    assert (state["frame"], state["selected"]) == (1, drawn)
    seen = {(box["track_id"], 1): box for box in state["boxes"]}
    editor.press("ArrowLeft")
    editor.idle()
    seen |= {(box["track_id"], 0): box for box in editor.state()["boxes"]}

    editor.press("Control+Enter")
    wait(editor, lambda state: state["submitted"])
    [answer] = clips.newest_answers(task.recording, task.task_id)
    stored = {(box.track_id, box.frame): box for box in answer.annotation.boxes}
    assert len(stored) == 6 + 2
    for key, box in seen.items():
        assert_same(stored[key], box)
    assert stored[first["track_id"], 0].origin == "prediction-changed"
    assert stored[drawn, 0].origin == "manual"
    assert answer.submission.lead_time_s > 0
    assert answer.annotation.events.drags >= 5


def test_work_without_a_server_is_kept_in_the_browser_and_sent_later(editor_at):
    open_clip, clips = editor_at
    editor, task = open_clip(1)
    drafts = "**/editor/api/tasks/*/draft"
    editor.page.route(drafts, lambda route: route.abort())
    editor.press("Tab")
    editor.press("Shift+W")
    moved = selected(editor)
    wait(editor, lambda _: status(editor) == "offline – kept here")
    editor.page.reload()
    editor.ready()
    assert editor.box(moved["track_id"])["center_xyz_m"] == pytest.approx(
        moved["center_xyz_m"], abs=1e-3
    )
    editor.page.unroute(drafts)
    editor.press("Control+s")
    wait(editor, lambda _: status(editor).startswith("saved"))
    draft = clips.draft(task.task_id, "editor:1")
    assert draft is not None
    kept = {(box["track_id"], box["frame"]): box for box in draft["annotation"]["boxes"]}
    box = kept[moved["track_id"], 0]
    assert box["center_xyz_m"] == pytest.approx(moved["center_xyz_m"], abs=CENTIMETER)


def status(editor):
    return editor.page.locator(".status").inner_text()


def drag_a_face(editor):
    before = selected(editor)
    x, y = handle(editor, "top", 1, 0)
    editor.drag((x, y), (x + 25, y))
    editor.idle()
    after = selected(editor)
    grown = after["size_lwh_m"][0] - before["size_lwh_m"][0]
    assert grown > 0.2
    assert after["size_lwh_m"][1:] == before["size_lwh_m"][1:]
    shift = math.dist(after["center_xyz_m"], before["center_xyz_m"])
    assert shift == pytest.approx(grown / 2, abs=1e-6)  # the rear face has stayed


def drag_the_body(editor):
    before = selected(editor)
    x, y = handle(editor, "side", 0, 0)
    editor.drag((x, y), (x - 18, y - 6))
    editor.idle()
    after = selected(editor)
    assert after["size_lwh_m"] == before["size_lwh_m"]
    assert after["center_xyz_m"][2] > before["center_xyz_m"][2] + 0.05
    heading = (math.cos(before["yaw_rad"]), math.sin(before["yaw_rad"]))
    moved = [after["center_xyz_m"][i] - before["center_xyz_m"][i] for i in range(2)]
    assert moved[0] * heading[0] + moved[1] * heading[1] < -0.1
    assert moved[0] * heading[1] - moved[1] * heading[0] == pytest.approx(0, abs=1e-6)


def drag_a_corner(editor):
    before = selected(editor)
    x, y = handle(editor, "front", 1, 1)
    editor.drag((x, y), (x + 8, y - 12))
    editor.idle()
    after = selected(editor)
    assert after["size_lwh_m"][0] == before["size_lwh_m"][0]
    assert after["size_lwh_m"][1] > before["size_lwh_m"][1] + 0.02
    assert after["size_lwh_m"][2] > before["size_lwh_m"][2] + 0.05


def drag_the_knob(editor):
    before = selected(editor)
    x, y = handle(editor, "top", "turn")
    editor.drag((x, y), (x, y - 30))
    editor.idle()
    after = selected(editor)
    assert 0.1 < after["yaw_rad"] - before["yaw_rad"] < 1.0
    assert after["center_xyz_m"] == before["center_xyz_m"]
    editor.press("Control+z")
    assert selected(editor) == before
    editor.press("Control+Shift+z")
    assert selected(editor) == after


def draw_a_box(editor):
    """Draw where nothing stands: the rectangle is kept, with the ground under it."""
    known = {box["track_id"] for box in editor.state()["boxes"]}
    editor.press("Escape")
    editor.press("b")
    editor.page.wait_for_timeout(400)  # the camera flies over the scene
    editor.idle()
    corners = [editor.place("project", "perspective", at) for at in ([16, -2, 0], [20, 0, 0])]
    editor.drag(*corners)
    editor.idle()
    state = editor.state()
    assert (state["tool"], state["undo"]) == ("select", "draw")
    assert state["selected"] not in known
    box = selected(editor)
    assert box["center_xyz_m"][:2] == pytest.approx([18, -1], abs=0.1)
    assert box["size_lwh_m"][:2] == pytest.approx([4, 2], abs=0.1)
    assert abs(box["center_xyz_m"][2] - box["size_lwh_m"][2] / 2) < 0.1  # on the ground
    return state["selected"]


def assert_same(stored, seen):
    assert stored.category == seen["category"]
    assert stored.center_xyz_m == pytest.approx(seen["center_xyz_m"], abs=CENTIMETER)
    assert stored.size_lwh_m == pytest.approx(seen["size_lwh_m"], abs=CENTIMETER)
    turned = math.remainder(stored.yaw_rad - seen["yaw_rad"], math.tau)
    assert abs(turned) <= FIFTH_OF_A_DEGREE


def wait(editor, until):
    for _ in range(300):
        if until(editor.state()):
            return
        editor.page.wait_for_timeout(100)
    raise AssertionError(editor.state())
