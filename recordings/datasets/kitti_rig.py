"""What all KITTI layouts share: the scanner, scan files, and calibration files.

The ego origin is put on the ground below the OXTS unit, which KITTI's sensor plan shows 5 cm from
the rear axle: the scanner sits 0.81 m ahead of it (`calib_imu_to_velo`) and 1.73 m above the road
(Geiger et al., "Vision meets robotics: the KITTI dataset", IJRR 2013, figure 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from recordings.geometry.points import RawPoints
from scene.calibration import Intrinsics
from scene.errors import FormatError
from scene.pose import SE3
from scene.types import Float64

SENSOR: Final = "velodyne"
EGO_SE3_VELODYNE: Final = SE3(np.eye(3), np.array([0.81, 0.0, 1.73]))
MAX_SCAN_BYTES: Final = 64 * 2**20
_POINT_BYTES: Final = 16
_NAMES: Final = {
    "Tr_velo_cam": "Tr_velo_to_cam", "Tr_imu_velo": "Tr_imu_to_velo", "R_rect": "R0_rect",
    "R_rect_00": "R0_rect",
}  # fmt: skip


class Camera(NamedTuple):
    """One rectified camera.

    Attributes:
        projection: (3, 4) from the rectified frame of camera 0 to pixels.
        size_px: width and height; None where the calibration does not say.
    """

    projection: Float64
    size_px: tuple[int, int] | None


class KittiRig(NamedTuple):
    """Calibration of one recording or frame.

    Attributes:
        rect_SE3_velo: from the scanner to the rectified frame of camera 0 (x right, y down, z
            forward), in which labels are.
        velo_SE3_imu: where the OXTS unit sits; None where the file does not say.
        cameras: by number, 0 and 1 grey, 2 and 3 colour.
    """

    rect_SE3_velo: SE3
    velo_SE3_imu: SE3 | None
    cameras: dict[int, Camera]

    @property
    def ego_SE3_rect(self) -> SE3:
        """From the frame of labels to the ego frame."""
        return EGO_SE3_VELODYNE @ self.rect_SE3_velo.inverse()


def read_rig(path: Path) -> KittiRig:
    """Read `calib/000008.txt` of the object benchmark or `calib/0000.txt` of tracking.

    Raises:
        FormatError: if R0_rect or Tr_velo_to_cam is missing or is no rigid transform.
    """
    fields = read_labelled(path)
    rect = np.eye(4)
    rect[:3, :3] = _field(fields, "R0_rect", 9, path).reshape(3, 3)
    velo = np.eye(4)
    velo[:3] = _field(fields, "Tr_velo_to_cam", 12, path).reshape(3, 4)
    imu = fields.get("Tr_imu_to_velo")
    cameras = {
        number: Camera(fields[f"P{number}"].reshape(3, 4), None)
        for number in range(4)
        if len(fields.get(f"P{number}", ())) == 12
    }
    return KittiRig(
        _rigid(rect @ velo, path),
        _rigid(np.vstack([imu.reshape(3, 4), [0, 0, 0, 1]]), path)
        if imu is not None and len(imu) == 12
        else None,
        cameras,
    )


def read_raw_rig(folder: Path) -> KittiRig | None:
    """Read the calibration of a raw drive, None if it came without.

    These are `calib_velo_to_cam.txt` and `calib_cam_to_cam.txt`, in the drive's folder or the one
    above, or `calib_tracking_format.txt` beside the drive.

    Raises:
        FormatError: if a file lacks what it should hold.
    """
    velo, cam = (find_above(folder, f"calib_{n}.txt") for n in ("velo_to_cam", "cam_to_cam"))
    if velo is None or cam is None:
        path = folder / "calib_tracking_format.txt"
        return read_rig(path) if path.exists() else None
    mount, fields = read_labelled(velo), read_labelled(cam)
    pose, rect = np.eye(4), np.eye(4)
    pose[:3, :3] = _field(mount, "R", 9, velo).reshape(3, 3)
    pose[:3, 3] = _field(mount, "T", 3, velo)
    rect[:3, :3] = _field(fields, "R0_rect", 9, cam).reshape(3, 3)
    cameras = {}
    for number in range(4):
        if f"P_rect_0{number}" in fields:
            projection = _field(fields, f"P_rect_0{number}", 12, cam).reshape(3, 4)
            width, height = _field(fields, f"S_rect_0{number}", 2, cam).tolist()
            cameras[number] = Camera(projection, (int(width), int(height)))
    return KittiRig(_rigid(rect @ pose, cam), None, cameras)


def find_above(folder: Path, name: str) -> Path | None:
    """Return a file of a drive, or of its day in the folder above."""
    return next((p for p in (folder / name, folder.parent / name) if p.exists()), None)


def camera_calibration(
    rig: KittiRig, names: Mapping[int, str], sizes_px: Mapping[int, tuple[int, int]]
) -> tuple[dict[str, SE3], dict[str, Intrinsics]]:
    """Return `ego_SE3_camera` and the models of the cameras whose size is known.

    A rectified camera i sees K (x + b), x in the rectified frame of camera 0, with K the left
    3 x 3 block of its projection and K b the last column. Source: Geiger et al. 2013, section 3.
    """
    places, models = {}, {}
    for number, name in names.items():
        camera = rig.cameras.get(number)
        size = sizes_px.get(number) or (camera.size_px if camera else None)
        if camera is None or size is None:
            continue
        matrix = camera.projection[:, :3]
        if abs(np.linalg.det(matrix)) < 1e-9:
            raise FormatError(f"projection of camera {number}: not invertible")
        shift_m = np.linalg.solve(matrix, camera.projection[:, 3]).astype(np.float64)
        rect_SE3_camera = SE3(np.eye(3), -shift_m)
        places[name] = rig.ego_SE3_rect @ rect_SE3_camera
        models[name] = Intrinsics(*size, matrix.copy())
    return places, models


def read_labelled(path: Path) -> dict[str, Float64]:
    """Return the numeric lines `NAME: numbers` or `NAME numbers` of a calibration file."""
    fields = {}
    for line in path.read_text(errors="replace").splitlines():
        name, _, values = line.strip().replace(":", " ", 1).partition(" ")
        try:
            fields[_NAMES.get(name, name)] = np.array([float(value) for value in values.split()])
        except ValueError:
            continue  # calib_time: is a date
    return fields


def raw_points(data: bytes) -> RawPoints:
    """Return the points of a scan: x, y, z, reflectance as float32.

    Raises:
        FormatError: if the bytes are not whole points.
    """
    if len(data) % _POINT_BYTES:
        raise FormatError(f"{len(data)} bytes are not whole points of {_POINT_BYTES} bytes")
    points = np.frombuffer(data, dtype="<f4").reshape(-1, 4)
    return RawPoints(points[:, :3], points[:, 3], None, None)


def read_scan(path: Path) -> RawPoints:
    """Return the points of a scan file.

    Raises:
        FormatError: if it cannot be a scan.
    """
    size = path.stat().st_size
    if size > MAX_SCAN_BYTES:
        raise FormatError(f"{size} bytes in one scan")
    return raw_points(path.read_bytes())


def png_size(path: Path) -> tuple[int, int] | None:
    """Return width and height from the header of a PNG file, None if it is none."""
    with path.open("rb") as stream:
        start = stream.read(24)
    if len(start) < 24 or not start.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    return int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")


def _field(fields: Mapping[str, Float64], name: str, count: int, path: Path) -> Float64:
    found = fields.get(name)
    if found is None or len(found) != count or not np.isfinite(found).all():
        raise FormatError(f"{path.name}: expected a line {name}: with {count} numbers")
    return found


def _rigid(matrix: Float64, path: Path) -> SE3:
    rotation = matrix[:3, :3]
    off = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if not off < 1e-2 or not np.linalg.det(rotation) > 0:
        raise FormatError(f"{path.name}: a transform is not rigid (off by {off:.3g})")
    return SE3(rotation, matrix[:3, 3])
