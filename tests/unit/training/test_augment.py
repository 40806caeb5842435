from dataclasses import replace

import numpy as np
import pytest

from scene.box import points_in_boxes
from tests.support.tiny_scenes import make_scene
from training import config as recipes
from training.augment import ObjectBank, augment, in_area, mirror, turn_and_scale

CONFIG = replace(recipes.small(), categories=("car", "pedestrian"), paste=(("pedestrian", 3),))


def inside(points, boxes):
    return points_in_boxes(points[:, :3], boxes, 0.01).sum(axis=1)


@pytest.mark.parametrize(
    "change",
    [
        mirror,
        lambda p, b: turn_and_scale(p, b, 0.7, 1.0),
        lambda p, b: turn_and_scale(p, b, -2.9, 1.1),
    ],
)
def test_points_stay_in_their_boxes(change):
    points, boxes = make_scene(3)
    moved, turned = change(points, boxes)
    np.testing.assert_allclose(inside(moved, turned), inside(points, boxes), atol=2, rtol=0.1)
    np.testing.assert_array_equal(moved[:, 3], points[:, 3])
    speed = np.hypot(*boxes.velocity_xy_mps.T)
    heading = np.arctan2(*turned.velocity_xy_mps.T[::-1])
    moving = speed > 1
    np.testing.assert_allclose(heading[moving], turned.yaw_rad[moving], atol=1e-6)


def test_mirroring_twice_changes_nothing():
    points, boxes = make_scene(4)
    again, back = mirror(*mirror(points, boxes))
    np.testing.assert_array_equal(again, points)
    np.testing.assert_allclose(back.yaw_rad, boxes.yaw_rad)


def test_same_generator_gives_the_same_frame():
    points, boxes = make_scene(5)
    bank = ObjectBank.build([make_scene(i) for i in range(3)], CONFIG)
    first = augment(points, boxes, CONFIG, np.random.default_rng(1), bank)
    second = augment(points, boxes, CONFIG, np.random.default_rng(1), bank)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1].center_xyz_m, second[1].center_xyz_m)
    assert in_area(first[0], CONFIG).all()


def test_pasted_objects_stand_free_and_hide_what_is_behind():
    scenes = [make_scene(i) for i in range(6)]
    bank = ObjectBank.build(scenes, CONFIG)
    assert bank.objects["pedestrian"]
    plain = replace(CONFIG, flip=0.0, rotation_rad=0.0, scale=0.0, reverse=0.0)
    pasted = 0
    for seed, (points, boxes) in enumerate(scenes):
        cloud, merged = augment(points, boxes, plain, np.random.default_rng(seed), bank)
        added = merged.take(np.arange(len(boxes), len(merged)))
        pasted += len(added)
        assert set(added.category) <= {"pedestrian"}
        for i in range(len(added)):
            gap = np.hypot(*(boxes.center_xyz_m[:, :2] - added.center_xyz_m[i, :2]).T)
            reach = np.hypot(*boxes.size_lwh_m[:, :2].T) / 2
            assert (gap > reach).all()
        visible = in_area(np.column_stack([added.center_xyz_m, np.zeros(len(added))]), plain)
        assert (inside(cloud, added)[visible & (added.center_xyz_m[:, 0] > 1)] >= 4).all()
        assert len(cloud) < len(points)
    assert pasted >= 6


def test_without_a_bank_nothing_is_pasted_and_clouds_are_thinned():
    points, boxes = make_scene(6)
    config = replace(CONFIG, max_points=500)
    cloud, same = augment(points, boxes, config, np.random.default_rng(0), None)
    assert len(cloud) == 500
    assert len(same) == len(boxes)
