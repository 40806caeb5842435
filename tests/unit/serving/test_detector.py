from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from scene.errors import DataError, FormatError, NotFoundError, ShapeError
from scene.pose import wrap_angle
from serving.detector import ModelCard, OnnxDetector, Region
from storage import layout
from storage.local import LocalStore
from tests.support.tiny_onnx import put_tiny_model, tiny_config, tiny_onnx


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "bucket")


def cloud(seed=0, count=100):
    rng = np.random.default_rng(seed)
    return rng.normal(5, 3, (count, 3)).astype(np.float32), rng.random(count, dtype=np.float32)


def test_boxes_are_those_of_the_graph(store):
    digest = put_tiny_model(store, "m-1")
    detector = OnnxDetector.load(store, "m-1")
    points, intensity = cloud()
    boxes = detector.detect(points, intensity)
    mean = points.mean(axis=0)
    assert boxes.category.tolist() == ["car", "pedestrian"]  # the third is below the threshold
    np.testing.assert_allclose(boxes.score, [0.9, 0.4], atol=1e-6)
    np.testing.assert_allclose(boxes.center_xyz_m, [mean, mean + np.array([10, 0, 0])], atol=1e-5)
    np.testing.assert_allclose(boxes.size_lwh_m, [[4, 2, 1.5], [0.7, 0.6, 1.8]], atol=1e-6)
    np.testing.assert_allclose(boxes.velocity_xy_mps[:, 0], intensity.mean(), atol=1e-6)
    assert detector.digest == digest
    assert detector.categories == ("car", "pedestrian")
    assert detector.region == Region(-10, 50, -25, 25)


def test_threshold_can_be_chosen_and_yaw_is_wrapped(store):
    put_tiny_model(store, "m-1")
    everything = OnnxDetector.load(store, "m-1", score_threshold=0.0).detect(*cloud())
    assert len(everything) == 3
    np.testing.assert_allclose(
        everything.yaw_rad, wrap_angle(np.array([0.1, -3.0, 3.5])), atol=1e-6
    )
    assert len(OnnxDetector.load(store, "m-1", score_threshold=0.5).detect(*cloud())) == 1


def test_boxes_that_overlap_leave_but_the_best_as_in_evaluation():
    data = tiny_onnx(spacing_m=0.5)
    for nms_iou, expected in ((0.0, ["car", "pedestrian", "car"]), (0.2, ["car", "pedestrian"])):
        card = ModelCard.from_dict(tiny_config(data) | {"nms_iou": nms_iou}, "config.json")
        boxes = OnnxDetector(data, card, score_threshold=0.0).detect(*cloud())
        assert boxes.category.tolist() == expected
        assert boxes.score.tolist() == sorted(boxes.score, reverse=True)


def test_points_that_are_not_finite_are_left_out_and_nothing_gives_nothing(store):
    put_tiny_model(store, "m-1")
    detector = OnnxDetector.load(store, "m-1")
    points, intensity = cloud()
    with_holes = np.concatenate([points, np.full((5, 3), np.nan, dtype=np.float32)])
    strength = np.concatenate([intensity, np.zeros(5, dtype=np.float32)])
    whole, holed = detector.detect(points, intensity), detector.detect(with_holes, strength)
    np.testing.assert_array_equal(whole.center_xyz_m, holed.center_xyz_m)
    assert len(detector.detect(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))) == 0
    assert len(detector.detect(with_holes[-5:], strength[-5:])) == 0


@pytest.mark.parametrize(("points", "intensity"), [((4, 4), (4,)), ((4, 3), (3,)), ((12,), (4,))])
def test_arrays_that_do_not_belong_together_are_refused(store, points, intensity):
    put_tiny_model(store, "m-1")
    detector = OnnxDetector.load(store, "m-1")
    with pytest.raises(ShapeError, match="expected"):
        detector.detect(np.zeros(points, np.float32), np.zeros(intensity, np.float32))


def test_one_detector_serves_many_threads(store):
    put_tiny_model(store, "m-1")
    detector = OnnxDetector.load(store, "m-1")
    results = {}

    def work(seed):
        results[seed] = [detector.detect(*cloud(seed)).center_xyz_m[0] for _ in range(20)]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, found in results.items():
        np.testing.assert_allclose(found, np.tile(cloud(seed)[0].mean(axis=0), (20, 1)), atol=1e-5)
    assert len(results) == 6


def test_unfinished_and_damaged_models_are_named(store):
    with pytest.raises(NotFoundError, match=r"m-none.*not complete"):
        OnnxDetector.load(store, "m-none")
    put_tiny_model(store, "m-1")
    store.put(layout.model("m-1", "model.onnx"), tiny_onnx(3.0))
    with pytest.raises(FormatError, match="do not belong together"):
        OnnxDetector.load(store, "m-1")
    store.put(layout.model("m-1", "config.json"), b"{")
    with pytest.raises(FormatError, match=r"config\.json: not JSON"):
        OnnxDetector.load(store, "m-1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"categories": ["car", "unicorn"]}, "unicorn"),
        ({"area": {}}, "x_min_m"),
        ({"score_threshold": None}, "missing or wrong"),
    ],
)
def test_config_must_say_what_serving_needs(change, message):
    with pytest.raises(FormatError, match=message):
        ModelCard.from_dict(tiny_config(tiny_onnx()) | change, "config.json")


def test_bytes_that_are_no_detector_are_refused():
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("x", "y")]
    node = helper.make_node("Identity", ["x"], ["y"])
    model = helper.make_model(
        helper.make_graph([node], "other", value[:1], value[1:]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    ).SerializeToString()
    for data, message in ((b"not a graph", "cannot load"), (model, "a detector takes")):
        card = ModelCard.from_dict(tiny_config(data), "config.json")
        with pytest.raises(FormatError, match=message):
            OnnxDetector(data, card)


def test_labels_must_be_categories_of_the_config():
    data = tiny_onnx()
    card = ModelCard.from_dict(tiny_config(data) | {"categories": ["car"]}, "config.json")
    with pytest.raises(DataError, match="label outside"):
        OnnxDetector(data, card).detect(*cloud())


def test_from_files(tmp_path):
    data = tiny_onnx()
    with pytest.raises(NotFoundError):
        OnnxDetector.from_files(tmp_path)
    (tmp_path / "model.onnx").write_bytes(data)
    (tmp_path / "config.json").write_text(json.dumps(tiny_config(data)))
    assert len(OnnxDetector.from_files(tmp_path).detect(*cloud())) == 2
