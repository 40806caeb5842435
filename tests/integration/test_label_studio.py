"""Against a real Label Studio server: push, label as a person does, pull, reconcile."""

from __future__ import annotations

import dataclasses
import io
import multiprocessing
import os
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from labeling import rectangles
from labeling.backend import LabelTask, task_id_of
from labeling.label_studio import LabelStudioBackend
from labeling.reconcile import Changes
from labeling.server import Server, UnavailableError
from labeling.tasks import BOX, HEADING, HEIGHT, REVERSED
from pipelines.services.label_studio import LabelStudio
from scene.bev import BevView
from scene.box import Boxes, points_in_boxes
from scene.calibration import Calibration
from scene.errors import LabelError
from scene.pose import Trajectory, wrap_angle
from scene.sweep import Sweep
from scene.taxonomy import CATEGORY
from storage import layout
from storage.local import LocalStore
from storage.sweeps import write_sweeps
from tests.support import label_studio

pytestmark = pytest.mark.integration

VIEW = BevView()
GROUND_M = -0.2
CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

SHOWN_JS = """() => {
  const image = window.Htx?.annotationStore?.selected?.names.get("bev");
  return image && {width: image.stageWidth, zoom: image.zoomScale,
          x: image.zoomingPositionX, y: image.zoomingPositionY};
}"""


@pytest.fixture(scope="module")
def server():
    return label_studio.shared()


@pytest.fixture
def sdk(server):
    client = pytest.importorskip("label_studio_sdk", reason="make oracle")
    return client.LabelStudio(base_url=server.url, api_key=server.api_key)


def street() -> Boxes:
    """Two cars, a truck that crosses and a pedestrian, standing on the ground."""
    size = np.array([[4.5, 1.9, 1.6], [4.2, 1.8, 1.5], [8.0, 2.5, 3.0], [0.7, 0.6, 1.75]])
    xy = np.array([[12.0, -3.5], [25.0, 4.0], [38.0, 0.0], [16.0, 6.0]])
    z = GROUND_M + size[:, 2:] / 2
    return Boxes.make(
        np.hstack([xy, z]), size, np.array([0.05, -2.9, 1.6, 0.7]),
        ["car", "car", "truck", "pedestrian"], track_id=["a", "b", "", "d"],
        score=np.array([0.9, 0.8, 0.7, 0.6]),
    )  # fmt: skip


def points_of(boxes: Boxes, seed: int = 0) -> np.ndarray:
    """Return points on the ground and on the sides of the boxes, float32 (N, 3)."""
    rng = np.random.default_rng(seed)
    ground = np.column_stack([rng.uniform(-20, 60, 6000), rng.uniform(-30, 30, 6000),
                              rng.normal(GROUND_M, 0.02, 6000)])  # fmt: skip
    free = ~points_in_boxes(ground, boxes, 0.2).any(axis=0)
    parts = [ground[free]]
    for i in range(len(boxes)):
        side = rng.uniform(-0.5, 0.5, (250, 3))
        axis = rng.integers(0, 2, 250)
        side[np.arange(250), axis] = np.sign(side[np.arange(250), axis]) * 0.499
        local = side * boxes.size_lwh_m[i]
        cos, sin = np.cos(boxes.yaw_rad[i]), np.sin(boxes.yaw_rad[i])
        turned = np.column_stack([local[:, 0] * cos - local[:, 1] * sin,
                                  local[:, 0] * sin + local[:, 1] * cos, local[:, 2]])  # fmt: skip
        parts.append(turned + boxes.center_xyz_m[i])
    return np.concatenate(parts).astype(np.float32)


def make_task(recording: str, timestamp_ns: int, prelabels: Boxes | None = None) -> LabelTask:
    return LabelTask(
        recording, timestamp_ns, street() if prelabels is None else prelabels, points_of(street())
    )


def backend_of(server: LabelStudio, title: str, **more) -> LabelStudioBackend:
    return LabelStudioBackend(server.url, server.api_key, title, **more)


def tasks_on_server(server: LabelStudio, backend: LabelStudioBackend) -> list[dict]:
    with server.client() as client:
        params = {"project": backend.project.project_id, "page_size": 500, "fields": "all"}
        return client.get("/api/tasks/", params=params).json()["tasks"]


def number_of(external_id: str) -> int:
    return int(external_id.removeprefix("label_studio:").partition("/")[0])


def assert_same_boxes(actual: Boxes, expected: Boxes, tolerance: float = 1e-6) -> None:
    assert actual.category.tolist() == expected.category.tolist()
    np.testing.assert_allclose(actual.center_xyz_m, expected.center_xyz_m, atol=tolerance)
    np.testing.assert_allclose(actual.size_lwh_m, expected.size_lwh_m, atol=tolerance)
    np.testing.assert_allclose(wrap_angle(actual.yaw_rad - expected.yaw_rad), 0, atol=tolerance)


def test_push_shows_the_picture_and_the_prelabels(server):
    backend = backend_of(server, "pictures")
    outside = Boxes.make(np.array([[90.0, 0, 0]]), np.ones((1, 3)), np.zeros(1), ["car"])
    [external] = backend.push([make_task("drive", 10, Boxes.concatenate([street(), outside]))])
    [task] = tasks_on_server(server, backend)
    assert task["id"] == number_of(external)
    assert task["data"]["recording"] == "drive"
    assert task["data"]["timestamp_ns"] == "10"
    with server.client() as client:
        picture = client.get(task["data"]["image"])
    assert picture.headers["content-type"] == "image/png"
    assert len(picture.content) > 5_000
    boxes = [r for r in task["predictions"][0]["result"] if r["from_name"] == BOX]
    assert len(boxes) == 4  # the one outside the picture cannot be judged
    assert "starloop" in task["meta"]


def test_push_is_idempotent_and_keeps_the_order(server):
    backend = backend_of(server, "idempotent")
    tasks = [make_task("drive", time) for time in range(20)]  # more than one batch
    first = backend.push(tasks[:5])
    again = backend_of(server, "idempotent").push(reversed(tasks))
    assert again[::-1][:5] == first
    assert len(set(again)) == 20
    assert len(tasks_on_server(server, backend)) == 20


def test_recordings_with_similar_names_are_kept_apart(server):
    backend = backend_of(server, "names")
    names = ["day1", "day1.veh01", "Day1", "day1-"]
    external = backend.push([make_task(name, 1) for name in names])
    assert len(set(external)) == 4
    assert [p.reason for p in backend.pending([(n, 1) for n in names])] == [
        "waiting for a person"
    ] * 4
    assert "push it" in backend.pending([("day1.veh02", 1)])[0].reason


def test_a_person_edits_deletes_and_draws(server, sdk, tmp_path):
    """Prelabels → a person's work through the API → pull gives exactly what was drawn."""
    store = LocalStore(tmp_path / "bucket")
    boxes = street()
    points = points_of(boxes)
    count = len(points)
    write_sweeps(
        store, layout.sweeps("drive"),
        [Sweep(time, points, np.zeros(count, np.float32), np.zeros(count, np.int32))
         for time in (100, 200, 300, 400)],
        Trajectory(np.array([100, 500]), np.tile([1.0, 0, 0, 0], (2, 1)), np.zeros((2, 3))),
        Calibration(), sensor="lidar",
    )  # fmt: skip
    backend = backend_of(server, "edits", store=store)
    frames = [("drive", 100), ("drive", 200), ("drive", 300), ("drive", 400)]
    external = backend.push([make_task(*frame) for frame in frames])
    assert backend.pull(frames) == []

    number = number_of(external[0])
    results = sdk.tasks.get(number).predictions[0].result
    by_id: dict[str, list[dict]] = {}
    for result in results:
        by_id.setdefault(result["id"], []).append(result)
    kept, moved, dropped, renamed = (by_id[f"p{i:03d}"] for i in range(4))
    moved_box = Boxes.make(
        np.array([[27.0, 3.0, 0.0]]), np.array([[4.4, 2.0, 1.5]]), np.array([2.0]), ["car"]
    )
    place = dict(zip(rectangles.COLUMNS, rectangles.from_boxes(moved_box, VIEW).values[0].tolist(),
                     strict=True))  # fmt: skip
    for part in moved:
        part["value"].update(place)
    renamed[0]["value"]["rectanglelabels"] = ["bicycle"]
    next(r for r in renamed if r["from_name"] == HEIGHT)["value"]["number"] = 1.9
    across = {"x": 40.0, "y": 70.0, "width": 8.0, "height": 2.5, "rotation": 0.0}
    drawn = {
        "id": "fresh", "from_name": BOX, "to_name": "bev", "type": "rectanglelabels",
        "original_width": 600, "original_height": 800, "image_rotation": 0,
        "value": across | {"rectanglelabels": ["car"]},
    }  # fmt: skip
    turned = {
        "id": "p000", "from_name": HEADING, "to_name": "bev", "type": "choices",
        "value": dict(kept[0]["value"]) | {"choices": [REVERSED]},
    }  # fmt: skip
    annotation = sdk.annotations.create(number, result=[*kept, *moved, *renamed, drawn])
    sdk.annotations.create(number_of(external[1]), result=[])  # looked at: nothing is there
    sdk.annotations.create(number_of(external[2]), result=results, was_cancelled=True)  # skipped

    first, empty = backend.pull(frames)
    assert (first.timestamp_ns, empty.timestamp_ns) == (100, 200)
    assert len(empty.boxes) == 0
    assert first.external_id == f"{external[0]}/{annotation.id}"
    assert re.fullmatch(r"label_studio:\d+", first.annotator)
    expected = Boxes.make(
        np.array([boxes.center_xyz_m[0], [27.0, 3.0, boxes.center_xyz_m[1, 2]],
                  [*boxes.center_xyz_m[3, :2], GROUND_M + 0.95], [3.0, 3.6, GROUND_M + 0.85]]),
        np.array([boxes.size_lwh_m[0], [4.4, 2.0, 1.5], [0.7, 0.6, 1.9], [4.8, 2.0, 1.7]]),
        np.array([boxes.yaw_rad[0], 2.0, 0.7, np.pi / 2]),
        ["car", "car", "bicycle", "car"],
    )  # fmt: skip
    upright = [0, 1, 2]  # the hand-drawn one stands on measured ground: centimeters, not exact
    assert_same_boxes(first.boxes.take(np.array(upright)), expected.take(np.array(upright)))
    assert_same_boxes(first.boxes, expected, tolerance=0.04)
    assert first.boxes.track_id.tolist() == ["a", "b", "d", ""]
    assert np.isnan(first.boxes.score).all()
    assert first.boxes.num_points[0] == points_in_boxes(points, boxes)[0].sum() >= 200
    assert backend.changes(frames) == {
        frames[0]: Changes(num_kept=1, num_edited=2, num_deleted=1, num_added=1),
        frames[1]: Changes(num_kept=0, num_edited=0, num_deleted=4, num_added=0),
    }
    reasons = {p.timestamp_ns: p.reason for p in backend.pending(frames)}
    assert reasons == {300: "skipped by a person", 400: "waiting for a person"}

    sdk.annotations.update(id=annotation.id, result=[*kept, turned, *dropped])  # second thoughts
    second = backend.pull(frames)[0]
    assert second.digest != first.digest
    assert second.boxes.category.tolist() == ["car", "truck"]
    flipped = wrap_angle(second.boxes.yaw_rad - boxes.yaw_rad[[0, 2]])
    np.testing.assert_allclose(np.abs(flipped), [np.pi, 0], atol=1e-6)
    sdk.annotations.delete(annotation.id)
    assert [r.timestamp_ns for r in backend.pull(frames)] == [200]


def test_an_unusable_annotation_is_reported_and_stops_nobody_else(server, sdk):
    backend = backend_of(server, "unusable")
    frames = [("drive", 1), ("drive", 2)]
    external = backend.push([make_task(*frame) for frame in frames])
    good = sdk.tasks.get(number_of(external[1])).predictions[0].result
    bad = [dict(good[0], value=dict(good[0]["value"], rectanglelabels=["spaceship"]))]
    sdk.annotations.create(number_of(external[0]), result=bad)
    sdk.annotations.create(number_of(external[1]), result=good)
    [result] = backend.pull(frames)
    assert_same_boxes(result.boxes, street(), tolerance=1e-3)  # numbers are sent in millimeters
    [pending] = backend.pending(frames)
    assert "spaceship" in pending.reason
    assert server.url in pending.reason


def test_wrong_counters_of_the_server_hide_no_work(server, sdk):
    """A draft saved at the same moment can set Label Studio's own counters back to zero."""
    backend = backend_of(server, "counters")
    [external] = backend.push([make_task("drive", 1)])
    number = number_of(external)
    sdk.annotations.create(number, result=sdk.tasks.get(number).predictions[0].result)
    with closing(sqlite3.connect(server.folder / "label_studio.sqlite3", timeout=30)) as database:
        database.execute(
            "update task set total_annotations = 0, is_labeled = 0, total_predictions = 0 "
            "where id = ?", (number,)
        )  # fmt: skip
        database.commit()
    assert backend.push([make_task("drive", 1)]) == [external]
    [task] = tasks_on_server(server, backend)
    assert (task["total_annotations"], len(task["predictions"])) == (0, 1)
    assert len(backend.pull([("drive", 1)])[0].boxes) == 4


class LossyProxy:
    """Forwards to the server, but swallows the answer of the first task import."""

    def __init__(self, target: str) -> None:
        import http.server

        swallowed = self.swallowed = []
        client = httpx.Client(base_url=target, timeout=60)

        class Handler(http.server.BaseHTTPRequestHandler):
            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                answer = client.request(self.command, self.path, content=body, headers=headers)
                if self.path.endswith("/import") and not swallowed:
                    swallowed.append(answer.status_code)
                    self.connection.close()
                    return
                self.send_response(answer.status_code)
                self.send_header("content-type", answer.headers.get("content-type", ""))
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_GET = do_POST = do_PATCH = do_DELETE = forward

            def log_message(self, *args) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_lost_answer_makes_no_second_task(server):
    proxy = LossyProxy(server.url)
    try:
        backend = LabelStudioBackend(proxy.url, server.api_key, "lossy")
        external = backend.push([make_task("drive", time) for time in range(3)])
    finally:
        proxy.close()
    assert proxy.swallowed == [201]  # the server did make them
    assert len(tasks_on_server(server, backend_of(server, "lossy"))) == len(set(external)) == 3


def _push_without_end(url: str, api_key: str, title: str, count: int) -> None:
    """Push all tasks but the last, which never comes: however fast it is, a kill comes in time."""
    LabelStudioBackend(url, api_key, title).push(_all_but_one(count))


def _all_but_one(count: int) -> Iterator[LabelTask]:
    yield from (make_task("drive", time) for time in range(count - 1))
    signal.pause()


def test_kill_during_push_leaves_nothing_twice(server):
    backend = backend_of(server, "killed")
    backend.push([])
    project = backend.project.project_id
    context = multiprocessing.get_context("spawn")
    process = context.Process(
        target=_push_without_end, args=(server.url, server.api_key, "killed", 64)
    )  # fmt: skip
    process.start()
    with server.client() as client:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            params = {"project": project, "page_size": 1}
            if client.get("/api/tasks/", params=params).json()["total"] >= 16:
                break
            time.sleep(0.2)  # asking without a pause starves the pusher on SQLite
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    before = len(tasks_on_server(server, backend))
    assert 16 <= before < 64
    external = backend.push(make_task("drive", time) for time in range(64))
    tasks = tasks_on_server(server, backend)
    assert len(tasks) == len(set(external)) == 64
    assert all(len(task["predictions"]) == 1 for task in tasks)


def test_racing_pushers_end_with_one_project_and_one_task_each(server):
    def push(_: int) -> list[str]:
        return backend_of(server, "race").push([make_task("drive", time) for time in range(4)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(push, range(4)))
    external = push(0)
    with server.client() as client:
        titles = client.get("/api/projects/", params={"page_size": 200}).json()["results"]
    assert [project["title"] for project in titles].count("race") == 1
    tasks = tasks_on_server(server, backend_of(server, "race"))
    assert sorted(task["data"]["task_id"] for task in tasks) == sorted(
        task_id_of("drive", time) for time in range(4)
    )
    assert sorted(task["id"] for task in tasks) == sorted(map(number_of, external))


def test_prelabels_lost_on_the_way_are_added(server):
    backend = backend_of(server, "half-made")
    [external] = backend.push([make_task("drive", 1)])
    with server.client() as client:
        task = client.get(f"/api/tasks/{number_of(external)}/").json()
        client.delete(f"/api/predictions/{task['predictions'][0]['id']}/").raise_for_status()
    backend.push([make_task("drive", 1)])
    [task] = tasks_on_server(server, backend)
    assert len(task["predictions"]) == 1


def test_a_personal_token_works_where_legacy_ones_are_forbidden(server):
    with server.client() as client:
        token = client.post("/api/token/").json()["token"]
        settings = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": False}
        client.post("/api/jwt/settings", json=settings).raise_for_status()
        try:
            with pytest.raises(LabelError, match="personal access token"):
                backend_of(server, "tokens").push([make_task("drive", 1)])
            backend = LabelStudioBackend(server.url, token, "tokens")
            assert len(backend.push([make_task("drive", 1)])) == 1
        finally:
            access = client.post("/api/token/refresh/", json={"refresh": token}).json()["access"]
            httpx.post(
                f"{server.url}/api/jwt/settings",
                json=settings | {"legacy_api_tokens_enabled": True},
                headers={"Authorization": f"Bearer {access}"},
            ).raise_for_status()  # fmt: skip


def test_a_wrong_key_says_so(server):
    with pytest.raises(LabelError, match="401"):
        LabelStudioBackend(server.url, "0" * 40).push([make_task("drive", 1)])


def test_a_project_of_another_kind_is_refused(server):
    with server.client() as client:
        config = '<View><Image name="i" value="$image"/><Choices name="c" toName="i">'
        config += '<Choice value="a"/></Choices></View>'
        client.post("/api/projects/", json={"title": "other", "label_config": config})
    with pytest.raises(LabelError, match="another labelling interface"):
        backend_of(server, "other").push([make_task("drive", 1)])


def test_a_server_that_is_down_is_reported():
    closed = Server("http://127.0.0.1:9", "k" * 40, retry_delays_s=(0.01,))
    with pytest.raises(UnavailableError, match="is the server up"):
        closed.get("/api/projects/")


@pytest.mark.e2e
def test_a_person_in_a_browser(server, tmp_path):
    """Open the task, see the prelabels on the points, drag one, press Submit, pull, compare."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if not CHROMIUM.exists():
        pytest.skip("no browser: apt-get install chromium")
    backend = backend_of(server, "browser")
    [external] = backend.push([make_task("drive", 1)])
    address = f"{server.url}/projects/{backend.project.project_id}/data?task={number_of(external)}"
    boxes, foreign = street(), []
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1600, "height": 1500})
        page.on("request", lambda r: foreign.append(r.url) if _is_foreign(r.url, server) else None)
        page.goto(f"{server.url}/user/login/")
        page.fill("input[name=email]", server.email)
        page.fill("input[name=password]", server.password)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(lambda url: "login" not in url)
        page.goto(address)
        submit = page.get_by_role("button", name="Submit")
        submit.wait_for(timeout=120_000)
        stage = page.locator(".konvajs-content").first
        stage.wait_for(timeout=60_000)
        aside = boxes.center_xyz_m + np.array([3.0, 3.0, 0])
        moved_away = dataclasses.replace(boxes, center_xyz_m=aside)
        columns = VIEW.shape[1]
        deadline = time.monotonic() + 60
        shares = [0.0]
        while min(shares) <= 0.8:  # the page moves and remounts things while it loads
            assert time.monotonic() < deadline, shares
            place, shown = stage.bounding_box(), page.evaluate(SHOWN_JS)
            if not place or not shown:
                continue
            scale = shown["width"] * shown["zoom"] / columns  # zoomed to fill its frame
            shift = np.array([shown["x"], shown["y"]])
            seen = _picture_of(page.screenshot(path=tmp_path / "prelabels.png", clip=place))
            shares = _outline_shares(seen, boxes, scale, shift)
        assert max(_outline_shares(seen, moved_away, scale, shift)) < 0.3

        x, y = VIEW.to_pixels(boxes.center_xyz_m[0, :2]) * scale + shift
        x, y = x + place["x"], y + place["y"]
        page.mouse.click(x, y)
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 20, y - 30, steps=5)
        page.mouse.move(x + 40, y - 60, steps=5)
        # The editor saves a draft after an edit and swallows a Submit pressed meanwhile.
        with page.expect_response(lambda answer: _is_post(answer, "/drafts"), timeout=60_000):
            page.mouse.up()
        page.screenshot(path=tmp_path / "edited.png")
        with page.expect_response(lambda answer: _is_post(answer, "/annotations"), timeout=60_000):
            submit.click()
        browser.close()
    assert foreign == []
    [result] = backend.pull([("drive", 1)])
    meters = VIEW.meters_per_pixel / scale
    boxes.center_xyz_m[0, :2] += [60 * meters, -40 * meters]
    rest = np.array([1, 2, 3])
    assert_same_boxes(result.boxes.take(rest), boxes.take(rest), tolerance=1e-3)
    first = np.array([0])
    assert_same_boxes(result.boxes.take(first), boxes.take(first), tolerance=2.5 * meters)
    assert backend.changes([("drive", 1)]) == {("drive", 1): Changes(3, 1, 0, 0)}


def _is_post(answer, path: str) -> bool:
    return answer.request.method == "POST" and path in answer.url and answer.ok


def _is_foreign(url: str, server: LabelStudio) -> bool:
    return not url.startswith((server.url, "data:", "blob:"))


def _picture_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def _outline_shares(picture: np.ndarray, boxes: Boxes, scale: float, shift) -> list[float]:
    """Return how much of each box's outline is painted in its category's colour."""
    shares = []
    along = np.linspace(0, 1, 25)[:, None]
    for i, corners in enumerate(VIEW.to_pixels(boxes.corners_bev_m()) * scale + shift):
        edges = [a + (b - a) * along for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)]
        colour = np.array(CATEGORY[str(boxes.category[i])].color_rgb)
        near = np.zeros(100, dtype=bool)
        for dx in range(-2, 3):
            for dy in range(-2, 3):
                column, row = (np.concatenate(edges) + np.array([dx, dy])).astype(int).T
                near |= np.abs(picture[row, column] - colour).max(axis=1) < 70
        shares.append(float(near.mean()))
    return shares
