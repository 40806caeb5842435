"""The embedded backend on rows as ingest writes them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from labeling.backend import LabelTask, task_id_of
from labeling.embedded import ANNOTATOR, EmbeddedBackend
from scene.box import Boxes
from scene.errors import ShapeError
from storage.boxes import BOX_SCHEMA, boxes_to_arrow
from storage.schemas import SCHEMAS


class Rows:
    """Tables held in memory, read through the same call as storage.tables.Tables."""

    def __init__(self, **tables):
        self.tables = tables

    def read(self, name, where=None, columns=None):
        table = self.tables.get(name, SCHEMAS[name].empty_table())
        for column, value in (where or {}).items():
            table = table.filter(pc.equal(table[column], value))
        return table.select(columns) if columns else table


def car(x, score=np.nan):
    return Boxes.make([[x, 0, 1]], [[4.6, 1.9, 1.7]], [0.1], ["car"], track_id=["t"],
                      score=np.array([score]), num_points=np.array([12]))  # fmt: skip


def recording_rows(*names, has_ground_truth=True):
    rows = [
        {field.name: None for field in SCHEMAS["recordings"]}
        | {"recording": name, "has_ground_truth": has_ground_truth}
        for name in names
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["recordings"])


def frame_rows(name, times):
    schema = SCHEMAS["frames"]
    rows = [{f.name: None for f in schema} | {"recording": name, "timestamp_ns": t} for t in times]
    return pa.Table.from_pylist(rows, schema=schema)


def backend(boxes, times=(1, 2, 3), has_ground_truth=True):
    return EmbeddedBackend(
        Rows(
            recordings=recording_rows("a", has_ground_truth=has_ground_truth),
            frames=frame_rows("a", times),
            boxes=boxes_to_arrow("a", boxes) if boxes else BOX_SCHEMA.empty_table(),
        )
    )


def test_pull_returns_ground_truth_in_the_order_asked():
    results = backend({1: car(5.0), 2: car(6.0), 3: car(7.0)}).pull([("a", 3), ("a", 1)])
    assert [r.timestamp_ns for r in results] == [3, 1]
    assert results[0].boxes.center_xyz_m[0, 0] == 7.0
    assert results[0].annotator == ANNOTATOR
    assert results[0].external_id == f"embedded:{task_id_of('a', 3)}"
    assert results[0].boxes.num_points[0] == 12
    assert np.isnan(results[0].boxes.score).all()


def test_an_empty_frame_of_a_dense_recording_is_finished_and_empty():
    results = backend({1: car(5.0), 2: car(6.0)}).pull([("a", 3)])
    assert len(results) == 1
    assert len(results[0].boxes) == 0


def test_an_empty_frame_between_key_frames_stays_pending():
    sparse = backend({1: car(5.0)}, times=range(1, 11))
    assert sparse.pull([("a", 2)]) == []
    assert len(sparse.pull([("a", 1)])) == 1
    assert "cannot be told apart" in sparse.pending([("a", 2)])[0].reason


@pytest.mark.parametrize(
    ("frame", "has_ground_truth", "reason"),
    [
        (("a", 1), False, "has no ground truth"),
        (("b", 1), True, "ingest it first"),
        (("a", 99), True, "no frame at 99 ns"),
    ],
)
def test_pending_says_why(frame, has_ground_truth, reason):
    labels = backend({1: car(5.0), 2: car(5.0)}, has_ground_truth=has_ground_truth)
    assert labels.pull([frame]) == []
    assert reason in labels.pending([frame])[0].reason


def test_push_is_idempotent_and_ordered():
    tasks = [LabelTask("a", t, Boxes.empty(), np.zeros((4, 3), np.float32)) for t in (2, 1)]
    labels = backend({})
    assert labels.push(tasks) == labels.push(iter(tasks))
    assert labels.push(tasks) == [f"embedded:{task_id_of('a', t)}" for t in (2, 1)]


def test_digest_follows_the_boxes():
    first, again = (backend({1: car(5.0)}).pull([("a", 1)])[0] for _ in range(2))
    moved = backend({1: car(5.1)}).pull([("a", 1)])[0]
    assert first.digest == again.digest != moved.digest


def test_digest_tells_empty_frames_apart():
    one, two = backend({1: car(1.0), 2: car(1.0)}, times=(1, 2, 3, 4)).pull([("a", 3), ("a", 4)])
    assert one.digest != two.digest


def test_points_of_a_wrong_shape_are_refused():
    with pytest.raises(ShapeError, match=r"a@5.*\(N, 3\)"):
        LabelTask("a", 5, Boxes.empty(), np.zeros((3, 4), np.float32))
