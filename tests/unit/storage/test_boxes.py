from __future__ import annotations

import numpy as np

from scene.box import Boxes
from storage.boxes import BOX_SCHEMA, arrow_to_boxes, boxes_to_arrow


def test_boxes_survive_arrow_frame_by_frame() -> None:
    rng = np.random.default_rng(0)
    frames = {
        9: Boxes.make(
            rng.normal(size=(2, 3)),
            rng.uniform(1, 5, (2, 3)),
            np.array([0.1, -3.0]),
            ["car", "pedestrian"],
            np.array([[1.0, np.nan], [np.nan, np.nan]]),
            ["a", ""],
            np.array([0.5, np.nan]),
            np.array([7, -1]),
        ),
        3: Boxes.make(np.ones((1, 3)), np.ones((1, 3)), np.zeros(1), ["bus"]),
        5: Boxes.empty(),
    }
    table = boxes_to_arrow("r", frames)
    assert table.schema == BOX_SCHEMA
    back = arrow_to_boxes(table)
    assert sorted(back) == [3, 9]  # a frame without boxes leaves no row
    for time in (3, 9):
        for name in Boxes.__slots__:
            np.testing.assert_array_equal(getattr(back[time], name), getattr(frames[time], name))


def test_no_boxes_at_all() -> None:
    assert arrow_to_boxes(BOX_SCHEMA.empty_table()) == {}
