"""KITTI tracking layout (what KITTI calls `training/`): scans, labels, calibration, OXTS poses.

Points are in KITTI's own velodyne frame, 0.81 m ahead of the ego origin and 1.73 m above it,
whatever the mounting of the real lidar: detectors made for KITTI count on that height. The camera
frame is the velodyne frame turned to x right, y down, z forward, with nothing in between
(`Tr_velo_cam` is that turn, `R_rect` and the projections are identities), so a label says
plainly where a box is. Boxes behind the vehicle are written as well.
Layout: cvlibs.net/datasets/kitti, tracking development kit, `readme.txt`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, TextIO

import numpy as np

from recordings.datasets.kitti_oxts import EARTH_RADIUS_M
from recordings.datasets.kitti_rig import EGO_SE3_VELODYNE
from recordings.export.writer import Frame, Writer
from recordings.recording import Recording
from scene.box import Boxes
from scene.pose import SE3, wrap_angle
from scene.types import Float64

SEQUENCE: Final = "0000"
CAM_SE3_VELODYNE: Final = SE3(
    np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]), np.zeros(3)
)
# Names of KITTI; a category that it lacks keeps our name with a capital.
CATEGORIES: Final = {
    "car": "Car", "truck": "Truck", "pedestrian": "Pedestrian", "bicycle": "Cyclist",
}  # fmt: skip
_OXTS_VALUES: Final = 30


class KittiWriter(Writer):
    """Writes one recording as sequence 0000. See `recordings.export.writer.Writer`."""

    def __init__(self, folder: Path, recording: Recording) -> None:
        super().__init__(folder, recording)
        root = folder
        self._scans = root / "velodyne" / SEQUENCE
        self._scans.mkdir(parents=True)
        for name in ("label_02", "calib", "oxts", "times"):
            (root / name).mkdir()
        self._labels = self._open(root / "label_02", recording.ground_truth is not None)
        self._oxts = self._open(root / "oxts", self.has_poses)
        # KITTI's tracking benchmark has no times; our reader takes these.
        self._times = (root / "times" / f"{SEQUENCE}.txt").open("w")
        self._tracks: dict[str, int] = {}
        self._first: SE3 | None = None
        _write_calibration(root / "calib" / f"{SEQUENCE}.txt")
        self._say_losses()

    def frame(self, frame: Frame) -> None:
        """Write one scan, its pose and its labels."""
        sweep = frame.sweep
        points = np.empty((len(sweep), 4), dtype="<f4")
        velodyne_SE3_ego = EGO_SE3_VELODYNE.inverse()
        points[:, :3] = velodyne_SE3_ego.transform_points(sweep.points_ego_m.astype(np.float64))
        points[:, 3] = sweep.intensity
        points.tofile(self._scans / f"{frame.number:06d}.bin")
        seconds, rest = divmod(sweep.timestamp_ns, 10**9)
        self._times.write(f"{seconds}.{rest:09d}\n")
        if sweep.ring is not None:
            self.lose("beam numbers (ring): scans hold x, y, z and reflectance only")
        if sweep.offset_ns.any():
            self.lose("times of single points: scans hold x, y, z and reflectance only")
        if self._oxts is not None:
            self._oxts.write(self._oxts_line(frame.map_SE3_ego))
        if self._labels is not None and frame.boxes is not None:
            self._labels.write(self._label_lines(frame.number, frame.boxes))

    def close(self) -> None:
        """Finish the text files."""
        for stream in (self._labels, self._oxts, self._times):
            if stream is not None:
                stream.close()

    @staticmethod
    def _open(folder: Path, wanted: bool) -> TextIO | None:
        return (folder / f"{SEQUENCE}.txt").open("w") if wanted else None

    def _say_losses(self) -> None:
        self.lose_signals("only poses have a place in oxts")
        self.lose(
            "times: KITTI takes frames to be 0.1 s apart; true ones are in times/, ours alone"
        )
        self.lose(
            "mounting of the lidar: points are in KITTI's velodyne frame, 1.73 m above ground"
        )
        if self.has_poses:
            self.lose("origin of the map and poses between sweeps: the first sweep is the origin")
        if self.recording.ground_truth is not None:
            self.lose("2D boxes, occlusion and truncation are written as unknown (-1)")
            self.lose("which frames without boxes were labelled: KITTI has no line for them")

    def _oxts_line(self, map_SE3_ego: SE3) -> str:
        """Return the OXTS record of a pose: the first one is put at latitude and longitude zero.

        Inverse of `datasets.kitti_poses`; there is no IMU, so its place is that of the velodyne.
        """
        if self._first is None:
            self._first = map_SE3_ego
        pose = map_SE3_ego @ EGO_SE3_VELODYNE
        origin = (self._first @ EGO_SE3_VELODYNE).translation_m
        east, north, up = pose.translation_m - origin
        longitude = np.degrees(east / EARTH_RADIUS_M)
        latitude = np.degrees(2 * np.arctan(np.exp(north / EARTH_RADIUS_M)) - np.pi / 2)
        r = pose.rotation
        angles = (
            np.arctan2(r[2, 1], r[2, 2]), np.arctan2(-r[2, 0], np.hypot(r[2, 1], r[2, 2])),
            np.arctan2(r[1, 0], r[0, 0]),
        )  # fmt: skip
        values = [latitude, longitude, up, *angles]
        rest = ["0"] * (_OXTS_VALUES - len(values))
        return " ".join([*(f"{float(value):.17g}" for value in values), *rest]) + "\n"

    def _label_lines(self, index: int, boxes: Boxes) -> str:
        if (~np.isnan(boxes.velocity_xy_mps)).any():
            self.lose("velocities of boxes: readers find them from the tracks")
        values = label_values(boxes)
        scores = boxes.score.tolist()
        lines = []
        for i, row in enumerate(values.tolist()):
            name, track = self._name(str(boxes.category[i])), self._track(str(boxes.track_id[i]))
            numbers = " ".join(f"{value:.12g}" for value in row)
            score = "" if scores[i] != scores[i] else f" {scores[i]:.12g}"
            alpha = f"{row[6] - np.arctan2(row[3], row[5]):.6f}"
            lines.append(f"{index} {track} {name} -1 -1 {alpha} -1 -1 -1 -1 {numbers}{score}\n")
        return "".join(lines)

    def _name(self, category: str) -> str:
        if category not in CATEGORIES:
            self.lose(f"no category of KITTI for {category}: the name is kept")
        return CATEGORIES.get(category, category.capitalize())

    def _track(self, track_id: str) -> int:
        """Return the number of a track; -1 for a box that belongs to none."""
        if not track_id:
            return -1
        if str(self._tracks.setdefault(track_id, self._new_track(track_id))) != track_id:
            self.lose("track ids: KITTI numbers its tracks")
        return self._tracks[track_id]

    def _new_track(self, track_id: str) -> int:
        taken = set(self._tracks.values())
        if track_id.isascii() and track_id.isdigit() and len(track_id) < 10:
            number = int(track_id)
            if number not in taken:
                return number
        return max(taken, default=-1) + 1


def label_values(boxes: Boxes) -> Float64:
    """Return (N, 7) height, width, length, x, y, z of the bottom face in the camera, rotation_y.

    Args:
        boxes: ego frame.
    """
    inside = boxes.transform(EGO_SE3_VELODYNE.inverse())
    bottom = inside.center_xyz_m - np.pad(inside.size_lwh_m[:, 2:] / 2, ((0, 0), (2, 0)))
    camera = CAM_SE3_VELODYNE.transform_points(bottom)
    rotation_y = wrap_angle(-inside.yaw_rad - np.pi / 2)
    return np.concatenate([inside.size_lwh_m[:, [2, 1, 0]], camera, rotation_y[:, None]], axis=1)


def _write_calibration(path: Path) -> None:
    """Write a camera that is the velodyne turned: nothing is projected."""
    identity = "1 0 0 0 0 1 0 0 0 0 1 0"
    turn = " ".join(f"{value:g}" for row in CAM_SE3_VELODYNE.rotation for value in (*row, 0.0))
    lines = [*(f"P{i}: {identity}" for i in range(4)), "R_rect 1 0 0 0 1 0 0 0 1"]
    lines += [f"Tr_velo_cam {turn}", f"Tr_imu_velo {identity}"]
    path.write_text("\n".join(lines) + "\n")
