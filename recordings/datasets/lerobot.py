"""LeRobot data sets: each episode is a recording of a robot, usually without any lidar.

States, actions and other numbers become signals; cameras are kept by reference to their video and
frame. Times count from the start of the episode, because the format has no other clock. Features
of points (`(N, 3)` or `(N, 4)`, named after a lidar or a point cloud) become sweeps in the frame
they are in, taken for the ego frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recordings.datasets import lerobot_table, mp4_file
from recordings.datasets.lerobot_features import (
    BOOKKEEPING,
    INFO,
    Feature,
    holds_points,
    is_signal,
    kind_of,
    why_not,
)
from recordings.datasets.lerobot_meta import DataSet, Episode, part_name
from recordings.geometry.sweep_builder import SweepBuilder
from recordings.recording import (
    ASSUMED_CLOCK,
    ASSUMED_POSES,
    Damage,
    Recording,
    Topic,
    empty_trajectory,
    identity_trajectory,
)
from scene.box import Boxes
from scene.calibration import Calibration
from scene.errors import FormatError
from scene.image import Image
from scene.pose import SE3
from scene.recording import RecordingId
from scene.signal import Signal
from scene.sweep import Sweep
from scene.types import Int64

ASSUMED_FPS: Final = 30.0


def open_lerobot(path: Path, name: RecordingId, part: str = "") -> LeRobotRecording:
    """Open one episode.

    Args:
        path: the data set's folder.
        name: id of the recording.
        part: `episode_000029` or `29`; may be empty where only one episode has data.

    Raises:
        FormatError: if the data set is broken, or it is not clear which episode is meant.
    """
    data = DataSet.of_folder(path)
    here = _here(data, path)
    return LeRobotRecording(path, data, _choose(data, here, part), name, len(here))


def _here(data: DataSet, folder: Path) -> list[int]:
    """Return the episodes whose file of data is there."""
    there: dict[str, bool] = {}
    for episode in data.episodes.values():
        if episode.data not in there:
            there[episode.data] = (folder / episode.data).is_file()
    return [index for index, episode in sorted(data.episodes.items()) if there[episode.data]]


def _choose(data: DataSet, here: list[int], part: str) -> Episode:
    """Return the episode that is meant."""
    name = data.name
    if part:
        match = re.fullmatch(r"(?:episode_)?(\d{1,12})", part)
        episode = data.episodes.get(int(match[1])) if match else None
        if episode is None:
            raise FormatError(f"{name}: no episode {part!r} among its {len(data.episodes)}")
        return episode
    if len(here) == 1:
        return data.episodes[here[0]]
    if not here:
        first = next(iter(sorted(data.episodes.values(), key=lambda e: e.index)), None)
        missing = f", such as {first.data}" if first else ""
        raise FormatError(f"{name}: the data of its {len(data.episodes)} episodes are missing"
                          f"{missing}; upload them")  # fmt: skip
    shown = ", ".join(part_name(index) for index in here[:3])
    raise FormatError(f"{name}: holds {len(here)} episodes; say which one: {shown}, ...")


@dataclass(frozen=True, slots=True)
class _Camera:
    """Where the images of a camera are: in a video, or, without a `uri`, in the rows."""

    name: str
    uri: str = ""
    first: int = 0
    num_frames: int = 0
    codec: str = ""


class LeRobotRecording(Recording):
    """One episode. See `recordings.recording.Recording`.

    Attributes:
        tasks: what the robot was told to do.
    """

    format = "lerobot"
    ground_truth: dict[int, Boxes] | None = None

    def __init__(
        self, folder: Path, data: DataSet, episode: Episode, name: RecordingId, num_here: int = 1
    ) -> None:
        """Read all numbers of the episode, and the index of its videos.

        Args:
            folder: of the data set.
            data: what it says about itself.
            episode: which one.
            name: id of the recording.
            num_here: episodes whose data are there, to say how many are not.

        Raises:
            FormatError: if the episode has no readable row.
        """
        self.recording = name
        self.damage: list[Damage] = []
        self.tasks = episode.tasks
        self._folder, self._data, self._episode = folder, data, episode
        points = [f for f in data.features.values() if holds_points(f)]
        self._points = points[0] if points else None
        self.sensor = points[0].name if points else ""
        signals = [feature for feature in data.features.values() if is_signal(feature)]
        table = lerobot_table.read_rows(
            folder / episode.data, episode.data, episode.index, [f.name for f in signals]
        )
        assumed: set[str] = set()
        self.times_ns = self._times(table, assumed)
        self._check_length(len(table))
        self.signals = [s for f in signals if (s := self._signal(f, table)) is not None]
        self._cameras = self._usable_cameras(len(table))
        if self._points is None:
            self.trajectory, sensors = empty_trajectory(), {}
        else:
            self.trajectory = identity_trajectory([int(time) for time in self.times_ns])
            sensors = {self.sensor: SE3.identity()}
            assumed |= {self.sensor, ASSUMED_POSES}
        self.calibration = Calibration(sensors, frozenset(assumed))
        self.topics = self._describe(len(table), len(data.episodes) - num_here)

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the clouds of the feature that holds points; nothing where there is none."""
        if self._points is None:
            return
        builder = SweepBuilder(self.trajectory, self.damage, SE3.identity())
        for number, row in self._rows(self._points.name):
            where = f"{self._episode.data}: {self._points.name}, frame {number}"
            read = partial(lerobot_table.points, row, self._points.shape[1])
            sweep = builder.build(int(self.times_ns[number]), where, read)
            if sweep is not None:
                yield sweep

    def images(self) -> Iterator[Image]:
        """Yield the cameras' frames, time by time within each camera."""
        for camera in self._cameras:
            if not camera.uri:
                yield from self._stills(camera.name)
            for number, time in enumerate(self.times_ns[: camera.num_frames].tolist()):
                first = camera.first + number
                yield Image(camera.name, time, camera.codec, None, camera.uri, first)

    def _stills(self, camera: str) -> Iterator[Image]:
        """Yield the images of a column: bytes, or the path of a file."""
        missing = 0
        for number, row in self._rows(camera):
            data, path = lerobot_table.still(row)
            time = int(self.times_ns[number])
            if data:
                yield Image(camera, time, lerobot_table.encoding_of(data), data)
            elif path:
                yield Image(camera, time, Path(path).suffix.lstrip(".").lower(), None, path)
            else:
                missing += 1
        if missing:
            what = f"{missing} frames of {camera} hold no image"
            self.damage.append(Damage(self._episode.data, what, f"{missing} images"))

    def _rows(self, column: str) -> Iterator[tuple[int, Any]]:
        """Yield number and value of a column in the episode's rows, a row group in memory."""
        where, number = self._episode.data, 0
        try:
            file = pq.ParquetFile(self._folder / where)
            keyed = "episode_index" in file.schema_arrow.names
            names = [column, "episode_index"] if keyed else [column]
            for batch in file.iter_batches(batch_size=64, columns=names):
                mine = batch.column("episode_index").to_pylist() if keyed else None
                values = batch.column(column)
                for i in range(len(batch)):
                    if mine is None or mine[i] == self._episode.index:
                        if number >= len(self.times_ns):
                            return
                        yield number, values[i].as_py()
                        number += 1
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            what = f"{column} breaks off after {number} frames ({error})"
            lost = f"{len(self.times_ns) - number} frames of {column}"
            self.damage.append(Damage(where, what, lost))

    def _times(self, table: pa.Table, assumed: set[str]) -> Int64:
        found = lerobot_table.frame_times_ns(table, self._data.fps)
        if found is not None:
            return found
        assumed.add(ASSUMED_CLOCK)
        number = np.arange(len(table), dtype=np.float64)
        return np.round(number * 1e9 / (self._data.fps or ASSUMED_FPS)).astype(np.int64)

    def _check_length(self, found: int) -> None:
        announced = self._episode.length
        if announced > 0 and found != announced:
            what = f"{announced} frames announced, {found} found"
            lost = f"{max(0, announced - found)} frames"
            self.damage.append(Damage(self._episode.data, what, lost))

    def _signal(self, feature: Feature, table: pa.Table) -> Signal | None:
        where = f"{self._episode.data}: {feature.name}"
        if feature.name not in table.column_names:
            self.damage.append(Damage(where, "the column is missing", feature.name))
            return None
        try:
            values, odd = lerobot_table.matrix(table.column(feature.name), len(feature.fields))
        except FormatError as error:
            self.damage.append(Damage(where, str(error), feature.name))
            return None
        if odd:
            what = f"{odd} rows do not hold {len(feature.fields)} values as {INFO} says"
            self.damage.append(Damage(where, what, f"{odd} rows of {feature.name}"))
        return Signal(
            feature.name, kind_of(feature.name), "", feature.fields, self.times_ns, values
        )

    def _usable_cameras(self, frames: int) -> list[_Camera]:
        """Return the cameras that have images; what is missing goes to `damage`."""
        cameras = [_Camera(f.name) for f in self._data.features.values() if f.dtype == "image"]
        for feature in self._data.features.values():
            if feature.dtype == "video":
                camera = self._video(feature.name, frames)
                cameras += [camera] if camera is not None else []
        return cameras

    def _video(self, camera: str, frames: int) -> _Camera | None:
        uri, start_s = self._episode.videos.get(camera, ("", 0.0))
        path, lost = self._folder / uri, f"{frames} images of {camera}"
        if not uri or not path.is_file():
            where = uri or "meta/episodes"
            what = "the video is missing" if uri else f"no video named for {camera}"
            self.damage.append(Damage(where, what, lost))
            return None
        try:
            video = mp4_file.read_video(path)
        except FormatError as error:
            self.damage.append(Damage(uri, str(error), lost))
            return None
        first = round(start_s * self._data.fps)
        there = frames
        if video.num_frames:  # a fragmented file counts elsewhere
            there = max(0, min(frames, video.num_frames - first))
        if there < frames:
            what = f"holds {video.num_frames} frames, {first + frames} are needed"
            self.damage.append(Damage(uri, what, f"{frames - there} images of {camera}"))
        return _Camera(camera, uri, first, there, video.codec)

    def _describe(self, frames: int, absent: int) -> list[Topic]:
        use = {signal.name: "signal" for signal in self.signals}
        use |= {camera.name: "images" for camera in self._cameras}
        use |= dict.fromkeys(BOOKKEEPING, "times and order of the frames")
        if self._points is not None:
            use[self._points.name] = "sweeps"
        topics = [
            Topic(
                f.name,
                f"{f.dtype}{' of depth' * f.is_depth}",
                frames,
                use.get(f.name) or f"not used: {why_not(f)}",
            )
            for f in self._data.features.values()
        ]
        topics += [
            Topic("task", "text", 1, f"not used: text for people: {task}") for task in self.tasks
        ]
        if absent:
            said = len(self._data.episodes)
            topics.append(
                Topic("meta/episodes", "episodes", said, f"not used: {absent} have no data here")
            )
        return topics
