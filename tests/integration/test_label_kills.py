"""Label Studio, the proxy and the receiver of webhooks are killed: nothing is lost or doubled."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from labeling.clip_store import ClipStore
from labeling.label_studio_clips import LabelStudioClips
from pipelines.services.ports import free_ports
from storage.local import LocalStore
from tests.support import label_studio
from tests.support.clips import clips_of, store_recording, submission, submit

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def proxy(server, home: Path, port: int, poll: float = 3600):
    """Run `starloop label serve` as a process; gives it."""
    environment = {
        **os.environ,
        "STARLOOP_HOME": str(home),
        "STARLOOP_LABELING__BACKEND": "label_studio",
        "STARLOOP_LABELING__MODE": "cuboids",
        "STARLOOP_LABELING__URL": server.url,
        "STARLOOP_LABELING__API_KEY": server.api_key,
        "PYTHONUNBUFFERED": "1",
    }
    command = [
        sys.executable, "-m", "pipelines.cli", "label", "serve",
        "--port", str(port), "--poll", str(poll),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"(http://\S+?)/projects/", line)
        assert found, line
        wait_for(lambda: is_up(found[1]))
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def is_up(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def answered(clips, recording):
    """Return the tasks with an answer, each as often as it has one."""
    return sorted(result.task_id for result in clips.results(recording))


def test_every_server_is_killed_once(tmp_path):
    """One Label Studio of its own, as it dies here."""
    home = tmp_path / "home"
    store = LocalStore(home / "store")
    recording = store_recording(store)
    tasks = clips_of(store, recording, length=1)
    clips = ClipStore(store)
    with label_studio.running(tmp_path / "label-studio") as server:
        backend = LabelStudioClips(server.url, server.api_key, clips, "starloop 3D")
        # Label Studio dies while clips are pushed: some requests were done, one is open.
        backend.push(tasks[:2])
        import_ = backend._import

        def dies(payloads):
            numbers = import_(payloads)
            server.kill()
            del numbers
            raise KeyboardInterrupt

        backend._import = dies
        with pytest.raises(KeyboardInterrupt):
            backend.push(tasks)
        server.start()
        backend._import = import_
        external = backend.push(tasks).external_ids
        params = {"project": backend.project.project_id, "page_size": 100}
        with server.client() as client:
            assert client.get("/api/tasks/", params=params).json()["total"] == len(tasks)

        [port] = free_ports(1)
        with proxy(server, home, port) as process:
            submit(server, external[tasks[0].task_id], submission(tasks[0], "first"))
            wait_for(lambda: answered(clips, recording) == [tasks[0].task_id])
            process.kill()  # the proxy and the receiver of webhooks are one process
            process.wait()
        submit(server, external[tasks[1].task_id], submission(tasks[1], "nobody-listens"))
        assert len(answered(clips, recording)) == 1
        with proxy(server, home, port):  # its first poll finds what was missed
            wait_for(lambda: len(answered(clips, recording)) == 2)
            submit(server, external[tasks[2].task_id], submission(tasks[2], "hook"))
            wait_for(lambda: len(answered(clips, recording)) == 3)

            # Label Studio dies: drafts are kept by the proxy, and pages say what is wrong.
            server.kill()
            page = httpx.get(f"http://127.0.0.1:{port}/projects/", headers={"accept": "text/html"})
            assert page.status_code == 502
            server.start()
            submit(server, external[tasks[3].task_id], submission(tasks[3], "after"))
            wait_for(lambda: len(answered(clips, recording)) == 4)
        backend.fetch(full=True)
        assert answered(clips, recording) == sorted(task.task_id for task in tasks[:4])
        assert len(clips.answers(recording)) == 4
        backend.close()
