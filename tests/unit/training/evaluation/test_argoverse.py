from __future__ import annotations

import dataclasses
import json

import numpy as np
import pyarrow.feather
import pytest
from scipy.spatial.transform import Rotation

from scene.box import Boxes
from scene.taxonomy import CATEGORY_NAMES
from tests.support.av2_devkit import INSTALL, evaluate_with_devkit, load_devkit
from tests.support.detections import random_boxes, random_frames, with_score
from tests.support.shared_data import shared_data
from training.evaluation import EvalFrame
from training.evaluation.argoverse import evaluate_argoverse

DEVKIT = load_devkit()
with_devkit = pytest.mark.skipif(DEVKIT is None, reason=f"oracle missing: {INSTALL}")
TWO = ("car", "pedestrian")


def far_and_many() -> list[EvalFrame]:
    """More than 100 predictions of a category in a frame, and boxes beyond 150 m."""
    rng = np.random.default_rng(5)
    truth = random_boxes(rng, 150, ["car"])
    far = dataclasses.replace(truth, center_xyz_m=truth.center_xyz_m * [5.0, 5.0, 1.0])
    scores = rng.permutation(300).reshape(2, 150) / 400 + 0.1
    frames = [
        EvalFrame(name, name, boxes, with_score(boxes, score))
        for name, boxes, score in (("near", truth, scores[0]), ("far", far, scores[1]))
    ]
    return [*frames, EvalFrame("empty", "empty", Boxes.empty(), Boxes.empty())]


CASES = {
    "distinct scores": lambda: random_frames(0, 16, CATEGORY_NAMES, boxes_per_frame=40),
    "one class": lambda: random_frames(2, 30, ["pedestrian"]),
    "crowded": lambda: random_frames(6, 4, ["car"], boxes_per_frame=100, noise_m=1.5),
    "mostly wrong": lambda: random_frames(5, 30, TWO, miss=0.8, clutter=30),
    "far and many": far_and_many,
    "no predictions": lambda: [
        EvalFrame("a", "a", random_boxes(np.random.default_rng(1), 9, TWO), Boxes.empty())
    ],
}


@with_devkit
@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_official_devkit(case: str) -> None:
    frames = CASES[case]()
    assert DEVKIT is not None
    official = evaluate_with_devkit(
        DEVKIT,
        {f.frame_id: f.truth for f in frames},
        {f.frame_id: f.predictions for f in frames},
        CATEGORY_NAMES,
    )
    ours = evaluate_argoverse(frames, CATEGORY_NAMES)
    for name in CATEGORY_NAMES:
        found = dataclasses.astuple(ours.classes[name])
        np.testing.assert_allclose(found, official.loc[name].to_numpy(float), rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        dataclasses.astuple(ours.mean), official.mean().to_numpy(float), rtol=0, atol=1e-9
    )


def test_of_predictions_that_ask_for_one_truth_the_best_scored_is_right() -> None:
    truth = Boxes.make([[0, 0, 0]], [[4, 2, 2]], [0], ["car"], num_points=np.array([9]))
    two = Boxes.make(
        [[0.4, 0, 0], [0.1, 0, 0]], [[4, 2, 2]] * 2, [np.pi / 2, 0], ["car"] * 2,
        score=np.array([0.9, 0.8]),
    )  # fmt: skip
    score = evaluate_argoverse([EvalFrame("a", "a", truth, two)], ["car"]).mean
    # The second one costs half the precision at full recall, one of 100 recalls.
    assert score.ap == pytest.approx(0.995)
    assert score.ate_m == pytest.approx(0.4)
    assert score.aoe_rad == pytest.approx(np.pi / 2)
    assert score.cds == pytest.approx(0.995 * (0.8 + 1.0 + 0.5) / 3)


def test_without_truth_everything_is_the_worst_possible() -> None:
    boxes = with_score(random_boxes(np.random.default_rng(0), 4, ["car"]), np.full(4, 0.5))
    score = evaluate_argoverse([EvalFrame("a", "a", Boxes.empty(), boxes)], ["car"]).mean
    assert dataclasses.astuple(score) == (0.0, 2.0, 1.0, np.pi, 0.0)


def boxes_of(name: str) -> dict[str, Boxes]:
    """Return the cuboids of one of the devkit's own test tables by log and time."""
    table = pyarrow.feather.read_table(shared_data(f"oracles/av2_detection/{name}.feather"))

    def matrix(*names: str) -> np.ndarray:
        return np.stack([table[n].to_numpy().astype(float) for n in names], axis=1)

    # Some lie on their side, where the heading is what the devkit's Euler angles make of it.
    rotation = Rotation.from_quat(matrix("qx", "qy", "qz", "qw"))
    counted = "num_interior_pts" in table.column_names
    boxes = Boxes.make(
        matrix("tx_m", "ty_m", "tz_m"),
        matrix("length_m", "width_m", "height_m"),
        rotation.as_euler("xyz")[:, 2],
        [str(name) for name in table["category"].to_pylist()],
        score=table["score"].to_numpy() if "score" in table.column_names else None,
        num_points=table["num_interior_pts"].to_numpy() if counted else None,
    )
    pairs = zip(table["log_id"].to_pylist(), table["timestamp_ns"].to_pylist(), strict=True)
    frames = np.array([f"{log}@{time}" for log, time in pairs])
    return {str(frame): boxes.take(frames == frame) for frame in np.unique(frames)}


@pytest.mark.filterwarnings("ignore:Gimbal lock")
def test_equal_to_the_values_that_the_devkits_own_tests_assert() -> None:
    path = shared_data("oracles/av2_detection/expected.json")
    expected = json.loads(path.read_text())
    truth = boxes_of("labels")
    for key, values in expected.items():
        if ".feather vs " not in key:
            continue
        predictions = boxes_of(key.split(".feather")[0])
        frames = [
            EvalFrame(t, "log", truth.get(t, Boxes.empty()), predictions.get(t, Boxes.empty()))
            for t in sorted({*truth, *predictions})
        ]
        score = evaluate_argoverse(frames, ["REGULAR_VEHICLE"]).mean
        found = {"AP": score.ap, "ATE": score.ate_m, "ASE": score.ase, "AOE": score.aoe_rad}
        for name, value in values.items():
            assert round(found[name], 3) == value, (key, name)
