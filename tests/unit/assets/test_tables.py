"""Tables of the pages of `detector` and `release`, and what a run may choose."""

from __future__ import annotations

import pytest

from assets.goodput import fault_table, time_table
from assets.release import comparison_rows
from assets.training_run import TrainingRun
from scene.errors import ConfigError
from tests.support.detections import random_frames
from training.engines import Setup
from training.evaluation import compare, evaluate

ACCOUNT = {
    "wall_s": 200.0, "productive_s": 150.0, "init_s": 20.0, "data_s": 10.0, "checkpoint_s": 2.0,
    "restart_s": 6.0, "wasted_s": 4.0, "other_s": 8.0,
    "faults": {"killed": 3, "straggler": 1},
    "recoveries": [
        {"kind": "killed", "tier": 1, "perceive_s": 0.1, "restart_s": s, "lost_steps": n}
        for s, n in ((0.4, 1), (0.8, 0), (0.5, 1))
    ],
}  # fmt: skip


def test_the_table_of_the_time_adds_up() -> None:
    lines = str(time_table(ACCOUNT).value).splitlines()
    assert lines[2] == "| productive | 150.00 | 75.0% |"
    assert lines[-1] == "| all | 200.00 | 100.0% |"
    seconds = [float(line.split("|")[2]) for line in lines[2:]]
    assert sum(seconds[:-1]) == seconds[-1]


def test_the_table_of_faults_has_a_row_a_kind() -> None:
    lines = str(fault_table(ACCOUNT).value).splitlines()
    assert lines[2:] == [
        "| killed | 3 | 3 | 0.10 s | 0.50 s | 2 |", "| straggler | 1 | 0 |  |  | 0 |",
    ]  # fmt: skip
    assert fault_table(ACCOUNT | {"faults": {}}).value == "*none*"


def test_a_run_chooses_over_the_settings() -> None:
    setup = Setup(engine="ray", workers="1:4", ray_address="http://head:8265")
    assert TrainingRun().over(setup) == setup
    chosen = TrainingRun(engine="starloop", workers="2", chaos="kill:30s").over(setup)
    assert (chosen.engine, chosen.workers, chosen.chaos) == ("starloop", "2", "kill:30s")
    assert TrainingRun(devices_per_worker=0.1).over(setup).devices_per_worker == 0.1
    assert TrainingRun(devices_per_worker=0.0).over(Setup(devices_per_worker=1.0)) == Setup()
    with pytest.raises(ConfigError, match="only engine ray takes a range"):
        TrainingRun(engine="starloop").over(setup)


@pytest.mark.slow
def test_the_comparison_names_every_figure_that_is_known() -> None:
    frames = random_frames(0, 20, ["car"], groups=5)
    same = evaluate(frames, ["car", "bus"], resamples=20)
    rows = comparison_rows(compare(same, same, resamples=20))
    assert [row["metric"] for row in rows] == ["mAP", "NDS", "car"]  # no bus anywhere
    assert rows[0]["difference"] == "0.000 (0.000 – 0.000)"
    assert rows[0]["not better in"] == "100.0% of resamples"
    assert comparison_rows(None) == []
