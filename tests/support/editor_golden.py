"""What the Python code says, written for the TypeScript tests of the editor to agree with.

`python -m tests.support.editor_golden` writes the small files that are kept in
`labeling/editor/test/golden`; larger ones are made by the test that needs them. With a recording
and the name of a file it writes the first sweep there, for `npm run speed`.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from recordings.open import open_recording
from recordings.recording import Recording
from scene.box import Boxes, points_in_boxes
from scene.pose import SE3, wrap_angle
from scene.sweep import Sweep
from storage import codec

ROOT = Path(__file__).resolve().parents[2]
EDITOR = ROOT / "labeling" / "editor"
GOLDEN = EDITOR / "test" / "golden"
VERSION_1 = ROOT / "tests" / "unit" / "storage"


def text(values: np.ndarray | bytes) -> str:
    """Return little-endian bytes as base64."""
    raw = values if isinstance(values, bytes) else np.ascontiguousarray(values).tobytes()
    return base64.b64encode(raw).decode()


def spinning(num_columns: int, num_rings: int, *, shared_times: bool = True) -> Sweep:
    """Part of a turn in a round room; with `shared_times` a column fires at once."""
    random = np.random.default_rng(num_columns)
    column, ring = np.meshgrid(np.arange(num_columns), np.arange(num_rings), indexing="ij")
    column, ring = column.ravel(), ring.ravel()
    seen = random.random(len(ring)) > 0.1
    column, ring = column[seen], ring[seen]
    azimuth = np.radians(column / 2)
    distance = 20 + 3 * np.sin(3 * azimuth) + random.normal(0, 0.02, len(ring))
    tilt = np.radians(-15 + 2 * ring)
    flat = distance * np.cos(tilt)
    xyz = [flat * np.cos(azimuth), flat * np.sin(azimuth), distance * np.sin(tilt) + 1.8]
    time = column * 55_296 + (0 if shared_times else ring * 2304)
    return Sweep(
        1_000,
        np.stack(xyz, axis=1).astype(np.float32),
        (random.integers(0, 256, len(ring)) / 255).astype(np.float32),
        time.astype(np.int32),
        ring.astype(np.uint16),
    )


def scattered(count: int) -> Sweep:
    """Points without order, rings or times, up to a kilometer away: differences are large."""
    random = np.random.default_rng(count)
    xyz = random.uniform(-1000, 1000, (count, 3)).astype(np.float32)
    light = random.random(count).astype(np.float32)
    return Sweep(0, xyz, light, np.zeros(count, np.int32), None)


def codec_cases() -> dict[str, bytes]:
    """Return small encoded sweeps, one of every kind that the codec writes or reads."""
    empty = scattered(40)
    empty = Sweep(
        0, empty.points_ego_m[:0], empty.intensity[:0], empty.offset_ns[:0], np.zeros(0, np.uint16)
    )
    cases = {
        "columns": codec.encode(spinning(24, 6)),
        "single_shots": codec.encode(spinning(24, 6, shared_times=False)),
        "scattered": codec.encode(scattered(60)),
        "coarse": codec.encode(spinning(12, 4), step_m=0.05),
        "lossless": codec.encode(spinning(16, 4), lossless=True),
        "lossless_scattered": codec.encode(scattered(30), lossless=True),
        "empty": codec.encode(empty),
    }
    for path in sorted(VERSION_1.glob("version_1_*.b85")):
        cases[path.stem] = base64.b85decode(path.read_bytes())
    return cases


def decoded(data: bytes) -> dict[str, Any]:
    """Return an encoded sweep with what Python reads from it."""
    sweep = codec.decode(data, 0)
    return {
        "bytes": text(data),
        "num_points": len(sweep),
        "xyz_m": text(sweep.points_ego_m.astype("<f4")),
        "intensity": text(sweep.intensity.astype("<f4")),
        "ring": None if sweep.ring is None else text(sweep.ring.astype("<u2")),
        "offset_ns": text(sweep.offset_ns.astype("<i4")),
    }


def geometry() -> dict[str, Any]:
    """Return boxes with their corners, points inside, overlaps and places in another frame."""
    from shapely.geometry import Polygon

    random = np.random.default_rng(5)
    count = 12
    boxes = Boxes.make(
        np.round(random.uniform(-4, 4, (count, 3)), 3),
        np.round(random.uniform(0.5, 6, (count, 3)), 3),
        np.round(random.uniform(-7, 7, count), 3),
        ["car"] * count,
    )
    points = np.round(random.uniform(-6, 6, (300, 3)), 3).astype(np.float32)
    corners = boxes.corners_bev_m()
    shapes = [Polygon(corner) for corner in corners]
    pose = SE3.from_quaternion(np.array([0.9, 0.02, -0.03, 0.4]), np.array([10.0, -20.0, 1.5]))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = pose.rotation, pose.translation_m
    moved = boxes.transform(pose)
    angles = np.linspace(-10, 10, 41)
    return {
        "boxes": columns(boxes),
        "corners_bev_m": corners.tolist(),
        "points": points.tolist(),
        "inside": [np.flatnonzero(row).tolist() for row in points_in_boxes(points, boxes)],
        "bev_iou": [[a.intersection(b).area / a.union(b).area for b in shapes] for a in shapes],
        "dst_SE3_src": matrix.ravel().tolist(),
        "moved": columns(moved),
        "angles_rad": angles.tolist(),
        "wrapped_rad": wrap_angle(angles).tolist(),
    }


def columns(boxes: Boxes) -> dict[str, Any]:
    """Return the columns of boxes that the editor knows."""
    return {
        "center_xyz_m": boxes.center_xyz_m.tolist(),
        "size_lwh_m": boxes.size_lwh_m.tolist(),
        "yaw_rad": boxes.yaw_rad.tolist(),
        "category": boxes.category.tolist(),
        "track_id": boxes.track_id.tolist(),
        "num_points": boxes.num_points.tolist(),
    }


def write_clip(recording: Recording, folder: Path, *, every: int = 1) -> int:
    """Write sweeps, poses and true boxes of a recording; return the number of frames."""
    frames = []
    for number, sweep in enumerate(recording.sweeps()):
        if number % every:
            continue
        pose = recording.trajectory.at(sweep.timestamp_ns)
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = pose.rotation, pose.translation_m
        (folder / f"{len(frames)}.slpc").write_bytes(codec.encode(sweep))
        truth = (recording.ground_truth or {}).get(sweep.timestamp_ns, Boxes.empty())
        frames.append(
            {
                "timestamp_ns": sweep.timestamp_ns,
                "map_SE3_ego": matrix.ravel().tolist(),
                "truth": columns(truth),
            }
        )
    (folder / "clip.json").write_text(json.dumps(frames))
    return len(frames)


def main() -> None:
    """Write the small files, or one sweep of a recording."""
    if len(sys.argv) == 3:
        recording = open_recording(Path(sys.argv[1]))
        Path(sys.argv[2]).write_bytes(codec.encode(next(iter(recording.sweeps()))))
        return
    GOLDEN.mkdir(parents=True, exist_ok=True)
    cases = {name: decoded(data) for name, data in codec_cases().items()}
    (GOLDEN / "codec.json").write_text(json.dumps(cases, indent=1) + "\n")
    (GOLDEN / "geometry.json").write_text(json.dumps(geometry()) + "\n")


if __name__ == "__main__":
    main()
