"""Clips in a real Label Studio: pushed once, answers fetched by webhook and by poll."""

from __future__ import annotations

import itertools
import time
import uuid
from contextlib import closing

import httpx
import numpy as np
import pyarrow as pa
import pytest

from benchmarks import label_push
from labeling.annotation import Submission, to_clip_boxes
from labeling.clip_interface import result_of
from labeling.clip_store import ClipStore
from labeling.label_studio_clips import LabelStudioClips
from labeling.serve import webhook
from labeling.serve.app import create_proxied_app
from labeling.server import UnavailableError
from loop.config import LabelingConfig
from loop.label import push_tasks
from loop.label_quality import count_tasks, measure_labels
from loop.settle import pull_annotations
from loop.workspace import Workspace
from scene.errors import LabelError
from storage import schemas
from storage.local import LocalStore
from storage.open import StoreConfig
from tests.support import label_studio
from tests.support.clip_answers import select_frames
from tests.support.clips import (
    cars_at,
    clips_of,
    store_recording,
    submission,
    submit,
    times_ns,
)
from tests.support.editor_server import serving

pytestmark = pytest.mark.integration
_NUMBER = itertools.count()
SECRET = "of-the-test"


@pytest.fixture(scope="module")
def server():
    return label_studio.shared()


@pytest.fixture
def bucket(tmp_path):
    store = LocalStore(tmp_path)
    recording = store_recording(store)
    return store, recording, clips_of(store, recording, length=1)


@pytest.fixture
def backend(server, bucket):
    made = backend_of(server.url, server, bucket[0], f"clips {next(_NUMBER)}")
    yield made
    made.close()


def backend_of(url, server, store, title):
    return LabelStudioClips(url, server.api_key, ClipStore(store), title)


def rows_of(server, backend):
    params = {"project": backend.project.project_id, "page_size": 500, "include": "id,data"}
    with server.client() as client:
        return client.get("/api/tasks/", params=params).json()["tasks"]


def test_a_clip_is_pushed_once_with_its_prelabels(server, backend, bucket):
    tasks = bucket[2]
    first = backend.push(tasks[:4])
    again = backend.push([*tasks, tasks[0]])
    assert (first.num_new, again.num_new) == (4, 2)
    assert first.external_ids.items() <= again.external_ids.items()
    there = {row["data"]["task_id"]: row["id"] for row in rows_of(server, backend)}
    assert {task: f"label_studio:{number}" for task, number in there.items()} == again.external_ids
    fresh = backend_of(server.url, server, bucket[0], backend.project.title)
    assert fresh.push(tasks).num_new == 0  # remembered in the bucket, not in the process
    text = backend.project.read_task(there[tasks[0].task_id])["predictions"][0]["result"]
    shown = Submission.model_validate_json(text[0]["value"]["text"][0])
    assert [box.track_id for box in shown.annotation.boxes] == ["t1", "t2"]


def test_a_push_again_costs_a_few_requests_however_many_tasks(server, tmp_path):
    costs = {cost.name: cost for cost in label_push.measure(server, tmp_path, 120)}
    for name in ("the same again", "all of it again"):
        assert costs[name].num_requests <= 3  # whose project it is, not which tasks it has
    assert "the other half, died in import 1" in costs


def test_better_prelabels_replace_those_that_nobody_touched(server, backend, bucket):
    untouched, touched = bucket[2][:2]
    external = backend.push([untouched, touched]).external_ids
    submit(server, external[touched.task_id], submission(touched))
    better = clips_of(bucket[0], bucket[1], length=1)[:2]
    for task in better:
        moved = [box.model_copy(update={"score": 0.5}) for box in task.prelabels]
        object.__setattr__(task, "prelabels", tuple(moved))
    report = backend.push(better)
    assert (report.num_new, report.num_refreshed) == (0, 1)
    assert backend.push(better).num_refreshed == 0


class Lossy(httpx.BaseTransport):
    """Carries requests to the server, but loses the answer to the first import."""

    def __init__(self):
        self.inner = httpx.HTTPTransport()
        self.lost = 0

    def handle_request(self, request):
        answer = self.inner.handle_request(request)
        if request.url.path.endswith("/import") and not self.lost:
            answer.read()
            self.lost += 1
            raise httpx.ReadTimeout("lost")
        return answer


def test_a_lost_answer_is_settled_by_a_narrow_question(server, backend, bucket):
    backend.push([])
    lossy = Lossy()
    backend.server._client = httpx.Client(base_url=server.url, transport=lossy, timeout=60)
    report = backend.push(bucket[2])
    assert lossy.lost == 1
    assert (report.num_new, len(rows_of(server, backend))) == (6, 6)


def test_a_push_that_died_before_or_after_its_request_goes_on(server, backend, bucket):
    backend.push([])
    import_ = backend._import

    def dies_before(payloads):
        raise KeyboardInterrupt

    def dies_after(payloads):
        import_(payloads)
        raise KeyboardInterrupt

    for death, there in ((dies_before, 0), (dies_after, 3)):
        backend._import = death
        with pytest.raises(KeyboardInterrupt):
            backend.push(bucket[2][:3])
        assert len(rows_of(server, backend)) == there
    backend._import = import_
    report = backend.push(bucket[2])
    assert (report.num_new, len(rows_of(server, backend))) == (3, 6)


def test_answers_come_with_author_time_and_origin(server, backend, bucket):
    task, other = bucket[2][:2]
    external = backend.push([task, other]).external_ids
    number = submit(server, external[task.task_id], submission(task, shift_m=0.5))
    assert backend.fetch().num_new == 1
    assert backend.fetch().num_new == 0
    [result] = backend.results(bucket[1])
    assert (result.annotator, result.seconds, result.review) == (
        "label_studio:1",
        41.5,
        "submitted",
    )
    [(time_ns, answer)] = result.frames.items()
    assert time_ns == task.timestamps_ns[0]
    assert answer.origin.tolist() == ["prediction-changed", "prediction"]
    np.testing.assert_allclose(answer.boxes.center_xyz_m[0], [14.5, 3.0, 0.8], atol=1e-4)

    text = submission(task, boxes=[task.prelabels[1].to_json()])
    with server.client() as client:  # second thoughts, and a reviewer's star
        body = {"result": [result_of(text)], "ground_truth": True}
        client.patch(f"/api/annotations/{number}/", json=body).raise_for_status()
        assert backend.fetch().num_new == 1
        [changed] = backend.results(bucket[1])
        assert (changed.review, changed.num_boxes) == ("accepted", 1)
        assert changed.external_id == result.external_id
        assert changed.frames[time_ns].num_deleted == 1
        client.delete(f"/api/annotations/{number}/").raise_for_status()
    assert backend.fetch(full=True).num_withdrawn == 1
    assert backend.results(bucket[1]) == []


def test_what_was_submitted_without_the_editor_is_no_answer(server, backend, bucket):
    task = bucket[2][0]
    [external] = backend.push([task]).external_ids.values()
    number = external.rpartition(":")[2]
    copied = backend.project.read_task(int(number))["predictions"][0]["result"]
    with server.client() as client:
        url = f"/api/tasks/{number}/annotations/"
        client.post(url, json={"result": copied}).raise_for_status()
    [problem] = backend.fetch().problems.values()
    assert "before the 3D editor had loaded" in problem
    assert f"task={number}" in problem
    assert backend.results(bucket[1]) == []


def test_the_spare_copy_of_an_answer_goes_when_label_studio_has_it(server, backend, bucket):
    task = bucket[2][0]
    [external] = backend.push([task]).external_ids.values()
    text = submission(task, name="pressed-once")
    clips = ClipStore(bucket[0])
    clips.submit(task, "label_studio:1", Submission.model_validate_json(text))
    assert [r.external_id for r in backend.results(bucket[1])] == ["editor-pressed-once"]
    submit(server, external, text)
    backend.fetch()
    [result] = backend.results(bucket[1])
    assert result.external_id.startswith("label_studio-")
    assert len(clips.answers(bucket[1])) == 1


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_webhooks_lost_doubled_and_forged(server, backend, bucket):
    store, recording, tasks = bucket
    external = backend.push(tasks).external_ids
    fetching = webhook.FetchThread(backend, interval_s=3600)
    app = create_proxied_app(store, server.url, hook_secret=SECRET, fetching=fetching)
    numbers = lambda: sorted(r.task_id for r in backend.results(recording))  # noqa: E731
    with serving(app) as address:
        assert isinstance(backend, LabelStudioClips)
        project = backend.project.project_id
        first = webhook.register(backend.server, project, address + webhook.PATH, SECRET)
        assert webhook.register(backend.server, project, address + webhook.PATH, SECRET) == first
        time.sleep(1)  # the first poll is over: now only webhooks tell
        submit(server, external[tasks[0].task_id], submission(tasks[0]))
        wait_for(lambda: numbers() == [tasks[0].task_id])
        payload = {"action": "ANNOTATION_CREATED", "project": {"id": project}, "task": {"id": 1}}
        for headers, status in (({}, 401), ({webhook.HOOK_HEADER: "wrong"}, 401)):
            forged = httpx.post(address + webhook.PATH, json=payload, headers=headers, timeout=60)
            assert forged.status_code == status
        right = {webhook.HOOK_HEADER: SECRET}
        bad = httpx.post(address + webhook.PATH, json={"action": "x"}, headers=right, timeout=60)
        assert bad.status_code == 400
        for _ in range(2):
            again = httpx.post(address + webhook.PATH, json=payload, headers=right, timeout=60)
            again.raise_for_status()
    submit(server, external[tasks[1].task_id], submission(tasks[1]))  # nobody listens
    assert len(numbers()) == 1
    assert backend.fetch().num_new == 1  # the poll finds it
    assert numbers() == sorted(task.task_id for task in tasks[:2])


def test_label_studio_and_editor_are_one_origin(server, backend, bucket):
    task = bucket[2][0]
    [external] = backend.push([task]).external_ids.values()
    app = create_proxied_app(bucket[0], server.url)
    with serving(app) as address, httpx.Client(base_url=address, timeout=60) as browser:
        url = f"/editor/api/tasks/{task.task_id}"
        assert browser.get(url).status_code == 401
        page = browser.get("/projects/")
        assert page.status_code == 302
        assert page.headers["location"].startswith("/user/login")
        assert len(page.headers.get_list("date")) == 1
        token = browser.get("/user/login/").text.partition('csrfmiddlewaretoken" value="')[2]
        form = {
            "email": server.email, "password": server.password,
            "csrfmiddlewaretoken": token.partition('"')[0],
        }  # fmt: skip
        home = browser.post("/user/login/", data=form)
        assert home.status_code == 302
        assert browser.get("/api/current-user/whoami").json()["email"] == server.email
        assert browser.get(url).json()["task_id"] == task.task_id  # the same session
        assert len(browser.get(f"{url}/points/0").content) > 1000
        foreign = {"origin": "http://evil.example"}
        assert browser.get(url, headers=foreign).status_code == 403
        big = {"note": "x" * (12 << 20)}  # passed on in pieces, both ways
        project = backend.project.project_id
        sent = browser.post(f"/api/projects/{project}/import", json=[{"data": big}])
        assert sent.status_code == 400  # Label Studio's own answer: the task has no title
        number = external.rpartition(":")[2]
        assert browser.get(f"/api/tasks/{number}/").json()["data"]["task_id"] == task.task_id
        assert browser.get("/api/tasks/9999999/").status_code == 404
        assert browser.options("/api/tasks/").status_code == 200


def test_a_server_that_is_down_is_said_and_nothing_is_lost(server, bucket):
    app = create_proxied_app(bucket[0], "http://127.0.0.1:9")
    with serving(app) as address:
        page = httpx.get(address, headers={"accept": "text/html"})
        assert page.status_code == 502
        assert "does not answer" in page.text
        session = {"cookie": "sessionid=x"}
        answer = httpx.get(f"{address}/editor/api/tasks", headers=session)
        assert answer.status_code == 503
    down = backend_of("http://127.0.0.1:9", server, bucket[0], "nowhere")
    down.server._delays = (0.01,)
    with pytest.raises(UnavailableError):
        down.push(bucket[2])
    with pytest.raises(LabelError):
        down.fetch()


class Person:
    """Somebody who came by the invitation of a server, with a session of their own."""

    def __init__(self, server):
        with server.client() as client:
            invitation = client.get("/api/invite").json()["invite_url"]
        self.client = httpx.Client(base_url=server.url, follow_redirects=True, timeout=60)
        self.client.get(invitation)
        form = {
            "email": f"{uuid.uuid4().hex}@example.com",
            "password": "of-the-test-1",
            "csrfmiddlewaretoken": self.client.cookies["csrftoken"],
        }
        self.client.post(invitation, data=form, headers={"referer": server.url})
        self.number = self.client.get("/api/current-user/whoami").json()["id"]

    def next_task(self, project):
        """Return the task that Label Studio gives this person now; empty if there is nothing."""
        answer = self.client.get(f"/api/projects/{project}/next")
        return {} if answer.status_code == 404 else answer.raise_for_status().json()

    def submit(self, task, text):
        body = {"result": [result_of(text)], "lead_time": 30.0}
        headers = {"x-csrftoken": self.client.cookies["csrftoken"]}
        url = f"/api/tasks/{task['id']}/annotations/"
        self.client.post(url, json=body, headers=headers).raise_for_status()


def test_two_people_label_the_share_that_is_asked_twice_and_a_third_decides(server, tmp_path):
    """The whole way: two answers, agreement, a dispute, a task for a reviewer, its decision."""
    store = StoreConfig(url=(tmp_path / "store").as_uri())
    workspace = Workspace.open(
        store,
        StoreConfig(url=(tmp_path / "landing").as_uri()),
        labeling=LabelingConfig(
            backend="label_studio", mode="cuboids", url=server.url, api_key=server.api_key,
            project=f"two {uuid.uuid4().hex}", honeypot_share=0.0, overlap_share=1.0,
        ),
    )  # fmt: skip
    recording = store_recording(workspace.store)
    times = [int(time) for time in times_ns()]
    row = {"recording": str(recording), "status": "ok", "sweeps_digest": "of-the-test"}
    known = pa.Table.from_pylist([row], schema=schemas.RECORDINGS)
    workspace.tables.replace("recordings", known, {"recording": recording})
    select_frames(workspace, recording, times)
    clips = ClipStore(workspace.store)
    assert set(push_tasks(workspace, recording)["num_people"].to_pylist()) == {2}
    [task] = [clips.get(task_id) for task_id in clips.task_ids()]
    with closing(workspace.clip_backend()) as backend:
        assert isinstance(backend, LabelStudioClips)
        project = backend.project.project_id
        first, second, third = (Person(server) for _ in range(3))
        truth = {time: cars_at(frame) for frame, time in enumerate(times)}
        boxes = [box.to_json() for box in to_clip_boxes(dict(enumerate(truth.values())), "manual")]
        asked = first.next_task(project)
        first.submit(asked, submission(task, "one", boxes=boxes))
        assert not first.next_task(project)  # nobody is asked twice
        assert second.next_task(project)["id"] == asked["id"]
        unlike = [box for box in boxes if box["frame"] != 1 or box["track_id"] == "t1"]
        second.submit(asked, submission(task, "two", boxes=unlike))
        assert not third.next_task(project)  # two are enough
        assert backend.fetch().num_new == 2

        rows = pull_annotations(workspace, recording).to_pylist()
        both = sorted(f"label_studio:{one.number}" for one in (first, second))
        assert {row["annotator"] for row in rows} == {"+".join(both)}
        assert [row["timestamp_ns"] for row in rows] == [t for t in times if t != times[1]]
        quality = measure_labels(workspace)
        counts = quality.tasks
        assert (counts.num_shared, counts.num_compared, counts.num_in_review) == (6, 6, 1)
        assert quality.agreement[0].num_frames == len(times)

        decision = third.next_task(project)
        review = clips.get(decision["data"]["task_id"])
        assert (review.purpose, review.timestamps_ns) == ("review", [times[1]])
        proposed = [box.to_json() for box in review.prelabels]
        assert len(proposed) == 2  # the consensus, with what one of them did not see
        third.submit(decision, submission(review, "decided", boxes=proposed))
        backend.fetch()
    last = {row["timestamp_ns"]: row for row in pull_annotations(workspace, recording).to_pylist()}
    assert sorted(last) == times
    decided = last[times[1]]
    assert (decided["annotator"], decided["review"]) == (f"label_studio:{third.number}", "fixed")
    assert count_tasks(workspace).num_in_review == 0
