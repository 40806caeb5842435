from dataclasses import replace

import numpy as np
import pytest

from benchmarks.accuracy_results import HeldOut, differences, table_of
from scene.box import Boxes
from scene.errors import DataError
from tests.support.tiny_scenes import make_scene
from training.data import TrainFrame


@pytest.fixture
def held_out():
    frames = [
        TrainFrame(f"{drive}@{second}000000000", *make_scene(7 * second + len(drive)))
        for drive in ("kitti.1", "panda")
        for second in range(1, 4)
    ]
    return HeldOut("digest", ("car", "pedestrian"), frames)


def guesses(held_out, shift_m):
    return [
        replace(
            frame.boxes,
            center_xyz_m=frame.boxes.center_xyz_m + np.array([shift_m, 0, 0]),
            score=np.linspace(0.9, 0.5, len(frame.boxes)),
        )
        for frame in held_out.frames
    ]


def test_predictions_that_are_read_again_score_what_they_scored(held_out, tmp_path):
    found = guesses(held_out, 0.6)
    found[1] = Boxes.empty()  # a frame in which nothing was found leaves no row
    path = tmp_path / "small" / "predictions.parquet"
    held_out.save("small", found, path)
    again = held_out.read(path)
    assert again.name == "small"
    assert [len(boxes) for boxes in again.predictions] == [len(boxes) for boxes in found]
    assert again.evaluation.nds == held_out.evaluate(found).nds
    assert 0 < again.evaluation.mean_ap.value < 1


def test_detectors_of_two_runs_are_compared_on_the_same_frames(held_out, tmp_path):
    for name, shift_m in (("coarse", 0.6), ("fine", 0.1)):
        held_out.save(name, guesses(held_out, shift_m), tmp_path / name)
    coarse, fine = (held_out.read(tmp_path / name) for name in ("coarse", "fine"))
    text, values = differences(coarse, fine)
    assert "fine minus coarse: NDS +0." in text
    assert "better in 100.0% of the resamples" in text
    assert values["nds"]["low"] > 0
    assert "| trans_err | | 0.600 | 0.100 |" in table_of([coarse, fine])


def test_predictions_for_other_frames_are_refused(held_out, tmp_path):
    path = tmp_path / "predictions.parquet"
    held_out.save("small", guesses(held_out, 0.0), path)
    with pytest.raises(DataError, match="another dataset"):
        replace(held_out, dataset="other").read(path)
