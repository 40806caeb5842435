"""Objects of other frames are placed where they stand free, with their points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scene.box import points_in_boxes
from tests.support.tiny_scenes import make_scene
from training import config as recipes
from training.augment import ObjectBank, stands_free
from training.placing import place_objects

CONFIG = replace(
    recipes.small(), categories=("car", "pedestrian"), paste=(("pedestrian", 6), ("car", 4))
)
BANK = ObjectBank.build([make_scene(i) for i in range(6)], CONFIG)


def test_every_object_stands_free_of_those_before_it() -> None:
    for seed in range(20):
        boxes = make_scene(seed)[1]
        placed, _, _ = place_objects(boxes, CONFIG, np.random.default_rng(seed), BANK)
        assert len(placed) >= 3
        for i in range(len(placed)):
            there = type(boxes).concatenate([boxes, placed.take(np.arange(i))])
            assert stands_free(there, placed.take(np.array([i])))


def test_points_turn_with_their_boxes() -> None:
    boxes = make_scene(1)[1]
    placed, points, counts = place_objects(boxes, CONFIG, np.random.default_rng(0), BANK)
    assert counts.sum() == len(points)
    owner = np.repeat(np.arange(len(placed)), counts)
    inside = points_in_boxes(points[:, :3].astype(np.float64), placed, 0.051)
    assert inside[owner, np.arange(len(points))].all()


def test_the_bank_keeps_its_objects_as_they_are() -> None:
    before = [cut.copy() for cut in BANK.cuts]
    place_objects(make_scene(1)[1], CONFIG, np.random.default_rng(0), BANK)
    for cut, was in zip(BANK.cuts, before, strict=True):
        np.testing.assert_array_equal(cut, was)


def test_nothing_is_asked_for() -> None:
    nothing = replace(CONFIG, paste=())
    placed, points, counts = place_objects(
        make_scene(1)[1], nothing, np.random.default_rng(0), BANK
    )
    assert (len(placed), len(points), len(counts)) == (0, 0, 0)
