"""Files beside point clouds, for formats that hold nothing but points: poses, boxes, mounting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, TextIO

from recordings.clouds import boxes_file
from recordings.export.writer import Frame
from recordings.recording import Recording
from scene.box import Boxes
from scene.calibration import Calibration
from scene.pose import SE3, Trajectory

POSES_FILE: Final = "poses.tum"
CALIBRATION_FILE: Final = "calibration.json"


def write_poses(path: Path, trajectory: Trajectory) -> None:
    """Write `map_SE3_ego` as rows of TUM: time in seconds, x y z, qx qy qz qw."""
    with path.open("w") as stream:
        stream.write("# timestamp_s tx ty tz qx qy qz qw\n")
        rows = zip(
            trajectory.timestamps_ns.tolist(), trajectory.translation_m.tolist(),
            trajectory.quat_wxyz.tolist(), strict=True,
        )  # fmt: skip
        for time, (x, y, z), (qw, qx, qy, qz) in rows:
            # Doubles are too coarse for nanoseconds since the epoch, so digits are put together.
            seconds, rest = divmod(time, 10**9)
            stream.write(f"{seconds}.{rest:09d} {x!r} {y!r} {z!r} {qx!r} {qy!r} {qz!r} {qw!r}\n")


def write_calibration(path: Path, recording: Recording) -> None:
    """Write where the sensors sit and how the cameras see, as JSON."""
    values = {"sensor": recording.sensor, "motion": recording.motion}
    path.write_text(json.dumps({**values, **calibration_dict(recording.calibration)}, indent=1))


def calibration_dict(calibration: Calibration) -> dict[str, Any]:
    """Return a calibration as plain numbers."""
    return {
        "ego_SE3_sensor": {
            name: pose_dict(pose) for name, pose in sorted(calibration.ego_SE3_sensor.items())
        },
        "assumed": sorted(calibration.assumed),
        "cameras": {
            name: {
                "width_px": camera.width_px,
                "height_px": camera.height_px,
                "matrix": camera.matrix.tolist(),
                "distortion": camera.distortion.tolist(),
                "model": camera.model,
            }
            for name, camera in sorted(calibration.cameras.items())
        },
    }


def pose_dict(pose: SE3) -> dict[str, list[float]]:
    """Return a pose as a quaternion and a translation."""
    return {"quat_wxyz": pose.quat_wxyz.tolist(), "translation_m": pose.translation_m.tolist()}


class SideFiles:
    """Writes `poses.tum`, `boxes.csv` and `calibration.json` of one recording.

    Args:
        folder: where to.
        recording: what is written.
        has_poses: whether its trajectory was recorded.
    """

    def __init__(self, folder: Path, recording: Recording, *, has_poses: bool) -> None:
        self._boxes: TextIO | None = None
        if recording.ground_truth is not None:
            self._boxes = (folder / boxes_file.BOXES_FILE).open("w", encoding="utf-8")
            self._boxes.write(boxes_file.header())
        if has_poses:
            write_poses(folder / POSES_FILE, recording.trajectory)
        write_calibration(folder / CALIBRATION_FILE, recording)

    def frame(self, frame: Frame) -> None:
        """Append the boxes of one frame."""
        if self._boxes is not None and frame.boxes is not None:
            boxes: Boxes = frame.boxes
            self._boxes.write(boxes_file.lines(frame.sweep.timestamp_ns, boxes))

    def close(self) -> None:
        """Finish."""
        if self._boxes is not None:
            self._boxes.close()
