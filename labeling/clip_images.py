"""Camera images of a clip: which one belongs to a sweep, and how to read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scene.errors import FormatError, FrameError, NotFoundError
from scene.pose import SE3
from scene.recording import RecordingId
from storage import layout
from storage.images import IMAGE_SCHEMA
from storage.store import ObjectStore
from storage.sweeps import SweepFile

MEDIA_TYPES: Final = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_MAX_APART_NS: Final = 100_000_000


class ImageIndex:
    """Which images a recording has that a browser can show, of calibrated cameras.

    Args:
        store: the bucket.
        recording: id of the recording.
        sweeps: its open sweeps, for calibration and poses.
    """

    def __init__(self, store: ObjectStore, recording: RecordingId, sweeps: SweepFile) -> None:
        self._sweeps = sweeps
        table = _read_index(store, layout.images(recording))
        sensors = np.array(table["sensor"].to_pylist(), dtype=np.str_)
        times = table["timestamp_ns"].to_numpy().astype(np.int64)
        shown = np.isin(np.array(table["encoding"].to_pylist(), dtype=np.str_), list(MEDIA_TYPES))
        calibration = sweeps.calibration
        self._times = {
            name: np.sort(times[shown & (sensors == name)])
            for name in sorted(set(sensors.tolist()) & calibration.cameras.keys())
            if name in calibration.ego_SE3_sensor
        }

    def of(self, timestamp_ns: int) -> tuple[dict[str, Any], ...]:
        """Return by camera the image nearest to a sweep, as JSON values.

        `camera_SE3_ego` maps the ego frame at the time of the *sweep* into the camera at the time
        of the image: the car drove on between the two.
        """
        found = []
        for name, times in self._times.items():
            if not len(times):
                continue
            nearest = int(times[np.argmin(np.abs(times - timestamp_ns))])
            if abs(nearest - timestamp_ns) > _MAX_APART_NS:
                continue
            camera = self._sweeps.calibration.cameras[name]
            pose = self._camera_SE3_ego(name, nearest, timestamp_ns)
            found.append(
                {
                    "camera": name,
                    "timestamp_ns": nearest,
                    "width": camera.width_px,
                    "height": camera.height_px,
                    "K": camera.matrix.ravel().tolist(),
                    "distortion": camera.distortion.tolist(),
                    "model": camera.model,
                    "camera_SE3_ego": list(matrix_of(pose)),
                }
            )
        return tuple(found)

    def _camera_SE3_ego(self, name: str, image_ns: int, sweep_ns: int) -> SE3:
        camera_SE3_ego = self._sweeps.calibration.ego_SE3_sensor[name].inverse()
        track = self._sweeps.trajectory
        try:
            moved = track.at(image_ns).inverse() @ track.at(sweep_ns)
        except FrameError:  # at the ends of a recording; then the motion is not known
            return camera_SE3_ego
        return camera_SE3_ego @ moved


# Gives a file of a landed recording by its path in it; None if it has been taken away.
ReadLanded = Callable[[RecordingId, str], bytes | None]


def read_image(
    store: ObjectStore,
    recording: RecordingId,
    camera: str,
    timestamp_ns: int,
    read_landed: ReadLanded | None = None,
) -> tuple[bytes, str]:
    """Return an image as it was recorded, and its media type.

    Args:
        store: the bucket.
        recording: id of the recording.
        camera: name of the camera.
        timestamp_ns: the image's own time.
        read_landed: reads what ingest did not copy but kept by reference, as data sets come.

    Raises:
        NotFoundError: if there is no such image.
        FormatError: if the file of images is damaged.
    """
    key = layout.images(recording)
    with store.open(key) as handle:
        try:
            file = pq.ParquetFile(handle)
            for number in range(file.num_row_groups):
                head = file.read_row_group(number, ["sensor", "timestamp_ns", "encoding"])
                sensors, times = head["sensor"].to_pylist(), head["timestamp_ns"].to_pylist()
                for row, found in enumerate(zip(sensors, times, strict=True)):
                    if found == (camera, timestamp_ns):
                        body = file.read_row_group(number, ["data", "uri"]).slice(row, 1)
                        [data], [uri] = body["data"].to_pylist(), body["uri"].to_pylist()
                        encoding = head["encoding"][row].as_py()
                        if data is None and uri and read_landed is not None:
                            data = read_landed(recording, uri)
                        if data is not None and encoding in MEDIA_TYPES:
                            return data, MEDIA_TYPES[encoding]
        except (pa.ArrowException, OSError) as error:
            raise FormatError(f"{key}: not a Starloop image file ({error})") from error
    raise NotFoundError(f"{key}: no image of {camera!r} at {timestamp_ns} ns")


def _read_index(store: ObjectStore, key: str) -> pa.Table:
    """Return the columns that tell which images there are; no rows without a file."""
    try:
        handle = store.open(key)
    except NotFoundError:
        return IMAGE_SCHEMA.empty_table()
    with handle:
        try:
            columns = ["sensor", "timestamp_ns", "encoding"]
            return pq.read_table(handle, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise FormatError(f"{key}: not a Starloop image file ({error})") from error


def matrix_of(pose: SE3) -> tuple[float, ...]:
    """Return a transform as a 4 x 4 matrix, row by row."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = pose.rotation, pose.translation_m
    return tuple(matrix.ravel().tolist())
