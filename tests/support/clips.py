"""A small stored recording with clips to label, made in code."""

from __future__ import annotations

import json

import numpy as np

from labeling.clip_interface import result_of
from labeling.clip_store import ClipStore
from labeling.clip_task import ClipTask, cut_clips
from scene.box import Boxes
from scene.calibration import Calibration
from scene.pose import SE3, Trajectory
from scene.recording import RecordingId
from scene.sweep import Sweep
from storage import layout
from storage.store import ObjectStore
from storage.sweeps import write_sweeps

NUM_FRAMES = 6
STEP_NS = 100_000_000
SPEED_MPS = 5.0


def times_ns(num_frames: int = NUM_FRAMES) -> np.ndarray:
    return 1_700_000_000_000_000_000 + np.arange(num_frames, dtype=np.int64) * STEP_NS


def store_recording(
    store: ObjectStore, name: str = "drive", num_frames: int = NUM_FRAMES
) -> RecordingId:
    """Write sweeps of flat ground with two standing cars, seen from a car that drives ahead."""
    recording = RecordingId(name)
    times = times_ns(num_frames)
    where = np.zeros((num_frames, 3))
    where[:, 0] = np.arange(num_frames) * SPEED_MPS * 0.1
    quat = np.tile([1.0, 0, 0, 0], (num_frames, 1))
    trajectory = Trajectory(times, quat, where)
    sweeps = (_sweep(int(time), i) for i, time in enumerate(times))
    rig = Calibration({"lidar": SE3.from_yaw(0.0, np.array([0, 0, 1.8]))})
    write_sweeps(store, layout.sweeps(recording), sweeps, trajectory, rig, sensor="lidar")
    return recording


def cars_at(frame: int) -> Boxes:
    """Return the two cars in the ego frame of a frame."""
    back = frame * SPEED_MPS * 0.1
    center = np.array([[14.0 - back, 3.0, 0.8], [10.0 - back, -4.0, 0.8]])
    size = np.array([[4.5, 1.9, 1.6], [4.2, 1.8, 1.6]])
    yaw = np.array([0.2, -0.4])
    return Boxes.make(
        center, size, yaw, ["car", "car"], track_id=["t1", "t2"], score=np.array([0.9, 0.7])
    )


def clips_of(store: ObjectStore, recording: RecordingId, length: int = 3) -> list[ClipTask]:
    """Make and keep clips with the cars as prelabels."""
    prelabels = {int(time): cars_at(i) for i, time in enumerate(times_ns())}
    tasks = list(cut_clips(store, recording, length=length, prelabels=prelabels))
    for task in tasks:
        ClipStore(store).add(task)
    return tasks


def _sweep(time_ns: int, frame: int) -> Sweep:
    random = np.random.default_rng(frame)
    ground = np.column_stack([random.uniform(-30, 30, (6000, 2)), random.normal(0, 0.02, 6000)])
    points = [ground, *(_surface(random, cars_at(frame), i) for i in range(2))]
    xyz = np.concatenate(points).astype(np.float32)
    intensity = random.uniform(0, 1, len(xyz)).astype(np.float32)
    return Sweep(time_ns, xyz, intensity, np.zeros(len(xyz), np.int32))


def _surface(random: np.random.Generator, boxes: Boxes, index: int, count: int = 600) -> np.ndarray:
    """Return points on the four sides of a box."""
    unit = random.uniform(-0.5, 0.5, (count, 3))
    side = random.integers(0, 2, count)
    unit[np.arange(count), side] = random.choice([-0.5, 0.5], count)
    local = unit * boxes.size_lwh_m[index]
    pose = SE3.from_yaw(float(boxes.yaw_rad[index]), boxes.center_xyz_m[index])
    return pose.transform_points(local)


def submission(task, name="s1", shift_m=0.0, boxes=None):
    shown = [box.to_json() for box in task.prelabels] if boxes is None else boxes
    for box in shown[:1]:
        box["center_xyz_m"] = [box["center_xyz_m"][0] + shift_m, *box["center_xyz_m"][1:]]
    values = {"submission_id": name, "sequence": 3, "annotation": {"boxes": shown}}
    return json.dumps(values)


def submit(server, external, text, lead_time=41.5):
    """Do what Label Studio's Submit does."""
    number = external.rpartition(":")[2]
    body = {"result": [result_of(text)], "lead_time": lead_time}
    with server.client() as client:
        answer = client.post(f"/api/tasks/{number}/annotations/", json=body)
    answer.raise_for_status()
    return answer.json()["id"]
