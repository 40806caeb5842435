from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labeling.tracking import track_offline
from scene.box import Boxes
from scene.errors import DataError, ShapeError
from scene.pose import SE3, wrap_angle
from tests.support.moving_objects import Drive, detect, drive_past, frame_times, without

STEPS = np.arange(60) / 10


def straight(x_m, y_m, speed_mps, yaw_rad=0.0):
    along = speed_mps * STEPS
    x, y = x_m + along * np.cos(yaw_rad), y_m + along * np.sin(yaw_rad)
    return np.column_stack([x, y, np.full(60, yaw_rad)])


def curve(x_m, y_m, speed_mps, radius_m):
    yaw = speed_mps / radius_m * STEPS
    x, y = x_m + radius_m * np.sin(yaw), y_m + radius_m * (1 - np.cos(yaw))
    return np.column_stack([x, y, yaw])


def street() -> Drive:
    """A parked car, one that passes close by another, one that turns, and two people that meet."""
    return drive_past(
        {
            "parked": ("car", straight(25, -6, 0.0, 0.3)),
            "oncoming": ("car", straight(60, 4, 12.0, np.pi)),
            "ahead": ("car", straight(12, 0.5, 6.0)),
            "turning": ("truck", curve(5, 8, 8.0, 25.0)),
            "walker": ("pedestrian", straight(15, -9.8, 1.4, 0.0)),
            "runner": ("pedestrian", straight(30, -8, 2.8, np.pi)),
        }
    )


def names_of(drive: Drive, tracked) -> dict[str, set[str]]:
    """Return which tracks are nearest to each object, within a metre."""
    result: dict[str, set[str]] = {}
    for truth, boxes in zip(drive.truth, tracked.boxes, strict=True):
        away = np.linalg.norm(
            truth.center_xyz_m[:, None, :2] - boxes.center_xyz_m[None, :, :2], axis=2
        )
        for i in range(len(truth)):
            if len(boxes) and away[i].min() < 1.0 and away[:, away[i].argmin()].argmin() == i:
                near = str(boxes.track_id[away[i].argmin()])
                result.setdefault(str(truth.track_id[i]), set()).add(near)
    return result


def errors_of(drive: Drive, frames) -> tuple[float, float]:
    """Return mean distance and heading error of the nearest box of each truth, within 1.5 m."""
    far, turned = [], []
    for truth, boxes in zip(drive.truth, frames, strict=True):
        if not len(boxes):
            continue
        away = np.linalg.norm(truth.center_xyz_m[:, None] - boxes.center_xyz_m[None], axis=2)
        nearest, hit = away.argmin(axis=1), away.min(axis=1) < 1.5
        far.extend(away.min(axis=1)[hit])
        off = wrap_angle(truth.yaw_rad - boxes.yaw_rad[nearest])[hit]
        turned.extend(np.abs(off))
    return float(np.mean(far)), float(np.mean(turned))


def test_objects_keep_one_track_and_are_better_placed_than_they_were_detected():
    drive = street()
    broken = 0
    for seed in range(6):
        found = detect(drive.truth, np.random.default_rng(seed), clutter=3.0)
        tracked = track_offline(found, drive.timestamps_ns, drive.map_SE3_ego)
        names = names_of(drive, tracked)
        broken += sum(len(ids) > 1 for ids in names.values())
        assert len(set.union(*names.values())) >= len(names)
        before, after = errors_of(drive, found), errors_of(drive, tracked.boxes)
        assert after[0] < 0.6 * before[0]
        assert after[1] < 0.25 * before[1]
    assert broken <= 1  # of 36


def test_gaps_are_filled_and_marked_where_the_object_was():
    drive = street()
    hidden = without(drive.truth, "turning", range(20, 38))
    found = detect(hidden, np.random.default_rng(1), miss=0.0, noise_m=0.05)
    tracked = track_offline(found, drive.timestamps_ns, drive.map_SE3_ego)
    for i in range(20, 38):
        truth = drive.truth[i].take(drive.truth[i].track_id == "turning")
        filled = tracked.boxes[i].take(tracked.interpolated[i])
        assert filled.category.tolist() == ["truck"]
        assert np.linalg.norm(filled.center_xyz_m - truth.center_xyz_m) < 0.5
        assert abs(wrap_angle(filled.yaw_rad - truth.yaw_rad)[0]) < 0.1
        assert np.linalg.norm(filled.velocity_xy_mps - truth.velocity_xy_mps) < 1.0
    assert sum(map(np.sum, tracked.interpolated)) == 18
    bare = track_offline(found, drive.timestamps_ns, drive.map_SE3_ego, fill_gaps=False)
    assert sum(map(len, bare.boxes)) == sum(map(len, tracked.boxes)) - 18


def test_a_parked_car_that_was_hidden_for_long_is_the_same_car():
    drive = street()
    hidden = without(drive.truth, "parked", range(5, 55))
    found = detect(hidden, np.random.default_rng(2), miss=0.0)
    tracked = track_offline(found, drive.timestamps_ns, drive.map_SE3_ego)
    names = names_of(drive, tracked)
    assert len(names["parked"]) == 1
    (name,) = names["parked"]
    places = [
        boxes.take(boxes.track_id == name).transform(pose).center_xyz_m
        for boxes, pose in zip(tracked.boxes, drive.map_SE3_ego, strict=True)
    ]
    assert len(np.concatenate(places)) == 60
    assert np.ptp(np.concatenate(places), axis=0).max() < 1e-9


def test_size_and_category_are_those_of_the_track():
    drive = street()
    found = detect(drive.truth, np.random.default_rng(3))
    flickering = [
        replace(b, category=np.where((b.category == "truck") & (i % 4 == 0), "bus", b.category))
        for i, b in enumerate(found)
    ]
    tracked = track_offline(flickering, drive.timestamps_ns, drive.map_SE3_ego)
    every = Boxes.concatenate(tracked.boxes)
    assert set(every.category) == {"car", "truck", "pedestrian"}
    for name in np.unique(every.track_id):
        sizes = every.size_lwh_m[every.track_id == name]
        assert (sizes == sizes[0]).all()


def test_the_answer_does_not_depend_on_how_the_map_frame_lies():
    drive = street()
    found = detect(drive.truth, np.random.default_rng(4))
    plain = track_offline(found, drive.timestamps_ns, drive.map_SE3_ego)
    elsewhere = SE3.from_yaw(2.1, np.array([3e4, -2e4, 50.0]))
    moved = [elsewhere @ pose for pose in drive.map_SE3_ego]
    again = track_offline(found, drive.timestamps_ns, moved)
    for one, other in zip(plain.boxes, again.boxes, strict=True):
        assert one.track_id.tolist() == other.track_id.tolist()
        np.testing.assert_allclose(one.center_xyz_m, other.center_xyz_m, atol=0.02)
        np.testing.assert_allclose(wrap_angle(one.yaw_rad - other.yaw_rad), 0, atol=1e-6)


def test_false_detections_that_do_not_repeat_are_dropped():
    drive = street()
    nothing = [Boxes.empty()] * 60
    clutter = detect(nothing, np.random.default_rng(5), clutter=4.0)
    tracked = track_offline(clutter, drive.timestamps_ns, drive.map_SE3_ego)
    assert sum(map(len, tracked.boxes)) < 0.1 * sum(map(len, clutter))


def test_frames_without_boxes_and_no_frames_at_all():
    tracked = track_offline([Boxes.empty()] * 3, frame_times(3), [SE3.identity()] * 3)
    assert [len(boxes) for boxes in tracked.boxes] == [0, 0, 0]
    assert tracked.num_tracks == 0
    assert track_offline([], frame_times(0), []).boxes == ()


def test_bad_input_is_refused_with_the_place():
    drive = street()
    times, poses = drive.timestamps_ns, drive.map_SE3_ego
    with pytest.raises(ShapeError, match="60 frames of detections, 59 times and 60 poses"):
        track_offline(drive.truth, times[1:], poses)
    with pytest.raises(DataError, match="frame 2 at"):
        track_offline(drive.truth[:3], times[[0, 2, 1]], poses[:3])
    bad = replace(drive.truth[1], yaw_rad=np.full(6, np.nan))
    with pytest.raises(DataError, match="frame 1 holds a box"):
        track_offline([drive.truth[0], bad], times[:2], poses[:2])
