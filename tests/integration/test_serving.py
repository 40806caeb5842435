"""The endpoint as a client sees it: a real uvicorn on a free port, real HTTP."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
import uvicorn

from scene.calibration import Calibration
from scene.pose import SE3, Trajectory
from scene.recording import RecordingId
from scene.sweep import Sweep
from serving.detector import OnnxDetector
from serving.gate import GateInput, decide
from serving.protocol import HEADER_LENGTH
from serving.registry import Registry
from serving.server import create_app
from storage import layout
from storage.local import LocalStore
from storage.sweeps import SweepFile, write_sweeps
from tests.support.tiny_onnx import put_tiny_model, tiny_onnx

pytestmark = pytest.mark.integration


@contextmanager
def serving(store):
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(store, refresh_s=0.0), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        deadline = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with httpx.Client(base_url=url, timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


def release(store, model_id, champion_id=None, offset_m=0.0):
    digest = put_tiny_model(store, model_id, offset_m)
    facts = GateInput(
        model_id=model_id, onnx_digest=digest, artifacts_complete=True, parity_passed=True,
        mean_ap=0.5, champion_id=champion_id, differences={"car": Change()},
        candidate_collisions={"cut_in": False}, champion_collisions={"cut_in": False},
    )  # fmt: skip
    registry = Registry(store)
    registry.record(decide(facts))
    registry.promote(model_id)
    return digest


class Change:
    before, after, low, high, num_boxes = 0.5, 0.5, 0.0, 0.0, 10


def cloud(seed=0, count=2000):
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.normal(8, 4, (count, 3)), rng.random((count, 1))], axis=1
    ).astype(np.float32)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = LocalStore(tmp_path_factory.mktemp("bucket"))
    release(store, "m-1")
    return store


@pytest.fixture(scope="module")
def client(store):
    with serving(store) as client:
        yield client


@pytest.fixture(scope="module")
def expected(store):
    points = cloud()
    return OnnxDetector.load(store, "m-1").detect(points[:, :3], points[:, 3])


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def check_boxes(answer, expected):
    assert [box["category"] for box in answer["boxes"]] == expected.category.tolist()
    for name in ("center_xyz_m", "size_lwh_m", "yaw_rad", "score", "velocity_xy_mps"):
        found = np.array([box[name] for box in answer["boxes"]])
        np.testing.assert_array_equal(found, getattr(expected, name))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (cloud().tobytes(), "application/octet-stream"),
        (cloud().tobytes(), ""),
        (npy(cloud()), "application/octet-stream"),
        (npy(cloud().astype(np.float64)), "application/x-npy"),
        (json.dumps({"points": cloud().tolist()}).encode(), "application/json; charset=utf-8"),
    ],
)
def test_detect_gives_the_detector_s_boxes_whatever_the_encoding(
    client, expected, store, body, content_type
):
    headers = {"content-type": content_type} if content_type else {}
    answer = client.post("/detect", content=body, headers=headers).raise_for_status().json()
    check_boxes(answer, expected)
    digest = OnnxDetector.load(store, "m-1").digest
    assert answer["model"] == {"id": "m-1", "digest": digest}
    assert answer["num_points"] == 2000


def test_detect_reads_a_stored_frame(client, store):
    points = cloud(5, 500)
    sweeps = [
        Sweep(1000 + i, points[:, :3] + np.float32(i), points[:, 3], np.zeros(500, np.int32))
        for i in range(3)
    ]
    track = Trajectory(
        np.array([1000, 1001, 1002]), np.tile([1.0, 0, 0, 0], (3, 1)), np.zeros((3, 3))
    )
    key = layout.sweeps(RecordingId("drive-7"))
    write_sweeps(store, key, sweeps, track, Calibration({"lidar": SE3.identity()}), sensor="lidar")
    with SweepFile(store, key) as file:
        sweep = file.read(1)
    expected = OnnxDetector.load(store, "m-1").detect(sweep.points_ego_m, sweep.intensity)
    for method in ("GET", "POST"):
        answer = client.request(method, "/detect", params={"frame": "drive-7@1001"})
        check_boxes(answer.raise_for_status().json(), expected)
        assert answer.json()["frame"] == "drive-7@1001"


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        ({"content": b""}, 400, "no points: send float32"),
        ({"content": b"123"}, 400, "3 bytes are not float32"),
        ({"json": {"cloud": []}}, 400, 'must be {"points"'),
        ({"json": {"points": [[1, 2], [3]]}}, 400, "not an array of numbers"),
        ({"json": {"points": [["a", 2, 3, 4]]}}, 400, "not an array of numbers"),
        ({"json": {"points": [[1, 2, 3, 4, 5]]}}, 400, "expected (N, 3) or (N, 4)"),
        ({"content": b"\x93NUMPY garbage"}, 400, ".npy body cannot be read"),
        ({"params": {"frame": "no-such@1"}}, 404, "recording no-such is not stored"),
        ({"params": {"frame": "nonsense"}}, 400, "expected <recording>@<timestamp_ns>"),
        ({"params": {"frame": "../../x@1"}}, 400, "use only letters"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(client, request_, status, message):
    answer = client.post("/detect", **request_)
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_pickles_are_not_opened(client):
    body = io.BytesIO()
    np.save(body, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    answer = client.post("/detect", content=body.getvalue())
    assert answer.status_code == 400


def test_frame_outside_a_recording(client, store):
    sweep = Sweep(7, np.ones((4, 3), np.float32), np.ones(4, np.float32), np.zeros(4, np.int32))
    track = Trajectory(np.array([7]), np.array([[1.0, 0, 0, 0]]), np.zeros((1, 3)))
    write_sweeps(
        store, layout.sweeps(RecordingId("short")), [sweep], track, Calibration(), sensor="lidar"
    )
    answer = client.get("/detect", params={"frame": "short@8"})
    assert answer.status_code == 404
    assert "its 1 sweeps run from 7 to 7 ns" in answer.json()["error"]
    store.put(layout.sweeps(RecordingId("damaged")), b"no parquet")
    answer = client.get("/detect", params={"frame": "damaged@8"})
    assert answer.status_code == 500
    assert "recording damaged" in answer.json()["error"]


def test_body_that_grows_too_large_is_refused(client, monkeypatch):
    monkeypatch.setattr("serving.server.MAX_BODY_BYTES", 1 << 20)
    answer = client.post("/detect", content=bytes(2 << 20))
    assert answer.status_code == 413


def test_empty_cloud_has_no_boxes(client):
    answer = client.post("/detect", json={"points": []}).raise_for_status().json()
    assert answer["boxes"] == []


def test_open_inference_protocol_json(client, store):
    points = cloud()
    request = {
        "id": "7",
        "inputs": [
            {"name": "points", "datatype": "FP32", "shape": [2000, 4],
             "data": points.ravel().tolist()}
        ],
    }  # fmt: skip
    answer = client.post("/v2/models/detector/infer", json=request).raise_for_status().json()
    assert (answer["id"], answer["model_version"]) == ("7", "m-1")
    tensors = {tensor["name"]: tensor for tensor in answer["outputs"]}
    boxes, scores, labels = OnnxDetector.load(store, "m-1").run(points)
    for name, value in (("boxes", boxes), ("scores", scores), ("labels", labels)):
        found = np.array(tensors[name]["data"], value.dtype).reshape(tensors[name]["shape"])
        np.testing.assert_array_equal(found, value)
    assert [tensors[n]["datatype"] for n in ("boxes", "scores", "labels")] == [
        "FP32", "FP32", "INT64"
    ]  # fmt: skip


def test_open_inference_protocol_binary(client, store):
    points = cloud()
    header = json.dumps(
        {
            "inputs": [
                {"name": "points", "datatype": "FP32", "shape": list(points.shape),
                 "parameters": {"binary_data_size": points.nbytes}}
            ],
            "outputs": [
                {"name": "labels", "parameters": {"binary_data": True}},
                {"name": "scores"},
                {"name": "boxes", "parameters": {"binary_data": True}},
            ],
        }
    ).encode()  # fmt: skip
    answer = client.post(
        "/v2/models/detector/versions/m-1/infer",
        content=header + points.tobytes(),
        headers={HEADER_LENGTH: str(len(header)), "content-type": "application/octet-stream"},
    ).raise_for_status()
    length = int(answer.headers[HEADER_LENGTH])
    content, binary = json.loads(answer.content[:length]), answer.content[length:]
    labels, scores, boxes = content["outputs"]
    assert [t["name"] for t in content["outputs"]] == ["labels", "scores", "boxes"]
    first = labels["parameters"]["binary_data_size"]
    assert len(binary) == first + boxes["parameters"]["binary_data_size"]
    expected = OnnxDetector.load(store, "m-1").run(points)
    np.testing.assert_array_equal(np.frombuffer(binary[:first], "<i8"), expected[2])
    np.testing.assert_array_equal(np.float32(scores["data"]), expected[1])
    np.testing.assert_array_equal(
        np.frombuffer(binary[first:], "<f4").reshape(boxes["shape"]), expected[0]
    )


def tensor(**change):
    return {"name": "points", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 0]} | change


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"inputs": []}, "the one input"),
        ({"inputs": [tensor(name="x")]}, "expected `points`"),
        ({"inputs": [tensor(datatype="FP16")]}, "expected `points` of type FP32"),
        ({"inputs": [tensor(shape=[0, 4])]}, "N >= 1"),
        ({"inputs": [tensor(shape=[1, 3])]}, "N >= 1"),
        ({"inputs": [tensor(shape=[2, 4])]}, "4 values came"),
        ({"inputs": [tensor(data=[1, 2, 3, None])]}, "not finite"),
        ({"inputs": [tensor()], "outputs": [{"name": "masks"}]}, "['masks'] do not exist"),
        ([], "not an inference request"),
    ],
)
def test_wrong_inference_requests(client, content, message):
    answer = client.post("/v2/models/detector/infer", json=content)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_wrong_binary_lengths(client):
    header = json.dumps({"inputs": [tensor(data=None, parameters={"binary_data_size": 16})]})
    for length, body in (("x", b""), ("9999", b""), (str(len(header)), b"123")):
        answer = client.post(
            "/v2/models/detector/infer",
            content=header.encode() + body,
            headers={HEADER_LENGTH: length},
        )
        assert answer.status_code == 400


def test_health_and_metadata(client):
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json()["name"] == "starloop"
    content = client.get("/v2/models/detector").raise_for_status().json()
    assert content["versions"] == ["m-1"]
    assert content["inputs"] == [{"name": "points", "datatype": "FP32", "shape": [-1, 4]}]
    assert client.get("/v2/models/detector/ready").json()["ready"] is True
    for path in ("/v2/models/other", "/v2/models/detector/versions/m-9"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "'m-1'" in answer.json()["error"]


def test_a_new_champion_is_served_without_a_restart_and_a_damaged_one_is_not(tmp_path):
    store = LocalStore(tmp_path / "bucket")
    body = cloud().tobytes()
    with serving(store) as client:
        assert client.get("/v2/health/live").status_code == 200
        for path in ("/v2/health/ready", "/v2/models/detector"):
            assert client.get(path).status_code == 503
        answer = client.post("/detect", content=body)
        assert answer.status_code == 503
        assert "approved none" in answer.json()["error"]

        release(store, "m-1")
        first = client.post("/detect", content=body).json()
        assert first["model"]["id"] == "m-1"

        digest = release(store, "m-2", "m-1", offset_m=2.0)
        second = client.post("/detect", content=body).json()
        assert second["model"] == {"id": "m-2", "digest": digest}
        moved = second["boxes"][0]["center_xyz_m"][0] - first["boxes"][0]["center_xyz_m"][0]
        assert moved == pytest.approx(2.0, abs=1e-5)

        release(store, "m-3", "m-2", offset_m=5.0)
        store.put(layout.model("m-3", "model.onnx"), tiny_onnx(9.0))  # before anybody asked
        assert client.post("/detect", content=body).json()["model"]["id"] == "m-2"

        Registry(store).rollback("m-1")
        assert client.post("/detect", content=body).json() | {"inference_ms": 0} == first | {
            "inference_ms": 0
        }


def test_many_clients_at_once_get_their_own_boxes(client, store):
    detector = OnnxDetector.load(store, "m-1")
    failures = []

    def ask(seed):
        points = cloud(seed, 300)
        expected = detector.detect(points[:, :3], points[:, 3])
        with httpx.Client(base_url=client.base_url, timeout=60) as own:
            for _ in range(10):
                answer = own.post("/detect", content=points.tobytes()).json()
                centers = np.array([box["center_xyz_m"] for box in answer["boxes"]])
                if not np.array_equal(centers, expected.center_xyz_m):
                    failures.append(seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_real_exported_network_is_served(tmp_path):
    """The network's own export, untrained: the ONNX contract between training and serving."""
    torch = pytest.importorskip("torch", reason="pip install -e .[train]")
    from training.artifacts import write_model
    from training.config import TrainConfig
    from training.export import check_parity, export_onnx
    from training.model import PillarNet

    torch.manual_seed(0)
    config = TrainConfig(channels=(16, 16, 16), max_boxes=16)
    net = PillarNet(config)
    onnx = export_onnx(net, config)
    parity = check_parity(net, config, onnx, [cloud()])
    store = LocalStore(tmp_path / "bucket")
    area = {name: getattr(config, name) for name in ("x_min_m", "x_max_m", "y_min_m", "y_max_m")}
    card = {
        "categories": list(config.categories), "area": area, "score_threshold": 0.0,
        "parity": parity.to_dict(),
    }  # fmt: skip
    write_model(store, "m-net", onnx, b"weights", card)
    detector = OnnxDetector.load(store, "m-net")
    points = cloud()
    boxes, scores, labels = detector.run(points)
    assert boxes.shape == (16, 9)
    assert (np.diff(scores) <= 0).all()
    assert labels.dtype == np.int64
    assert len(detector.detect(points[:, :3], points[:, 3])) > 0
    assert detector.run(points[:1])[0].shape == (16, 9)
