"""A small clean drive past pillars, with people and a camera, for planting one fault at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from recordings.rules.quality import Facts, Finding, QualityCheck
from scene.box import Boxes
from scene.calibration import Calibration, Intrinsics
from scene.pose import SE3, Trajectory
from scene.sweep import Sweep

PERIOD_NS = 100_000_000
START_NS = 1_700_000_000_000_000_000
HEIGHT_M = 1.8
SPEED_MPS = 8.0
NUM_SWEEPS = 60
_COLUMNS, _RINGS = 240, 24
_PILLAR_M = 0.3
EGO_SE3_LIDAR = SE3(np.eye(3), np.array([1.0, 0.0, HEIGHT_M]))
EGO_SE3_CAMERA = SE3(
    np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.array([1.5, 0.0, 1.5])
)
CAMERA = Intrinsics(1280, 720, np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]]))


@dataclass
class Drive:
    """All that sanity rules are told about a recording; tests change it before `codes`."""

    sweeps: list[Sweep]
    trajectory: Trajectory
    calibration: Calibration
    truth: dict[int, Boxes]
    images: dict[str, list[int]]
    sensor: str = "lidar"
    frame_problems: tuple[str, ...] = ()

    def findings(self) -> list[Finding]:
        """Run all rules."""
        return self.check().finish()

    def codes(self) -> list[str]:
        """Return the codes of what is found."""
        return [finding.code for finding in self.findings()]

    def check(self) -> QualityCheck:
        """Return the rules after they saw everything."""
        facts = Facts(
            self.trajectory, self.calibration, self.sensor, self.truth,
            frame_problems=self.frame_problems,
        )  # fmt: skip
        check = QualityCheck(facts)
        for sweep in self.sweeps:
            check.add(sweep, self.truth.get(sweep.timestamp_ns))
        for sensor, times in self.images.items():
            for time in times:
                check.add_image(sensor, time)
        return check

    def change(self, **fields: object) -> None:
        """Change every sweep: a value, or a function of the sweep that gives it."""
        self.sweeps = [
            replace(sweep, **{k: v(sweep) if callable(v) else v for k, v in fields.items()})
            for sweep in self.sweeps
        ]

    def change_boxes(self, **fields: object) -> None:
        """Change the boxes of every frame alike."""
        self.truth = {
            time: replace(boxes, **{k: v(boxes) if callable(v) else v for k, v in fields.items()})
            for time, boxes in self.truth.items()
        }


def drive(num_sweeps: int = NUM_SWEEPS, seed: int = 3, speed_mps: float = SPEED_MPS) -> Drive:
    """Return a drive without faults."""
    made = _drive(num_sweeps, seed, speed_mps)
    return replace(made, sweeps=list(made.sweeps), truth=dict(made.truth), images=dict(made.images))


@cache
def _drive(num_sweeps: int, seed: int, speed_mps: float) -> Drive:
    rng = np.random.default_rng(seed)
    times = START_NS + PERIOD_NS * np.arange(num_sweeps, dtype=np.int64)
    poses = START_NS + PERIOD_NS // 5 * np.arange(-2, 5 * num_sweeps + 2, dtype=np.int64)
    place_m = np.zeros((len(poses), 3))
    place_m[:, 0] = speed_mps * (poses - START_NS) / 1e9
    trajectory = Trajectory(poses, np.tile([1.0, 0, 0, 0], (len(poses), 1)), place_m)
    # Both sides of the road; people keep to the first pillars of each side.
    side = np.tile([1.0, -1.0], 40)
    pillars = np.stack(
        [np.linspace(-30, 90, 80) + rng.uniform(-1, 1, 80), side * rng.uniform(5, 14, 80)], axis=1
    )
    sweeps, truth = [], {}
    for time in times.tolist():
        origin = np.array([speed_mps * (time - START_NS) / 1e9, 0.0])
        sweeps.append(_scan(time, pillars - origin, rng))
        truth[time] = _people(pillars - origin)
    calibration = Calibration(
        {"lidar": EGO_SE3_LIDAR, "camera": EGO_SE3_CAMERA}, cameras={"camera": CAMERA}
    )
    return Drive(sweeps, trajectory, calibration, truth, {"camera": (times + 30_000_000).tolist()})


def _scan(time: int, pillars: np.ndarray, rng: np.random.Generator) -> Sweep:
    """Cast a fan of rays at flat ground and upright cylinders, ego frame."""
    azimuth = np.linspace(-np.pi, np.pi, _COLUMNS, endpoint=False)
    slope = np.tan(np.deg2rad(np.linspace(-25, 8, _RINGS)))
    origin = EGO_SE3_LIDAR.translation_m
    offset = pillars - origin[:2]
    along = np.cos(azimuth)[:, None] * offset[:, 0] + np.sin(azimuth)[:, None] * offset[:, 1]
    across = np.abs(
        np.cos(azimuth)[:, None] * offset[:, 1] - np.sin(azimuth)[:, None] * offset[:, 0]
    )
    hit = (across < _PILLAR_M) & (along > 0)
    reach = np.where(hit, along - np.sqrt(np.maximum(_PILLAR_M**2 - across**2, 0)), 200.0).min(1)
    ground = np.where(slope < 0, HEIGHT_M / np.maximum(-slope, 1e-6), 200.0)
    distance = np.minimum(reach[:, None], ground[None, :])
    seen = (distance < 60.0) & (HEIGHT_M + distance * slope < 5.0)
    distance = distance + rng.normal(0, 0.01, distance.shape)
    column, ring = np.nonzero(seen)
    r = distance[seen]
    points = np.stack(
        [np.cos(azimuth[column]) * r, np.sin(azimuth[column]) * r, slope[ring] * r], axis=1
    )
    return Sweep(
        time,
        (points + origin).astype(np.float32),
        rng.uniform(0.05, 0.6, len(r)).astype(np.float32),
        (column * (PERIOD_NS // _COLUMNS)).astype(np.int32),
        ring.astype(np.uint16),
    )


def _people(pillars: np.ndarray) -> Boxes:
    """Box the pillars within 20 m as people."""
    near = np.flatnonzero(np.hypot(*pillars.T) < 20)
    count = len(near)
    center = np.column_stack([pillars[near], np.full(count, 0.9)])
    return Boxes.make(
        center, np.tile([0.8, 0.8, 1.8], (count, 1)), np.zeros(count), ["pedestrian"] * count,
        track_id=[f"p{i}" for i in near],
    )  # fmt: skip
