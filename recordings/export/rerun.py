"""A Rerun recording (`.rrd`): points, boxes, poses and images on the timelines `time` and `frame`.

Entities: `map/ego` carries the pose of the vehicle, `map/ego/points` the sweep and
`map/ego/boxes` the boxes, both in the ego frame; `map/ego/<sensor>` where each sensor sits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import rerun as rr

from recordings.export.writer import Frame, Writer, image_suffix
from recordings.recording import Recording
from scene.box import Boxes
from scene.image import Image
from scene.pose import SE3
from scene.taxonomy import CATEGORY

EGO: Final = "map/ego"
_NUM_SHADES: Final = 256
_GREY: Final = (150, 150, 150)
_MEDIA: Final = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


class RerunWriter(Writer):
    """Writes one recording. See `recordings.export.writer.Writer`."""

    def __init__(self, folder: Path, recording: Recording) -> None:
        super().__init__(folder, recording)
        name = str(recording.recording)
        # The id is made from the name, so that the same drive opened twice is one recording.
        self._log = rr.RecordingStream("starloop", recording_id=name)
        self._log.save(str(folder / f"{name}.rrd"))
        self._log.log("map", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        for sensor, pose in sorted(recording.calibration.ego_SE3_sensor.items()):
            self._log.log(f"{EGO}/{_entity(sensor)}", _transform(pose), static=True)
        for sensor, camera in sorted(recording.calibration.cameras.items()):
            pinhole = rr.Pinhole(
                image_from_camera=camera.matrix, width=camera.width_px, height=camera.height_px
            )
            self._log.log(f"{EGO}/{_entity(sensor)}", pinhole, static=True)
            if camera.distortion.any():
                self.lose(f"distortion of camera {sensor}: only the pinhole is shown")
        self._shades = _shades()
        self._write_poses()
        self._write_signals()

    def frame(self, frame: Frame) -> None:
        """Log one sweep, its pose and its boxes."""
        sweep = frame.sweep
        self._at(sweep.timestamp_ns)
        self._log.set_time("frame", sequence=frame.number)
        self._log.log(EGO, _transform(frame.map_SE3_ego))
        values: dict[str, Any] = {"intensity": sweep.intensity, "offset_ns": sweep.offset_ns}
        if sweep.ring is not None:
            values["ring"] = sweep.ring
        shade = np.rint(sweep.intensity * (_NUM_SHADES - 1)).astype(np.intp)
        self._log.log(
            f"{EGO}/points",
            rr.Points3D(sweep.points_ego_m, colors=self._shades[shade], radii=0.03),
            rr.AnyValues(drop_untyped_nones=True, **values),
        )
        if frame.boxes is not None:
            self._log_boxes(frame.boxes)
        self._log.disable_timeline("frame")

    def image(self, image: Image) -> bool:
        """Log one image."""
        suffix = image_suffix(image)
        if image.data is None or suffix not in _MEDIA:
            return self.lose(
                f"images of {image.sensor}: only JPEG, PNG and WebP files can be shown"
            )
        self._at(image.timestamp_ns)
        picture = rr.EncodedImage(contents=image.data, media_type=_MEDIA[suffix])
        self._log.log(f"{EGO}/{_entity(image.sensor)}", picture)
        return True

    def close(self) -> None:
        """Finish the file."""
        self._log.flush()
        self._log.disconnect()

    def _at(self, timestamp_ns: int) -> None:
        self._log.set_time("time", timestamp=np.datetime64(timestamp_ns, "ns"))

    def _log_boxes(self, boxes: Boxes) -> None:
        half, zero = boxes.yaw_rad / 2, np.zeros(len(boxes))
        names = [
            _label(str(c), str(t)) for c, t in zip(boxes.category, boxes.track_id, strict=True)
        ]
        colors = [
            CATEGORY[c].color_rgb if c in CATEGORY else _GREY for c in boxes.category.tolist()
        ]
        self._log.log(
            f"{EGO}/boxes",
            rr.Boxes3D(
                centers=boxes.center_xyz_m,
                half_sizes=boxes.size_lwh_m / 2,
                quaternions=np.stack([zero, zero, np.sin(half), np.cos(half)], axis=1),
                colors=np.array(colors, dtype=np.uint8).reshape(-1, 3),
                labels=names,
                show_labels=False,
            ),
            rr.AnyValues(
                category=boxes.category.tolist(),
                track_id=boxes.track_id.tolist(),
                velocity_x_mps=boxes.velocity_xy_mps[:, 0],
                velocity_y_mps=boxes.velocity_xy_mps[:, 1],
                score=boxes.score,
                num_points=boxes.num_points,
            ),
        )

    def _write_poses(self) -> None:
        """Log the poses at their full rate, those between sweeps as well."""
        track = self.recording.trajectory
        if not self.has_poses or not len(track):
            self.lose("poses: none were recorded, so ego stays at the origin of map")
            return
        self.lose("digits of poses and boxes: Rerun keeps 7 (float32)")
        self._log.send_columns(
            EGO,
            indexes=[rr.TimeColumn("time", timestamp=track.timestamps_ns.astype("datetime64[ns]"))],
            columns=rr.Transform3D.columns(
                translation=track.translation_m, quaternion=track.quat_wxyz[:, [1, 2, 3, 0]]
            ),
        )

    def _write_signals(self) -> None:
        """Log the signals as curves, column by column."""
        for signal in self.recording.signals:
            times = signal.timestamps_ns.astype("datetime64[ns]")
            self._log.send_columns(
                f"signals/{_entity(signal.name)}",
                indexes=[rr.TimeColumn("time", timestamp=times)],
                columns=rr.Scalars.columns(scalars=signal.values),
            )
            names = rr.SeriesLines(names=list(signal.fields))
            self._log.log(f"signals/{_entity(signal.name)}", names, static=True)


def _label(category: str, track: str) -> str:
    return f"{category} {track[:8]}" if track else category


def _entity(name: str) -> str:
    """Return a name as part of an entity path."""
    return "".join(c if c.isalnum() or c in "_-." else "_" for c in name.strip("/")) or "unnamed"


def _transform(pose: SE3) -> rr.Transform3D:
    w, x, y, z = pose.quat_wxyz.tolist()
    return rr.Transform3D(
        translation=pose.translation_m, quaternion=rr.Quaternion(xyzw=[x, y, z, w])
    )


def _shades() -> np.ndarray:
    """Return (256, 3) uint8 colours from dark blue over green to yellow."""
    level = np.linspace(0, 1, _NUM_SHADES)[:, None]
    low, middle, high = np.array([[68, 1, 84], [33, 145, 140], [253, 231, 37]], dtype=np.float64)
    mixed = np.where(
        level < 0.5, low + (middle - low) * 2 * level, middle + (high - middle) * (2 * level - 1)
    )
    return mixed.astype(np.uint8)
