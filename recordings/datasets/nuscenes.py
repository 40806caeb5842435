"""nuScenes: one scene of a data set in its original layout (13 tables, `samples/`, `sweeps/`).

Sensor files lie in the frame of their sensor at their own time, with an ego pose each. A lidar
file is a whole revolution, stamped when it is complete and moved by nuScenes to that moment, in
the frame of the scanner (x right, y forward). Annotations are in the global frame, as width,
length, height, and belong to keyframes, twice a second; sweeps between them have no boxes here.
Layout: github.com/nutonomy/nuscenes-devkit, `docs/schema_nuscenes.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from recordings.datasets.nuscenes_tables import (
    ANNOTATED,
    NEEDED,
    Record,
    by_token,
    read_table,
    table_folders,
)
from recordings.geometry.points import RawPoints
from recordings.geometry.sweep_builder import SweepBuilder
from recordings.geometry.tracks import with_velocities
from recordings.recording import Damage, Recording, Topic
from scene.box import Boxes
from scene.calibration import Calibration, Intrinsics
from scene.errors import FormatError
from scene.image import Image
from scene.pose import SE3, Trajectory, quat_to_matrix
from scene.recording import RecordingId
from scene.sweep import Sweep
from scene.taxonomy import to_category

_POINT_BYTES: Final = 20
_MAX_SWEEP_BYTES: Final = 64 * 2**20
_SAMPLE_DATA: Final = ("filename", "timestamp", "ego_pose_token", "calibrated_sensor_token")
_ENCODINGS: Final = {"jpg": "jpeg", "jpeg": "jpeg", "png": "png"}


def open_nuscenes(path: Path, name: RecordingId, part: str = "") -> NuScenesRecording:
    """Open the scene called `part`; a data set with a single scene needs no name."""
    return NuScenesRecording(path, name, part)


class NuScenesRecording(Recording):
    """One scene. See `recordings.recording.Recording`."""

    format = "nuscenes"
    motion = "compensated"

    def __init__(self, folder: Path, name: RecordingId, scene: str = "") -> None:
        """Read everything about the scene but its points.

        Raises:
            FormatError: if a table is missing or broken, or there is no such scene.
        """
        self.recording = name
        self.damage: list[Damage] = []
        self._folder = folder
        try:
            self._read(scene)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise FormatError(
                f"{folder.name}: a record of the tables is not as nuScenes writes it ({error!r})"
            ) from error

    def _read(self, scene: str) -> None:
        tables, record = _find_scene(self._folder, scene)
        self._read_sensors(tables, record)
        poses = by_token(tables, "ego_pose", {d["ego_pose_token"] for d in self._data})
        self.trajectory = _trajectory([*self._data, *self._lidar], poses)
        self.ground_truth = self._ground_truth(tables)
        self.topics = self._topics()

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the keyframes and sweeps of the lidar in time order."""
        mounting = self.calibration.of(self.sensor)
        builder = SweepBuilder(self.trajectory, self.damage, mounting)
        for data in self._lidar:
            where = str(data["filename"])
            sweep = builder.build(_time_ns(data), where, partial(_raw_points, self._folder, where))
            if sweep is not None:
                yield sweep

    def images(self) -> Iterator[Image]:
        """Yield the camera images in time order, by reference."""
        for data in self._data:
            if self._modality[data["channel"]] == "camera":
                uri = str(data["filename"])
                encoding = _ENCODINGS.get(uri.rpartition(".")[2].lower())
                if encoding and _inside(self._folder, uri).is_file():
                    yield Image(data["channel"], _time_ns(data), encoding, uri=uri)

    def _read_sensors(self, tables: Path, scene: Record) -> None:
        """Read which sensor files the scene has and where their sensors sit."""
        token = scene["token"]
        samples = {
            sample["token"]
            for sample in read_table(tables, "sample", lambda r: r["scene_token"] == token)
        }
        data = read_table(tables, "sample_data", lambda r: r["sample_token"] in samples)
        for record in data:
            _check(record, "sample_data", _SAMPLE_DATA)
        mounts = {d["calibrated_sensor_token"] for d in data}
        mounted = by_token(tables, "calibrated_sensor", mounts)
        for record in mounted.values():
            _check(record, "calibrated_sensor", ("sensor_token",))
        sensors = by_token(tables, "sensor", {m["sensor_token"] for m in mounted.values()})
        for record in sensors.values():
            _check(record, "sensor", ("channel", "modality"))
        for record in data:
            mount = mounted[record["calibrated_sensor_token"]]
            record["channel"] = str(sensors[mount["sensor_token"]]["channel"])
        self._data = sorted(data, key=_time_ns)
        self._modality = {str(s["channel"]): str(s["modality"]) for s in sensors.values()}
        lidars = sorted(name for name, kind in self._modality.items() if kind == "lidar")
        if not lidars:
            raise FormatError(f"scene {scene['name']}: no sensor of modality lidar in sensor.json")
        self.sensor = "LIDAR_TOP" if "LIDAR_TOP" in lidars else lidars[0]
        self._lidar = self._files_there([d for d in self._data if d["channel"] == self.sensor])
        self.calibration = self._read_calibration(mounted)

    def _files_there(self, lidar: list[Record]) -> list[Record]:
        """Return all, or the keyframes where none of the sweeps between them was uploaded."""
        between = [d for d in lidar if not d.get("is_key_frame")]
        if any(_inside(self._folder, str(d["filename"])).is_file() for d in between):
            return lidar
        return [d for d in lidar if d.get("is_key_frame")]

    def _read_calibration(self, mounted: dict[str, Record]) -> Calibration:
        """Return mountings and camera models; the frame of a camera is optical already."""
        places: dict[str, SE3] = {}
        cameras: dict[str, Intrinsics] = {}
        for data in self._data:
            channel, mount = data["channel"], mounted[data["calibrated_sensor_token"]]
            if channel in places:
                continue
            try:
                places[channel] = SE3.from_quaternion(
                    np.array(mount["rotation"], float), np.array(mount["translation"], float)
                )
                matrix = np.array(mount.get("camera_intrinsic") or [], dtype=np.float64)
                if matrix.shape == (3, 3):
                    size = int(data.get("width") or 0), int(data.get("height") or 0)
                    cameras[channel] = Intrinsics(*size, matrix)
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise FormatError(
                    f"calibrated_sensor.json: record {mount['token']} of {channel}: {error!r}"
                ) from error
        return Calibration(places, frozenset(), cameras)

    def _ground_truth(self, tables: Path) -> dict[int, Boxes] | None:
        """Return the boxes of the keyframes; None where the scene was not annotated."""
        if not all((tables / f"{name}.json").is_file() for name in ANNOTATED):
            return None
        keyframes = {d["sample_token"]: _time_ns(d) for d in self._lidar if d.get("is_key_frame")}
        found = read_table(tables, "sample_annotation", lambda r: r["sample_token"] in keyframes)
        if not found:
            return None
        instances = by_token(tables, "instance", {a["instance_token"] for a in found})
        categories = by_token(tables, "category", {i["category_token"] for i in instances.values()})
        name_of = {token: categories[i["category_token"]]["name"] for token, i in instances.items()}
        rows: dict[int, list[Record]] = {time: [] for time in keyframes.values()}
        for annotation in found:
            annotation["category"] = to_category(str(name_of[annotation["instance_token"]]))
            if annotation["category"] is not None:
                rows[keyframes[annotation["sample_token"]]].append(annotation)
        frames = {
            time: _boxes(rows[time], self.trajectory.at(time).inverse()) for time in sorted(rows)
        }
        return with_velocities(frames, self.trajectory)

    def _topics(self) -> list[Topic]:
        counts = Counter(d["channel"] for d in self._data)
        counts[self.sensor] = len(self._lidar)  # fewer where only keyframes were uploaded
        use = {"lidar": f"not used: sweeps come from {self.sensor}", "camera": "images"}
        topics = []
        for channel, count in sorted(counts.items()):
            kind = self._modality[channel]
            what = use.get(kind, f"not used: no reader for {kind}")
            topics.append(Topic(channel, kind, count, "sweeps" if channel == self.sensor else what))
        boxes = sum(len(boxes) for boxes in (self.ground_truth or {}).values())
        if self.ground_truth is not None:
            topics.append(Topic("sample_annotation", "annotations", boxes, "boxes"))
        return topics


def _find_scene(folder: Path, scene: str) -> tuple[Path, Record]:
    """Return the folder of tables that holds the scene, and its record."""
    versions = table_folders(folder)
    if not versions:
        raise FormatError(
            f"{folder.name}: nuScenes sensor files without tables; upload them with the folder of "
            "the 13 tables (v1.0-mini, v1.0-trainval, ...) beside samples/ and sweeps/"
        )
    found: list[tuple[Path, Record]] = []
    for tables in versions:
        for name in NEEDED:
            if not (tables / f"{name}.json").is_file():
                read_table(tables, name)  # says which is missing
        wanted = read_table(tables, "scene", lambda r: scene in ("", r["name"]))
        found += [(tables, record) for record in wanted]
    if not found:
        raise FormatError(f"{folder.name}: no scene is called {scene!r}")
    if len(found) > 1:
        names = ", ".join(str(record["name"]) for _, record in found[:5])
        raise FormatError(
            f"{folder.name}: holds {len(found)} scenes, each a recording of its own; name one: "
            f"{names}{', ...' if len(found) > 5 else ''}"
        )
    _check(found[0][1], "scene", ("token", "name"))
    return found[0]


def _check(record: Record, table: str, needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in record]
    if missing:
        token = record.get("token", "without a token")
        raise FormatError(f"{table}.json: record {token} has no {', '.join(missing)}")


def _time_ns(record: Record) -> int:
    try:
        return int(record["timestamp"]) * 1000
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        token = record.get("token", "without a token")
        raise FormatError(f"record {token}: its timestamp is no number ({error!r})") from error


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file that a table names.

    Raises:
        FormatError: if the name leads out of the data set.
    """
    if name.startswith("/") or ".." in name.split("/") or "\0" in name:
        raise FormatError(f"sample_data.json: the file name {name!r} leads out of the data set")
    return folder / name


def _raw_points(folder: Path, name: str) -> RawPoints:
    """Read x, y, z, intensity (0 to 255) and ring, float32 each."""
    path = _inside(folder, name)
    if not path.is_file():
        raise FormatError("the file is not there, though sample_data.json names it")
    size = path.stat().st_size
    if size % _POINT_BYTES or size > _MAX_SWEEP_BYTES:
        raise FormatError(f"{size} bytes are not whole points of {_POINT_BYTES} bytes")
    points = np.frombuffer(path.read_bytes(), dtype="<f4").reshape(-1, 5)
    ring = np.nan_to_num(points[:, 4]).clip(0, 65535).astype(np.uint16)
    return RawPoints(points[:, :3], np.clip(points[:, 3], 0, 255), ring, None)


def _trajectory(data: list[Record], poses: dict[str, Record]) -> Trajectory:
    """Return the ego poses at the times of all sensors; of equal times the last one given."""
    pose_at: dict[int, list[float]] = {}
    for record in data:
        pose = poses[record["ego_pose_token"]]
        try:
            values = [float(v) for v in (*pose["rotation"], *pose["translation"])]
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"ego_pose.json: record {pose['token']}: {error!r}") from error
        if len(values) != 7 or not np.isfinite(values).all():
            raise FormatError(f"ego_pose.json: record {pose['token']}: not a pose: {values}")
        pose_at[_time_ns(record)] = values
    times = np.array(sorted(pose_at), dtype=np.int64)
    table = np.array([pose_at[int(time)] for time in times]).reshape(-1, 7)
    norm = np.linalg.norm(table[:, :4], axis=1, keepdims=True)
    if not np.all(norm > 0.5):
        raise FormatError("ego_pose.json: a quaternion has no length")
    return Trajectory(times, table[:, :4] / norm, table[:, 4:])


def _boxes(rows: list[Record], ego_SE3_map: SE3) -> Boxes:
    """Return annotations in the ego frame; there, roll and pitch of a box are dropped."""
    if not rows:
        return Boxes.empty()
    try:
        turned = quat_to_matrix(np.array([r["rotation"] for r in rows], dtype=np.float64))
        rotation = ego_SE3_map.rotation @ turned
        return Boxes.make(
            ego_SE3_map.transform_points(
                np.array([r["translation"] for r in rows], dtype=np.float64)
            ),
            np.array([r["size"] for r in rows], dtype=np.float64)[:, [1, 0, 2]],
            np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]),
            [r["category"] for r in rows],
            track_id=[str(r["instance_token"]) for r in rows],
            num_points=np.array([r.get("num_lidar_pts", -1) for r in rows], dtype=np.int64),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        token = rows[0].get("token")
        raise FormatError(f"sample_annotation.json: near record {token}: {error!r}") from error
