"""Every rule finds exactly its own fault in a drive that is clean otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from recordings.recording import ASSUMED_CLOCK, ASSUMED_POSES, ODOMETRY_POSES
from recordings.rules.quality import RULES, SUBJECTS
from recordings.rules.rule import Finding
from scene.box import Boxes
from scene.pose import SE3, Trajectory
from scene.sweep import Sweep
from tests.support.rule_drives import (
    CAMERA,
    EGO_SE3_CAMERA,
    EGO_SE3_LIDAR,
    PERIOD_NS,
    START_NS,
    Drive,
    drive,
)

Fault = Callable[[Drive], None]
FAULTS: dict[str, tuple[Fault, str]] = {}  # by code: how to make it, words of the message
ELSEWHERE = {"REC051", "REC052"}  # compare recordings with each other: test_fingerprint


def fault(code: str, words: str) -> Callable[[Fault], Fault]:
    def keep(function: Fault) -> Fault:
        FAULTS[code] = (function, words)
        return function

    return keep


def empty(sweep: Sweep) -> Sweep:
    none = np.zeros(0, np.float32)
    return Sweep(sweep.timestamp_ns, np.zeros((0, 3), np.float32), none, np.zeros(0, np.int32))


def keep(sweep: Sweep, mask: np.ndarray) -> Sweep:
    ring = None if sweep.ring is None else sweep.ring[mask]
    return Sweep(
        sweep.timestamp_ns, sweep.points_ego_m[mask], sweep.intensity[mask],
        sweep.offset_ns[mask], ring,
    )  # fmt: skip


def at(d: Drive, times_ns: np.ndarray) -> None:
    """Give the sweeps other times; poses and labels go with them."""
    old = [sweep.timestamp_ns for sweep in d.sweeps]
    d.sweeps = [replace(s, timestamp_ns=int(t)) for s, t in zip(d.sweeps, times_ns, strict=True)]
    pairs = zip(old, times_ns, strict=True)
    d.truth = {int(time): d.truth[was] for was, time in pairs if was in d.truth}
    poses = np.interp(d.trajectory.timestamps_ns - START_NS, np.array(old) - START_NS,
                      np.asarray(times_ns) - START_NS).astype(np.int64) + START_NS  # fmt: skip
    times, first = np.unique(poses, return_index=True)
    d.trajectory = Trajectory(
        times, d.trajectory.quat_wxyz[first], d.trajectory.translation_m[first]
    )


def quaternions(d: Drive, quat: np.ndarray) -> None:
    d.trajectory = replace(d.trajectory, quat_wxyz=quat)


def mounted(d: Drive, pose: SE3, sensor: str = "lidar") -> None:
    sensors = d.calibration.ego_SE3_sensor | {sensor: pose}
    d.calibration = replace(d.calibration, ego_SE3_sensor=sensors)


def assume(d: Drive, *names: str) -> None:
    d.calibration = replace(d.calibration, assumed=frozenset(names))


# content


@fault("REC001", "no sweep")
def no_sweep(d: Drive) -> None:
    d.sweeps, d.truth, d.images = [], {}, {}


@fault("REC002", "60 of 60 sweeps")
def all_empty(d: Drive) -> None:
    d.sweeps, d.truth = [empty(sweep) for sweep in d.sweeps], {}


@fault("REC010", "2 sweeps repeat")
def a_driver_that_hangs(d: Drive) -> None:
    for i in (20, 40):
        d.sweeps[i] = replace(d.sweeps[i - 1], timestamp_ns=d.sweeps[i].timestamp_ns)


@fault("REC050", "10 sweeps have the points of an earlier")
def a_recording_played_in_a_loop(d: Drive) -> None:
    d.truth = {}
    for i in range(50, 60):
        d.sweeps[i] = replace(d.sweeps[i - 50], timestamp_ns=d.sweeps[i].timestamp_ns)


@fault("REC053", "60 points in a sweep")
def hardly_any_points(d: Drive) -> None:
    d.sweeps, d.truth = [keep(s, np.arange(len(s)) < 60) for s in d.sweeps], {}


@fault("REC054", "side_camera: no intrinsics and no mounting")
def images_of_an_unknown_camera(d: Drive) -> None:
    d.images["side_camera"] = d.images["camera"]


# time


@fault("REC005", f"sweep 31 at {START_NS + 30 * PERIOD_NS} ns is not after")
def back_in_time(d: Drive) -> None:
    d.sweeps[30], d.sweeps[31] = d.sweeps[31], d.sweeps[30]


@fault("REC006", "1 gaps in a rate of 10.0 Hz, the longest 0.60 s")
def dropped_sweeps(d: Drive) -> None:
    for sweep in d.sweeps[30:35]:
        del d.truth[sweep.timestamp_ns]
    del d.sweeps[30:35]


@fault("REC011", "0.1 s apart")
def no_clock(d: Drive) -> None:
    assume(d, ASSUMED_CLOCK)


@fault("REC015", "from 101.2")
def a_motor_that_slows(d: Drive) -> None:
    steps = PERIOD_NS * np.linspace(1.0, 1.08, 59)
    at(d, START_NS + np.concatenate([[0], np.cumsum(steps)]).astype(np.int64))


@fault("REC016", "57% of the period")
def stamped_on_arrival(d: Drive) -> None:
    late = np.arange(60) % 2 * (PERIOD_NS * 2 // 5)
    at(d, START_NS + PERIOD_NS * np.arange(60) + late)


@fault("REC017", "+86400 s between sweeps 29 and 30")
def a_clock_that_was_set(d: Drive) -> None:
    jump = np.where(np.arange(60) < 30, 0, 86_400 * 10**9)
    d.truth, d.images = {}, {}
    at(d, START_NS + PERIOD_NS * np.arange(60) + jump)
    d.trajectory = Trajectory(  # the jump of the clock is in the poses too, but not as a gap
        np.array([s.timestamp_ns for s in d.sweeps]), np.tile([1.0, 0, 0, 0], (60, 1)),
        np.stack([np.arange(60) * 0.8, np.zeros(60), np.zeros(60)], 1),
    )  # fmt: skip


@fault("REC018", "100 s after 1 January 1970")
def a_clock_that_was_never_set(d: Drive) -> None:
    back = START_NS - 100 * 10**9
    d.sweeps = [replace(s, timestamp_ns=s.timestamp_ns - back) for s in d.sweeps]
    d.truth = {time - back: boxes for time, boxes in d.truth.items()}
    d.images = {"camera": [time - back for time in d.images["camera"]]}
    d.trajectory = replace(d.trajectory, timestamps_ns=d.trajectory.timestamps_ns - back)


@fault("REC019", "span 0.100 ms, but sweeps are 100.0 ms apart")
def point_times_in_microseconds(d: Drive) -> None:
    d.change(offset_ns=lambda s: (s.offset_ns // 1000).astype(np.int32))


@fault("REC020", "begin -0.08 s and end -0.08 s from the sweeps")
def poses_by_another_clock(d: Drive) -> None:
    inside = slice(2, -6)  # as long as the sweeps
    d.trajectory = Trajectory(
        d.trajectory.timestamps_ns[inside] - 80_000_000, d.trajectory.quat_wxyz[inside],
        d.trajectory.translation_m[inside],
    )  # fmt: skip


@fault("REC021", "its first is 3.13 s after the last sweep")
def a_camera_by_another_clock(d: Drive) -> None:
    d.images["camera"] = [time + 9_000_000_000 for time in d.images["camera"]]


@fault("REC022", "camera: 1 gaps in a rate of 10.0 Hz, the longest 1.10 s")
def dropped_images(d: Drive) -> None:
    d.images["camera"] = d.images["camera"][:20] + d.images["camera"][30:]


# geometry


@fault("REC003", "1 of 60 sweeps")
def one_empty_sweep(d: Drive) -> None:
    d.sweeps[30] = empty(d.sweeps[30])


@fault("REC004", "2 points are NaN")
def points_that_are_not_finite(d: Drive) -> None:
    points = d.sweeps[7].points_ego_m.copy()
    points[3, 1], points[7] = np.nan, np.inf
    d.sweeps[7] = replace(d.sweeps[7], points_ego_m=points)


@fault("REC013", "z = -1.8")
def a_mounting_height_of_zero(d: Drive) -> None:
    d.truth = {}
    d.change(points_ego_m=lambda s: s.points_ego_m - np.float32([0, 0, 1.8]))
    mounted(d, SE3(np.eye(3), np.array([1.0, 0, 0])))


@fault("REC014", "intensity is 0 at every point")
def no_intensity(d: Drive) -> None:
    d.change(intensity=lambda s: np.zeros(len(s), np.float32))


@fault("REC023", "points are farther than 1000 m")
def points_on_the_horizon(d: Drive) -> None:
    def far(sweep: Sweep) -> np.ndarray:
        points = sweep.points_ego_m.copy()
        points[::400] *= 400
        return points

    d.change(points_ego_m=far)


@fault("REC024", "of the points are farther than 4000 m")
def millimetres(d: Drive) -> None:
    d.truth = {}
    d.change(points_ego_m=lambda s: s.points_ego_m * np.float32(1000))


@fault("REC025", "+0.60 m")
def a_mount_that_slips(d: Drive) -> None:
    late = d.sweeps[30].timestamp_ns
    up = np.float32([0, 0, 0.6])
    d.change(points_ego_m=lambda s: s.points_ego_m + up * (s.timestamp_ns >= late))


@fault("REC026", "20 sweeps have as few as")
def lost_packets(d: Drive) -> None:
    for i in range(30, 50):
        d.sweeps[i] = keep(d.sweeps[i], np.arange(len(d.sweeps[i])) % 4 == 0)
        del d.truth[d.sweeps[i].timestamp_ns]


@fault("REC027", "of the points have the highest intensity")
def saturated(d: Drive) -> None:
    d.change(intensity=lambda s: np.minimum(s.intensity * 4, 1).astype(np.float32))


@fault("REC028", "32 degrees around azimuth 90")
def a_covered_sector(d: Drive) -> None:
    def open_view(s: Sweep) -> np.ndarray:
        xy = s.points_ego_m[:, :2] - EGO_SE3_LIDAR.translation_m[:2]
        return np.abs(np.rad2deg(np.arctan2(xy[:, 1], xy[:, 0])) - 90) > 17.5

    d.sweeps, d.truth = [keep(s, open_view(s)) for s in d.sweeps], {}


@fault("REC029", "no point of 1 of 24 beams (ring 7), 0 of them stopped")
def a_dead_beam(d: Drive) -> None:
    d.sweeps = [keep(s, s.ring != 7) for s in d.sweeps]  # type: ignore[arg-type]


@fault("REC030", "cells of 0.1 m around the lidar")
def dirt_on_the_window(d: Drive) -> None:
    rng = np.random.default_rng(0)
    dirt = (EGO_SE3_LIDAR.translation_m + rng.normal(0, 0.3, (60, 3))).astype(np.float32)

    def soiled(s: Sweep) -> np.ndarray:
        points = s.points_ego_m.copy()
        points[: len(dirt)] = dirt
        return points

    d.change(points_ego_m=soiled)


# poses


@fault("REC008", "stand still")
def no_poses(d: Drive) -> None:
    assume(d, ASSUMED_POSES)
    d.truth = {}


@fault("REC009", "30 sweeps lie up to 3.02 s outside")
def poses_that_end_early(d: Drive) -> None:
    half = d.trajectory.timestamps_ns <= START_NS + 28 * PERIOD_NS + 80_000_000
    d.trajectory = Trajectory(
        d.trajectory.timestamps_ns[half], d.trajectory.quat_wxyz[half],
        d.trajectory.translation_m[half],
    )  # fmt: skip


@fault("REC012", "jumps 1 times, by up to 40.2 m")
def a_corrected_localisation(d: Drive) -> None:
    place = d.trajectory.translation_m.copy()
    place[150:, 0] += 40
    d.trajectory, d.truth = replace(d.trajectory, translation_m=place), {}


@fault("REC031", "about 8,000")
def poses_in_millimetres(d: Drive) -> None:
    place = d.trajectory.translation_m * 1000
    d.trajectory, d.truth = replace(d.trajectory, translation_m=place), {}


@fault("REC032", "m/s2 at")
def noisy_poses(d: Drive) -> None:
    place = d.trajectory.translation_m.copy()
    place[:, 1] += 5 * np.sin(np.arange(len(place)) / 6)
    d.trajectory, d.truth = replace(d.trajectory, translation_m=place), {}


@fault("REC033", "rad/s at")
def a_heading_that_flips(d: Drive) -> None:
    quat = d.trajectory.quat_wxyz.copy()
    quat[150:160] = [0, 0, 0, 1]
    quaternions(d, quat)
    d.truth = {}


@fault("REC034", "quaternions, the worst is 0.9000 long")
def quaternions_cut_short(d: Drive) -> None:
    quaternions(d, d.trajectory.quat_wxyz * 0.9)


@fault("REC035", "3 of 304 poses are not finite")
def a_lost_localisation(d: Drive) -> None:
    place = d.trajectory.translation_m.copy()
    place[100:103] = np.nan
    d.trajectory, d.truth = replace(d.trajectory, translation_m=place), {}


@fault("REC036", "1 gaps, the longest 1.02 s")
def poses_that_pause(d: Drive) -> None:
    there = np.ones(len(d.trajectory), dtype=bool)
    there[100:150] = False
    d.trajectory = Trajectory(
        d.trajectory.timestamps_ns[there], d.trajectory.quat_wxyz[there],
        d.trajectory.translation_m[there],
    )  # fmt: skip


@fault("REC037", "100% of the poses lean")
def a_map_turned_over(d: Drive) -> None:
    quaternions(d, np.tile([0.0, 1.0, 0.0, 0.0], (len(d.trajectory), 1)))
    d.truth = {}


@fault("REC038", "without a change of the pose")
def frozen_poses(d: Drive) -> None:
    place = d.trajectory.translation_m * 0.0
    d.trajectory, d.truth = replace(d.trajectory, translation_m=place), {}


@fault("REC039", "without a change of the view")
def poses_of_another_drive(d: Drive) -> None:
    rng = np.random.default_rng(0)
    still = d.sweeps[0]
    d.truth = {}
    d.sweeps = [
        replace(
            still, timestamp_ns=s.timestamp_ns,
            points_ego_m=still.points_ego_m
            + rng.normal(0, 0.01, still.points_ego_m.shape).astype(np.float32),
        )
        for s in d.sweeps
    ]  # fmt: skip


@fault("REC060", "come from lidar odometry")
def poses_by_odometry(d: Drive) -> None:
    assume(d, ODOMETRY_POSES)


# calibration


@fault("REC007", "for lidar")
def an_assumed_mounting(d: Drive) -> None:
    assume(d, "lidar")


@fault("REC041", "camera: its axes are those of the ego frame")
def a_camera_that_looks_up(d: Drive) -> None:
    mounted(d, SE3.identity(), "camera")


@fault("REC042", "lidar: rotation times its transpose")
def a_sheared_mounting(d: Drive) -> None:
    mounted(d, SE3(np.eye(3) + 0.01 * np.eye(3, k=1), EGO_SE3_LIDAR.translation_m))


@fault("REC043", "lidar: the determinant")
def a_mirrored_mounting(d: Drive) -> None:
    mounted(d, SE3(np.diag([1.0, -1.0, 1.0]), EGO_SE3_LIDAR.translation_m))


@fault("REC044", "lidar: 2,059.1 m from the ego origin")
def a_mounting_in_millimetres(d: Drive) -> None:
    mounted(d, SE3(np.eye(3), EGO_SE3_LIDAR.translation_m * 1000))


@fault("REC045", "camera: 2,121.3 m from")
def a_camera_in_millimetres(d: Drive) -> None:
    mounted(d, SE3(EGO_SE3_CAMERA.rotation, EGO_SE3_CAMERA.translation_m * 1000), "camera")


@fault("REC046", "principal point (2000, 360) outside the image of 1280 x 720")
def intrinsics_of_another_size(d: Drive) -> None:
    matrix = CAMERA.matrix.copy()
    matrix[0, 2] = 2000
    d.calibration = replace(d.calibration, cameras={"camera": replace(CAMERA, matrix=matrix)})


@fault("REC047", "lidar hangs on base_link and on roof")
def two_parents(d: Drive) -> None:
    d.frame_problems = ("lidar hangs on base_link and on roof",)


# labels


@fault("REC055", "60 boxes have an edge of no length")
def a_box_without_width(d: Drive) -> None:
    def flat(boxes: Boxes) -> np.ndarray:
        size = boxes.size_lwh_m.copy()
        size[0, 1] = 0.0
        return size

    d.change_boxes(size_lwh_m=flat)


@fault("REC056", "within 20 m hold no point above the ground")
def labels_in_another_frame(d: Drive) -> None:
    d.change_boxes(center_xyz_m=lambda b: b.center_xyz_m[:, [1, 0, 2]] * [1, -1, 1])


@fault("REC057", "hold no point")
def labels_of_hidden_people(d: Drive) -> None:
    half = {t: b.track_id.astype("<U4") for t, b in d.truth.items()}
    for time, boxes in d.truth.items():
        center = boxes.center_xyz_m.copy()
        odd = np.array([int(name[1:]) % 2 == 1 for name in half[time]])
        center[odd, 1] += 2.5
        d.truth[time] = replace(boxes, center_xyz_m=center)


@fault("REC058", "boxes, such as a pedestrian of 4.00 x 0.80 x 1.80 m")
def people_as_long_as_cars(d: Drive) -> None:
    d.change_boxes(size_lwh_m=lambda b: b.size_lwh_m * [5.0, 1, 1])


@fault("REC059", "times, first pedestrian")
def two_people_with_one_track(d: Drive) -> None:
    time = d.sweeps[30].timestamp_ns
    names = d.truth[time].track_id.copy()
    names[[0, 1]] = names[[1, 0]]
    d.truth[time] = replace(d.truth[time], track_id=names)


@fault("REC061", "60 boxes, first a pedestrian")
def one_person_twice(d: Drive) -> None:
    def twice(boxes: Boxes) -> Boxes:
        again = boxes.take(np.array([0]))
        name = np.array([f"again {again.track_id[0]}"])
        return Boxes.concatenate([boxes, replace(again, track_id=name)])

    d.truth = {time: twice(boxes) for time, boxes in d.truth.items()}


@fault("REC062", "at z = -0.90 m")
def boxes_by_their_bottom(d: Drive) -> None:
    d.change_boxes(center_xyz_m=lambda b: b.center_xyz_m * [1, 1, 0])


@fault("REC063", "5 labelled times have no sweep")
def labels_between_sweeps(d: Drive) -> None:
    for i in range(5):
        time = d.sweeps[i].timestamp_ns
        d.truth[time + 50_000_000] = d.truth[time].take(np.zeros(1, dtype=np.int64))
        name = np.array([f"late{i}"])
        d.truth[time + 50_000_000] = replace(d.truth[time + 50_000_000], track_id=name)


@fault("REC064", "times, first")
def a_person_who_becomes_a_bicycle(d: Drive) -> None:
    for sweep in d.sweeps[30:]:
        boxes = d.truth[sweep.timestamp_ns]
        named = np.where(boxes.track_id == "p28", "motorcycle", boxes.category)
        size = np.where((boxes.track_id == "p28")[:, None], [1.6, 0.8, 1.8], boxes.size_lwh_m)
        d.truth[sweep.timestamp_ns] = replace(boxes, category=named, size_lwh_m=size)


@fault("REC065", "60 times")
def one_track_at_two_places(d: Drive) -> None:
    def twice(boxes: Boxes) -> Boxes:
        names = boxes.track_id.copy()
        names[1] = names[0]
        return replace(boxes, track_id=names)

    d.truth = {time: twice(boxes) for time, boxes in d.truth.items()}


@fault("REC066", "times, first pedestrian")
def headings_that_flip(d: Drive) -> None:
    for sweep in d.sweeps[::2]:
        boxes = d.truth[sweep.timestamp_ns]
        d.truth[sweep.timestamp_ns] = replace(boxes, yaw_rad=boxes.yaw_rad + np.pi)


@pytest.mark.parametrize("code", sorted(FAULTS))
def test_the_rule_finds_its_fault_and_nothing_else_does(code: str) -> None:
    make, words = FAULTS[code]
    faulty = drive()
    make(faulty)
    found: list[Finding] = faulty.findings()
    assert [finding.code for finding in found] == [code], found
    assert words in found[0].message
    assert found[0].severity == RULES[code].severity
    assert found[0].remedy == RULES[code].remedy


def test_a_clean_drive_has_no_findings() -> None:
    for seed in range(3):
        assert drive(seed=seed).findings() == []
    assert drive(speed_mps=0.0, num_sweeps=40).findings() == []


def test_every_rule_has_its_fault() -> None:
    signals = {rule.code for rule in SUBJECTS["signals"]}
    assert set(FAULTS) | ELSEWHERE | signals == set(RULES)
