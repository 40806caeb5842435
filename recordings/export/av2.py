"""An Argoverse 2 sensor log: Feather files in the layout that the av2 package reads.

Points and boxes are in the ego frame already. Coordinates are float32 where Argoverse 2 itself has
float16, which rounds to centimetres. Layout: github.com/argoverse/av2-api, `datasets/sensor`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.feather

from recordings.export.writer import Frame, Writer, image_suffix, safe_name
from recordings.recording import Recording
from scene.box import Boxes
from scene.image import Image
from scene.sweep import Sweep
from scene.types import Float64

_POSE: Final = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
_UP, _DOWN = "up_lidar", "down_lidar"
# Names of Argoverse 2; a category that it lacks keeps our name, which its package reads as well.
CATEGORIES: Final = {
    "car": "REGULAR_VEHICLE", "truck": "TRUCK", "bus": "BUS", "trailer": "VEHICULAR_TRAILER",
    "pedestrian": "PEDESTRIAN", "motorcycle": "MOTORCYCLE", "bicycle": "BICYCLE",
    "traffic_cone": "CONSTRUCTION_CONE",
}  # fmt: skip
_INTRINSICS: Final = (
    "sensor_name", "fx_px", "fy_px", "cx_px", "cy_px", "k1", "k2", "k3", "height_px", "width_px",
)  # fmt: skip
_IMAGE_SUFFIXES: Final = ("jpg", "png")


class Argoverse2Writer(Writer):
    """Writes one recording. See `recordings.export.writer.Writer`."""

    def __init__(self, folder: Path, recording: Recording) -> None:
        super().__init__(folder, recording)
        self._boxes: list[tuple[int, Boxes]] = []
        (folder / "sensors" / "lidar").mkdir(parents=True)
        (folder / "calibration").mkdir()
        self._write_calibration()
        if self.has_poses:
            track = recording.trajectory
            times = {"timestamp_ns": track.timestamps_ns}
            poses = np.concatenate([track.quat_wxyz, track.translation_m], axis=1)
            _write(folder / "city_SE3_egovehicle.feather", {**times, **_pose_columns(poses)})
        self.lose_signals()

    def frame(self, frame: Frame) -> None:
        """Write one sweep and remember its boxes."""
        sweep = frame.sweep
        path = self.folder / "sensors" / "lidar" / f"{sweep.timestamp_ns}.feather"
        _write(path, self._columns(sweep))
        if frame.boxes is not None:
            self._boxes.append((sweep.timestamp_ns, frame.boxes))
        elif self.recording.ground_truth is not None:
            self.lose("which frames were labelled: those without boxes all count as empty")

    def image(self, image: Image) -> bool:
        """Write one image."""
        suffix = image_suffix(image)
        if image.data is None or suffix not in _IMAGE_SUFFIXES:
            return self.lose(f"images of {image.sensor}: only JPEG and PNG files can be copied")
        cameras = self.folder / "sensors" / "cameras"
        path = cameras / safe_name(image.sensor) / f"{image.timestamp_ns}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.data)
        return True

    def close(self) -> None:
        """Write the annotations of all frames."""
        if self.recording.ground_truth is not None:
            _write(self.folder / "annotations.feather", self._annotations())

    def _columns(self, sweep: Sweep) -> dict[str, Any]:
        columns = dict(zip("xyz", sweep.points_ego_m.T, strict=True))
        columns["intensity"] = np.rint(sweep.intensity * 255).astype(np.uint8)
        if sweep.ring is None:
            self.lose("laser_number: no beam numbers are known; the av2 package asks for them")
        else:
            small = not len(sweep) or int(sweep.ring.max()) < 256
            columns["laser_number"] = sweep.ring.astype(np.uint8) if small else sweep.ring
        columns["offset_ns"] = sweep.offset_ns
        return columns

    def _write_calibration(self) -> None:
        """Write mountings and camera models.

        The av2 package looks for two lidars, `up_lidar` and `down_lidar`; a recording of one lidar
        gets both names for it, and keeps its own.
        """
        known = self.recording.calibration.ego_SE3_sensor
        sensors = {safe_name(name): pose for name, pose in known.items()}
        for name in (_UP, _DOWN):
            sensors.setdefault(name, self.ego_SE3_lidar)
        if self.recording.sensor not in (_UP, ""):
            self.lose(f"the name of the lidar: {self.recording.sensor} is read as {_UP}")
        poses = np.stack([[*p.quat_wxyz, *p.translation_m] for p in sensors.values()])
        path = self.folder / "calibration" / "egovehicle_SE3_sensor.feather"
        _write(path, {"sensor_name": list(sensors), **_pose_columns(poses)})
        self._write_intrinsics(self.folder / "calibration" / "intrinsics.feather")

    def _write_intrinsics(self, path: Path) -> None:
        rows = []
        for name, camera in self.recording.calibration.cameras.items():
            if not _is_radial(camera.model, camera.distortion):
                self.lose(f"distortion of camera {name}: only k1, k2, k3 have a place")
            k1, k2, _, _, k3 = (*camera.distortion[:5], *(0.0,) * 5)[:5]
            fx, fy, cx, cy = camera.matrix[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
            size = camera.height_px, camera.width_px
            rows.append((safe_name(name), fx, fy, cx, cy, float(k1), float(k2), float(k3), *size))
        if rows:
            _write(path, dict(zip(_INTRINSICS, map(list, zip(*rows, strict=True)), strict=True)))

    def _annotations(self) -> dict[str, Any]:
        boxes = Boxes.concatenate([boxes for _, boxes in self._boxes])
        if (~np.isnan(boxes.velocity_xy_mps)).any():
            self.lose("velocities of boxes: readers find them from the tracks")
        if (~np.isnan(boxes.score)).any():
            self.lose("scores of boxes")
        counts = [len(boxes) for _, boxes in self._boxes]
        times = np.array([time for time, _ in self._boxes], dtype=np.int64)
        half, zero = boxes.yaw_rad / 2, np.zeros(len(boxes))
        quat = np.stack([np.cos(half), zero, zero, np.sin(half)], axis=1)
        names = [CATEGORIES.get(str(name), str(name).upper()) for name in boxes.category]
        strange = sorted({str(n) for n in boxes.category if str(n) not in CATEGORIES})
        if strange:
            self.lose(
                f"no category of Argoverse 2 for {', '.join(strange)}: names kept in capitals"
            )
        return {
            "timestamp_ns": np.repeat(times, counts),
            "track_uuid": boxes.track_id.tolist(),
            "category": pa.array(names, pa.string()),
            "length_m": boxes.size_lwh_m[:, 0],
            "width_m": boxes.size_lwh_m[:, 1],
            "height_m": boxes.size_lwh_m[:, 2],
            **_pose_columns(np.concatenate([quat, boxes.center_xyz_m], axis=1)),
            "num_interior_pts": boxes.num_points,
        }


def _is_radial(model: str, distortion: Float64) -> bool:
    """Return whether k1, k2 and k3 say everything: no tangential terms, no other model."""
    if not distortion.any():
        return True
    return model == "plumb_bob" and len(distortion) <= 5 and not distortion[2:4].any()


def _pose_columns(poses: Float64) -> dict[str, Float64]:
    """Return (N, 7) poses, quaternion first, as the columns of Argoverse 2."""
    return dict(zip(_POSE, np.ascontiguousarray(poses.T), strict=True))


def _write(path: Path, columns: Mapping[str, Any]) -> None:
    pyarrow.feather.write_feather(pa.table(dict(columns)), path, compression="zstd")
