"""A person labels a clip in the real page of Label Studio, and what is stored is what was seen."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from labeling.clip_interface import read_submission
from labeling.clip_store import ClipStore
from labeling.label_studio_clips import LabelStudioClips
from labeling.serve.app import create_proxied_app
from scene.pose import wrap_angle
from storage.local import LocalStore
from tests.support import editor_page, label_studio
from tests.support.clips import clips_of, store_recording, submission, submit
from tests.support.editor_page import EditorPage
from tests.support.editor_server import serving

PlaywrightError = pytest.importorskip("playwright.sync_api", reason="pip install playwright").Error
pytestmark = pytest.mark.e2e
_NUMBER = itertools.count()
BREAK_STORE = "Object.defineProperty(window, 'Htx', {get: () => undefined, set: () => {}})"


@pytest.fixture(scope="module")
def server():
    editor_page.require()
    return label_studio.shared()


@pytest.fixture
def clip(server, tmp_path):
    """A clip in Label Studio; gives the backend, the task, the page's address and the bucket."""
    store = LocalStore(tmp_path / "store")
    recording = store_recording(store)
    task = clips_of(store, recording)[0]
    backend = LabelStudioClips(
        server.url, server.api_key, ClipStore(store), f"browser {next(_NUMBER)}"
    )
    [external] = backend.push([task]).external_ids.values()
    with serving(create_proxied_app(store, server.url)) as address:
        path = f"/projects/{backend.project.project_id}/data?task={external.rpartition(':')[2]}"
        yield backend, task, address, path
    backend.close()


def open_clip(page, server, address, path):
    editor_page.log_in(page, address, server.email, server.password)
    page.goto(address + path)
    editor = EditorPage(page, inside=True)
    editor.ready()
    return editor


def submitted(page):
    return page.expect_response(
        lambda answer: answer.request.method == "POST" and "/annotations" in answer.url
    )


def seen_of(editor, num_frames):
    """Return the boxes that the screen shows in every frame."""
    editor.press("Home")
    shown = []
    for index in range(num_frames):
        state = editor.state()
        assert state["frame"] == index
        shown.append({box["track_id"]: box for box in state["boxes"]})
        editor.press("ArrowRight")
    return shown


def assert_stored(result, task, shown):
    """The stored boxes are those of the screen: 1 cm, 0.2 degrees."""
    for time_ns, boxes in zip(task.timestamps_ns, shown, strict=True):
        answer = result.frames[time_ns]
        assert sorted(answer.boxes.track_id.tolist()) == sorted(boxes)
        for i, track in enumerate(answer.boxes.track_id.tolist()):
            seen = boxes[track]
            assert answer.boxes.category[i] == seen["category"]
            for name in ("center_xyz_m", "size_lwh_m"):
                difference = getattr(answer.boxes, name)[i] - np.array(seen[name])
                assert np.abs(difference).max() <= 0.01
            turned = wrap_angle(answer.boxes.yaw_rad[i] - seen["yaw_rad"])
            assert np.degrees(abs(turned)) <= 0.2


def test_a_person_labels_a_clip_in_label_studio(server, clip, tmp_path):
    backend, task, address, path = clip
    with editor_page.browsing() as page:
        editor = open_clip(page, server, address, path)
        opened = time.monotonic()
        assert editor.state()["num_proposals"] == 6  # two cars in three frames

        # move a prelabel in the top view, turn it, and pull its front: real drags
        center = editor.box("t1")["center_xyz_m"]
        editor.click(editor.place("project", "perspective", center))
        assert editor.state()["selected"] == "t1"
        before = editor.box("t1")
        x, y = editor.place("project", "top", before["center_xyz_m"])
        editor.drag((x, y), (x + 14, y - 22))
        moved = editor.box("t1")
        shift = np.array(moved["center_xyz_m"]) - before["center_xyz_m"]
        assert np.hypot(*shift[:2]) > 0.05
        assert abs(shift[2]) < 1e-6
        knob = editor.place("handle", "top", "turn")
        editor.drag(knob, (knob[0] + 25, knob[1] + 4))
        turned = editor.box("t1")
        assert abs(turned["yaw_rad"] - moved["yaw_rad"]) > 0.02
        front = editor.place("handle", "side", 1, 0)
        editor.drag(front, (front[0] + 18, front[1]))
        longer = editor.box("t1")
        assert abs(longer["size_lwh_m"][0] - turned["size_lwh_m"][0]) > 0.05
        assert longer["origin"] == "prediction-changed"
        page.screenshot(path=tmp_path / "edited.png")

        # accept all that is left, draw a new box, carry it to the next frame
        editor.press("Shift+Enter")
        assert editor.state()["num_proposals"] == 0
        editor.press("Escape")
        editor.press("b")
        assert editor.state()["tool"] == "draw"
        editor.idle()
        rear = editor.place("project", "perspective", [4.0, -1.5, 0.0])
        ahead = editor.place("project", "perspective", [8.0, 1.0, 0.0])
        editor.drag(rear, ahead)
        drawn = editor.state()["selected"]
        assert drawn not in {None, "t1", "t2"}
        assert editor.box(drawn)["origin"] == "manual"
        editor.press("p")
        editor.idle()
        assert editor.state()["frame"] == 1
        assert editor.box(drawn)["frame"] == 1
        shown = seen_of(editor, len(task.frames))
        assert [drawn in boxes for boxes in shown] == [True, True, False]
        page.screenshot(path=tmp_path / "before-submit.png")

        worked_s = time.monotonic() - opened
        with submitted(page) as answer:
            page.get_by_role("button", name="Submit").last.click()
        assert answer.value.status == 201
    assert backend.fetch().num_new == 1
    [result] = backend.results(task.recording)
    assert_stored(result, task, shown)
    assert result.annotator == "label_studio:1"
    assert result.seconds > worked_s  # Label Studio's lead time begins before the editor is ready
    first = result.frames[task.timestamps_ns[0]]
    origin = dict(zip(first.boxes.track_id.tolist(), first.origin.tolist(), strict=True))
    assert origin == {"t1": "prediction-changed", "t2": "prediction", drawn: "manual"}


def test_the_key_of_the_editor_submits_and_a_reload_goes_on(server, clip):
    backend, task, address, path = clip
    with editor_page.browsing() as page:
        editor = open_clip(page, server, address, path)
        editor.press("Tab")
        track = editor.state()["selected"]
        editor.press("Shift+W")  # a large step ahead
        kept = editor.box(track)
        page.reload()
        editor.ready()
        assert editor.box(track)["center_xyz_m"] == pytest.approx(kept["center_xyz_m"], abs=1e-3)
        editor.press("Shift+Enter")
        shown = seen_of(editor, len(task.frames))
        with submitted(page) as answer:
            editor.press("Control+Enter")
        assert answer.value.status == 201
        page.goto("about:blank")
        page.goto(address + path)  # once more: what was submitted is opened, and can be changed
        editor.ready()
        assert editor.box(track)["center_xyz_m"] == pytest.approx(kept["center_xyz_m"], abs=1e-3)
    assert backend.fetch().num_new == 1
    [result] = backend.results(task.recording)
    assert_stored(result, task, shown)


def test_an_upgrade_that_closes_the_way_is_seen_and_the_work_is_stored(server, clip):
    backend, task, address, path = clip
    with editor_page.browsing() as page:
        page.add_init_script(f"if (window === window.top) {{ {BREAK_STORE} }}")
        editor = open_clip(page, server, address, path)
        notice = editor.frame.get_by_role("alert").filter(has_text="Label Studio")
        notice.wait_for()
        editor.press("Shift+Enter")
        shown = seen_of(editor, len(task.frames))
        with submitted(page) as answer:
            editor.press("Control+Enter")
        assert answer.value.status == 201
    report = backend.fetch()
    assert (report.num_new, report.problems) == (1, {})
    [result] = backend.results(task.recording)  # the copy on our own server is not a second one
    assert result.external_id.startswith("label_studio-")
    assert result.annotator == "label_studio:1"
    assert_stored(result, task, shown)


SELECT = "number => {const s = window.Htx.annotationStore; s.selectAnnotation("
SELECT += "s.annotations.find(a => a.pk === number).id)}"


def show_annotation(page, number):
    """Open another annotation of the task at once: no press of a button comes before it."""
    page.evaluate(SELECT, number)


def wait_for_x(editor, track, expected):
    """Wait until the screen shows a box there: the editor of another annotation goes by and by."""
    deadline, found = time.monotonic() + 60, None
    while found != pytest.approx(expected, abs=1e-3):
        assert time.monotonic() < deadline, (track, found, expected)
        try:
            editor.ready()
            found = x_of(editor, track)
        except PlaywrightError:  # it went away under the question
            continue


def x_of(editor, track):
    return editor.box(track)["center_xyz_m"][0]


def test_work_stays_in_the_annotation_that_it_was_done_in(server, clip):
    backend, task, address, path = clip
    hers = submit(server, f"x:{path.rpartition('=')[2]}", submission(task, "hers", shift_m=1.0))
    start = {box.track_id: box.center_xyz_m[0] for box in task.prelabels if box.frame == 0}
    with editor_page.browsing() as page:
        editor = open_clip(page, server, address, path)
        wait_for_x(editor, "t1", start["t1"] + 1.0)  # hers as it is

        page.get_by_label("Create an annotation").click()
        wait_for_x(editor, "t1", start["t1"])
        editor.press("Tab")
        mine = editor.state()["selected"]
        editor.press("Shift+W")
        editor.press("Shift+Enter")
        moved = x_of(editor, mine)
        assert abs(moved - start[mine]) > 0.1
        with submitted(page) as answer:
            editor.press("Control+Enter")
        first = str(answer.value.json()["id"])
        page.wait_for_timeout(1000)
        editor.ready()
        assert x_of(editor, mine) == pytest.approx(moved, abs=1e-3)  # nothing else is ever shown

        # a second annotation begins with the prelabels, and what is done there stays there
        page.get_by_label("Create an annotation").click()
        wait_for_x(editor, mine, start[mine])
        editor.press("Tab")
        for _ in range(3):
            editor.press("Shift+S")
        second = x_of(editor, mine)
        show_annotation(page, first)
        wait_for_x(editor, mine, moved)
        editor.press("Tab")
        editor.press("Shift+D")  # not yet in Label Studio when the other one is opened
        aside = editor.box(mine)["center_xyz_m"]
        show_annotation(page, None)
        wait_for_x(editor, mine, second)
        show_annotation(page, str(hers))
        wait_for_x(editor, "t1", start["t1"] + 1.0)
        show_annotation(page, first)
        wait_for_x(editor, mine, aside[0])
        assert editor.box(mine)["center_xyz_m"] == pytest.approx(aside, abs=1e-3)
        shown = seen_of(editor, len(task.frames))
        with page.expect_response(lambda a: a.request.method == "PATCH") as answer:
            page.get_by_role("button", name="Submit").last.click()  # it says Update
        assert answer.value.ok
    stored = {str(a["id"]): read_submission(a, "here") for a in backend.project.read_task(
        int(path.rpartition("=")[2]))["annotations"]}  # fmt: skip
    assert sorted(stored) == sorted([str(hers), first])
    assert stored[str(hers)].submission_id == "hers"
    kept = {(b.frame, b.track_id): b for b in stored[first].annotation.boxes}
    for frame, boxes in enumerate(shown):
        for track, box in boxes.items():
            seen = pytest.approx(box["center_xyz_m"], abs=0.01)
            assert kept[frame, track].center_xyz_m == seen
