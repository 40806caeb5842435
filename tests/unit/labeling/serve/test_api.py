import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from starlette.testclient import TestClient

from labeling.clip_store import ClipStore
from labeling.serve.access import TokenAccess
from labeling.serve.app import create_app
from scene.image import Image
from storage import codec, layout
from storage.images import write_images
from storage.local import LocalStore
from storage.sweeps import SweepFile
from tests.support.clips import clips_of, store_recording

BASE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    store = LocalStore(tmp_path_factory.mktemp("bucket"))
    return store, clips_of(store, store_recording(store))


@pytest.fixture
def access():
    return TokenAccess.new(2)


@pytest.fixture
def client(bucket, access, tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<p>the editor</p>")
    (tmp_path / "assets" / "main-1.js").write_text("1")
    app = create_app(bucket[0], access, dist=tmp_path)
    return client_of(app, access, 1)


def client_of(app, access, number):
    bearer = {"authorization": f"Bearer {access.tokens[number - 1]}"}
    return TestClient(app, base_url=BASE, headers=bearer, follow_redirects=False)


def annotation(task, **changes):
    boxes = [box.to_json() for box in task.prelabels]
    return {"boxes": boxes, "time_spent_s": 12.5} | changes


def draft(task, sequence, client_id="window-1"):
    return {
        "client_id": client_id, "sequence": sequence, "version": task.version,
        "annotation": annotation(task),
    }  # fmt: skip


def submission(task, name, **changes):
    return {"submission_id": name, "annotation": annotation(task, **changes), "lead_time_s": 33.5}


def test_a_task_says_all_that_the_editor_needs(client, bucket):
    store, [task, other] = bucket
    listed = client.get("/editor/api/tasks").json()
    assert {row["task_id"] for row in listed} == {task.task_id, other.task_id}
    document = client.get(f"/editor/api/tasks/{task.task_id}").json()
    assert [frame["index"] for frame in document["frames"]] == [0, 1, 2]
    assert document["frames"][1]["map_SE3_ego"][0] == pytest.approx([1, 0, 0, 0.5])
    assert len(document["prelabels"]) == 6
    assert document["prelabels"][0]["origin"] == "prediction"
    assert document["annotation"] is None
    assert {c["name"]: c for c in document["categories"]}["car"]["color"] == "#56b4e9"
    assert "purpose" not in document  # a honeypot must not be told from the rest
    answer = client.get(document["frames"][2]["points_url"])
    with SweepFile(store, layout.sweeps(task.recording)) as sweeps:
        expected = sweeps.read(2).points_ego_m
    points = codec.decode(answer.content, 0).points_ego_m
    assert np.array_equal(points, expected)
    assert len(points) == document["frames"][2]["num_points"]
    etag = {"if-none-match": answer.headers["etag"]}
    assert client.get(document["frames"][2]["points_url"], headers=etag).status_code == 304


@pytest.mark.parametrize("camera", ["front", "camera/front left", "50% #2?", "Rückfahrkamera"])
def test_an_image_is_found_whatever_its_camera_is_called(tmp_path, camera):
    store = LocalStore(tmp_path)
    [task] = clips_of(store, store_recording(store, num_frames=3))
    write_images(store, layout.images(task.recording), [Image(camera, 5, "jpeg", b"picture")])
    place = {"camera": camera, "timestamp_ns": 5, "width": 4, "height": 4}
    seen = {**place, "K": [1.0] * 9, "camera_SE3_ego": [1.0] * 16}
    frames = tuple(replace(frame, images=(seen,)) for frame in task.frames)
    ClipStore(store).add(replace(task, frames=frames))
    access = TokenAccess.new()
    client = client_of(create_app(store, access, dist=tmp_path), access, 1)
    document = client.get(f"/editor/api/tasks/{task.task_id}").json()
    assert client.get(document["frames"][1]["images"][0]["url"]).content == b"picture"


def test_the_list_comes_in_parts(client):
    first = client.get("/editor/api/tasks", params={"limit": 1})
    after = first.headers["x-next-after"]
    second = client.get("/editor/api/tasks", params={"limit": 1, "after": after})
    assert first.json()[0]["task_id"] < second.json()[0]["task_id"]
    assert "x-next-after" not in second.headers


def test_clips_of_others_do_not_end_the_list_too_early(tmp_path):
    store = LocalStore(tmp_path)
    tasks = sorted(clips_of(store, store_recording(store), length=1), key=lambda one: one.task_id)
    access = TokenAccess.new(2)
    app = create_app(store, access, dist=tmp_path)
    for task in tasks[:3]:
        url = f"/editor/api/tasks/{task.task_id}/draft"
        client_of(app, access, 1).put(url, json=draft(task, 1)).raise_for_status()
    other, found, after = client_of(app, access, 2), [], ""
    while True:  # as the editor's list does
        part = other.get("/editor/api/tasks", params={"limit": 2, "after": after})
        found += [row["task_id"] for row in part.json()]
        if len(part.json()) < 2:
            break
        after = found[-1]
        assert part.headers["x-next-after"] == after
    assert found == [task.task_id for task in tasks[3:]]


def test_the_newest_draft_wins_and_the_other_window_is_told(client, bucket):
    url = f"/editor/api/tasks/{bucket[1][0].task_id}"
    task = bucket[1][0]
    assert client.put(f"{url}/draft", json=draft(task, 2)).json()["stored"]
    assert client.put(f"{url}/draft", json=draft(task, 2)).json()["stored"]  # sent twice
    late = client.put(f"{url}/draft", json=draft(task, 1)).json()
    assert (late["stored"], late["sequence"]) == (False, 2)
    other = client.put(f"{url}/draft", json=draft(task, 2, "window-2")).json()
    assert (other["stored"], other["client_id"]) == (False, "window-1")
    assert client.put(f"{url}/draft", json=draft(task, 3, "window-2")).json()["stored"]
    assert client.get(url).json()["draft"]["client_id"] == "window-2"


def test_racing_windows_leave_the_highest_sequence(client, bucket):
    task = bucket[1][1]
    url = f"/editor/api/tasks/{task.task_id}/draft"
    start = threading.Barrier(4)

    def save(number):
        start.wait()
        for sequence in range(number, 24, 4):
            client.put(url, json=draft(task, sequence + 10, f"w{number}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(4)))
    kept = client.get(url.removesuffix("/draft")).json()["draft"]
    assert (kept["sequence"], kept["client_id"]) == (33, "w3")


def test_the_same_submission_counts_once_and_the_newest_of_a_person_counts(tmp_path):
    store = LocalStore(tmp_path)
    recording = store_recording(store, num_frames=3)
    [task] = clips_of(store, recording)
    access = TokenAccess.new(2)
    app = create_app(store, access)
    one, two = client_of(app, access, 1), client_of(app, access, 2)
    url = f"/editor/api/tasks/{task.task_id}/submit"
    for _ in range(2):  # the answer of the first was lost
        body = submission(task, "s1")
        assert one.post(url, json=body).json()["annotation_id"] == "editor-s1"
    changed = one.post(url, json=submission(task, "s1", boxes=[]))
    assert changed.status_code == 409
    assert "reload" in changed.json()["error"]
    one.post(url, json=submission(task, "s2", boxes=[])).raise_for_status()
    two.post(url, json=submission(task, "s3")).raise_for_status()
    results = ClipStore(store).results(recording)
    assert [(r.annotator, r.num_boxes, r.seconds) for r in results] == [
        ("editor:1", 0, 33.5),
        ("editor:2", 6, 33.5),
    ]
    assert sorted(results[0].frames) == task.timestamps_ns
    assert one.get(url.removesuffix("/submit")).json()["annotation"]["boxes"] == []
    assert len(two.get(url.removesuffix("/submit")).json()["annotation"]["boxes"]) == 6


def test_what_was_submitted_is_no_draft_any_more(tmp_path):
    store = LocalStore(tmp_path)
    [task] = clips_of(store, store_recording(store, num_frames=3))
    access = TokenAccess.new()
    client = client_of(create_app(store, access), access, 1)
    url = f"/editor/api/tasks/{task.task_id}"
    client.put(f"{url}/draft", json=draft(task, 5))
    client.post(f"{url}/submit", json={**submission(task, "s"), "sequence": 5})
    assert client.get(url).json()["draft"] is None
    late = client.put(f"{url}/draft", json=draft(task, 4)).json()  # of a window left open
    assert (late["stored"], late["sequence"]) == (False, 5)
    assert client.get("/editor/api/tasks").json()[0]["state"] == "submitted"
    client.put(f"{url}/draft", json=draft(task, 6))
    assert client.get("/editor/api/tasks").json()[0]["state"] == "draft"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/editor/api/tasks/0123456789abcdef", 404),
        ("/editor/api/tasks/..%2F..%2Fsecret", 404),
        ("/editor/api/tasks/{}/points/3", 404),
        ("/editor/api/tasks/{}/points/-1", 422),
        ("/editor/api/tasks/{}/images/0/front", 404),
        ("/editor/../../pyproject.toml", 404),
        ("/editor/%2e%2e/%2e%2e/pyproject.toml", 404),
        ("/editor/%00", 404),
        (f"/editor/{'a' * 300}", 404),
    ],
)
def test_what_is_not_there(client, bucket, path, status):
    assert client.get(path.format(bucket[1][0].task_id)).status_code == status


def test_only_labellers_get_in(client, bucket, access):
    url = f"/editor/api/tasks/{bucket[1][0].task_id}"
    stranger = TestClient(client.app, base_url=BASE, follow_redirects=False)
    for path in ("", "/points/0"):
        answer = stranger.get(url + path)
        assert answer.status_code == 401
        assert "URL" in answer.json()["error"]
    assert stranger.get(url, headers={"authorization": "Bearer wrong"}).status_code == 401
    foreign = {"origin": "http://evil.example"}
    assert client.put(f"{url}/draft", json={}, headers=foreign).status_code == 403
    rebound = TestClient(client.app, base_url="http://evil.example", headers=client.headers)
    assert rebound.get(url).status_code == 400
    assert stranger.get("/editor/?token=wrong").headers.get("set-cookie") is None
    entered = stranger.get(f"/editor/?token={access.tokens[1]}&task=abc")
    assert entered.headers["location"] == "/editor/?task=abc"
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert stranger.get(url).status_code == 200
    page = stranger.get("/editor/")
    assert "the editor" in page.text
    assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
    assert "immutable" in stranger.get("/editor/assets/main-1.js").headers["cache-control"]


def test_an_editor_that_is_not_built_says_how(bucket, access, tmp_path):
    app = create_app(bucket[0], access, dist=tmp_path / "nothing")
    page = TestClient(app, base_url=BASE).get("/editor/")
    assert page.status_code == 503
    assert "make editor" in page.text


def test_a_clip_is_offered_to_as_many_people_as_are_asked(tmp_path, monkeypatch):
    store = LocalStore(tmp_path)
    first, second = clips_of(store, store_recording(store))
    clips = ClipStore(store)
    clips.add(replace(second, num_people=2))
    access = TokenAccess.new(3)
    app = create_app(store, access, dist=tmp_path)
    people = [client_of(app, access, number) for number in (1, 2, 3)]

    def offered():
        listed = [one.get("/editor/api/tasks").json() for one in people]
        ids = [{row["task_id"] for row in rows} for rows in listed]
        return [sum(task.task_id in found for found in ids) for task in (first, second)]

    def submit(number, task):
        url = f"/editor/api/tasks/{task.task_id}/submit"
        assert people[number].post(url, json=submission(task, f"s{number}")).status_code == 200

    assert offered() == [3, 3]
    url = f"/editor/api/tasks/{first.task_id}/draft"
    assert people[0].put(url, json=draft(first, 1)).json()["stored"]
    assert offered() == [1, 3]  # who began goes on alone
    submit(1, second)
    assert offered() == [1, 3]
    submit(2, second)
    assert offered() == [1, 2]  # own answers stay in sight
    monkeypatch.setattr("labeling.clip_store._LEFT_NS", 0)
    assert offered() == [3, 2]  # a draft that was left is in nobody's way
