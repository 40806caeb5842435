"""Asking the real endpoint about held-out frames."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import numpy as np
import uvicorn

from loop.predictions import predict_recording
from loop.turns import champion_id, latest_dataset
from loop.workspace import Workspace
from scene.box import Boxes
from scene.errors import NotFoundError, StoreError
from scene.recording import RecordingId, frame_id
from serving.server import create_app
from storage.manifest import DatasetManifest

_NUM_FRAMES = 5
_TOLERANCE_M = 1e-3
_START_S = 30.0


@dataclass(frozen=True)
class EndpointProof:
    """How the endpoint compared with the evaluation.

    Attributes:
        differing: frames whose boxes were not those of the evaluation.
    """

    model_id: str
    num_frames: int
    differing: list[str]
    largest_difference_m: float
    median_latency_ms: float


def prove_endpoint(workspace: Workspace) -> EndpointProof:
    """Serve the champion, ask about held-out frames over HTTP, compare with stored predictions.

    Raises:
        NotFoundError: if nothing was released.
    """
    model_id = champion_id(workspace)
    if model_id is None:
        raise NotFoundError("nothing was released: the gate has not approved a model yet")
    manifest = DatasetManifest.load(workspace.store, latest_dataset(workspace))
    frames = [(recording, t) for _, recording, t, _ in manifest.of_split("test")]
    step = max(1, len(frames) // _NUM_FRAMES)
    differing: list[str] = []
    largest, latencies = 0.0, []
    with serve(workspace) as url, httpx.Client(base_url=url, timeout=60) as client:
        for recording, timestamp in frames[::step][:_NUM_FRAMES]:
            frame = frame_id(recording, timestamp)
            start = time.perf_counter()
            answer = client.post("/detect", params={"frame": frame}).raise_for_status().json()
            latencies.append((time.perf_counter() - start) * 1e3)
            name = RecordingId(recording)
            expected = predict_recording(workspace, model_id, name, [timestamp])[timestamp]
            difference = _difference_m(answer["boxes"], expected)
            largest = max(largest, difference)
            if answer["model"]["id"] != model_id or difference > _TOLERANCE_M:
                differing.append(frame)
    return EndpointProof(
        model_id, len(latencies), differing, largest, float(np.median(latencies or [0.0]))
    )


def _difference_m(answered: list[dict], expected: Boxes) -> float:
    """Return the largest distance between box centres; infinity if the boxes differ otherwise."""
    if len(answered) != len(expected):
        return float("inf")
    if not answered:
        return 0.0
    centers = np.array([box["center_xyz_m"] for box in answered])
    if [box["category"] for box in answered] != expected.category.tolist():
        return float("inf")
    return float(np.abs(centers - expected.center_xyz_m).max())


@contextmanager
def serve(workspace: Workspace, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Run the endpoint in a thread on a free port; give its URL."""
    app = create_app(workspace.store, workspace.tables)
    listener = socket.create_server((host, port))
    config = uvicorn.Config(app, log_level="warning", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + _START_S
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            raise StoreError("the endpoint did not start; its log is above")
        time.sleep(0.02)
    try:
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
