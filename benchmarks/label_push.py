"""Ten thousand clips into a real Label Studio: `python -m benchmarks.label_push --tasks 10000`.

Prints what a first push, a push of the same again, and a push that was killed half-way cost in
seconds and requests. Label Studio runs on SQLite on this machine, in a temporary folder.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from labeling.annotation import to_clip_boxes
from labeling.clip_store import ClipStore
from labeling.clip_task import ClipFrame, ClipTask
from labeling.label_studio_clips import LabelStudioClips
from pipelines.services.label_studio import LabelStudio
from scene.box import Boxes
from scene.recording import RecordingId
from storage.local import LocalStore

_FRAMES = 5
_BOXES = 12


@dataclass(frozen=True, slots=True)
class PushCost:
    """What one push took."""

    name: str
    num_tasks: int
    seconds: float
    num_requests: int

    def __str__(self) -> str:
        return (
            f"{self.name:<34} {self.num_tasks:>6} tasks  {self.seconds:>7.1f} s  "
            f"{self.num_tasks / self.seconds:>8.0f} tasks/s  {self.num_requests:>4} requests"
        )


def clips(count: int) -> Iterator[ClipTask]:
    """Yield clips of five frames with twelve prelabels in each."""
    random = np.random.default_rng(0)
    identity = tuple(np.eye(4).ravel().tolist())
    for number in range(count):
        frames = tuple(
            ClipFrame(number * 10**10 + i * 10**8, number * _FRAMES + i, 100_000, identity)
            for i in range(_FRAMES)
        )
        boxes = {i: _boxes(random) for i in range(_FRAMES)}
        yield ClipTask(
            RecordingId(f"drive-{number // 100}"), frames, tuple(to_clip_boxes(boxes)),
            title=f"clip {number}",
        )  # fmt: skip


def _boxes(random: np.random.Generator) -> Boxes:
    return Boxes.make(
        random.uniform(-50, 50, (_BOXES, 3)), random.uniform(1, 5, (_BOXES, 3)),
        random.uniform(-3, 3, _BOXES), ["car"] * _BOXES,
        track_id=[f"t{i}" for i in range(_BOXES)], score=random.uniform(0.3, 1, _BOXES),
    )  # fmt: skip


class Pusher:
    """Pushes and counts requests; each push by a new client, as after a restart."""

    def __init__(self, server: LabelStudio, store: LocalStore, title: str) -> None:
        self._server, self._store, self._title = server, store, title

    def push(self, name: str, tasks: list[ClipTask], die_after: int = 0) -> PushCost:
        """Push; with `die_after`, die in that many-th import after the server took it."""
        backend = LabelStudioClips(
            self._server.url, self._server.api_key, ClipStore(self._store), self._title
        )
        sent: list[str] = []
        client = backend.server._client
        client.event_hooks["request"].append(lambda request: sent.append(request.url.path))

        def maybe_die(_: httpx.Response) -> None:
            if die_after and sum(path.endswith("/import") for path in sent) == die_after:
                raise KeyboardInterrupt

        client.event_hooks["response"].append(maybe_die)
        start = time.perf_counter()
        try:
            backend.push(tasks)
        except KeyboardInterrupt:
            name += f", died in import {die_after}"
        seconds = time.perf_counter() - start
        backend.close()
        return PushCost(name, len(tasks), seconds, len(sent))

    def count(self) -> int:
        """Return how many tasks the server has."""
        with self._server.client() as client:
            found = client.get("/api/projects/", params={"title": self._title}).json()["results"]
        return sum(int(project["task_number"]) for project in found)


def measure(server: LabelStudio, folder: Path, count: int) -> Iterator[PushCost]:
    """Yield the cost of every push.

    Raises:
        RuntimeError: if the server does not end with each task once.
    """
    tasks = list(clips(count))
    pusher = Pusher(server, LocalStore(folder / "store"), "push benchmark")
    yield pusher.push("first push", tasks[: count // 2])
    yield pusher.push("the same again", tasks[: count // 2])
    dying = max(1, count // 4 // 250)
    yield pusher.push("the other half", tasks, die_after=dying)
    yield pusher.push("and on from there", tasks)
    yield pusher.push("all of it again", tasks)
    if pusher.count() != count:
        raise RuntimeError(f"{pusher.count()} tasks on the server, expected {count}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    count = parser.parse_args().tasks
    with tempfile.TemporaryDirectory(prefix="label-push-") as name:
        folder = Path(name)
        server = LabelStudio(folder / "label-studio")
        server.start()
        try:
            for cost in measure(server, folder, count):
                print(cost, flush=True)
        finally:
            server.stop()
    print(f"each of the {count} clips is one task on the server")


if __name__ == "__main__":
    main()
