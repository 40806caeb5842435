"""What a LeRobot data set says about itself: features, episodes, and in which files they lie.

Three layouts are known: v2.0 and v2.1 (`meta/episodes.jsonl`, one data file an episode) and v3
(`meta/episodes/*/*.parquet`, many episodes in a file). Which one it is, is told by the files, not
by `codebase_version`: converters write the wrong one. Source: github.com/huggingface/lerobot,
`datasets/utils.py` and `docs/source/lerobot-dataset-v3.mdx`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from recordings.datasets.lerobot_features import INFO, count_of, number_of, read_feature
from scene.errors import FormatError

EPISODES_V2: Final = "meta/episodes.jsonl"
EPISODES_V3: Final = "meta/episodes"
_DATA_V2: Final = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_VIDEO_V2: Final = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
_DATA_V3: Final = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO_V3: Final = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_MAX_BYTES: Final = 512 * 2**20
_MAX_EPISODES: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Episode:
    """Where one episode lies.

    Attributes:
        index: its number in the data set.
        length: frames announced, -1 where nothing is announced.
        data: file of its rows, relative to the data set.
        videos: by camera, the file and the second in it at which the episode starts.
        tasks: what the robot was told to do.
    """

    index: int
    length: int
    data: str
    videos: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()


class DataSet:
    """What the `meta` folder of one data set says.

    Attributes:
        name: for messages.
        fps: frames a second, 0 where unknown.
        robot: type of the robot, empty where unknown.
        features: by name.
        episodes: by number, those that the data set lists.
    """

    def __init__(
        self, name: str, info: bytes, lines: bytes | None, tables: Sequence[tuple[str, bytes]]
    ) -> None:
        """Understand the files of the folder.

        Args:
            name: of the data set, for messages.
            info: content of `meta/info.json`.
            lines: content of `meta/episodes.jsonl`, None where there is none.
            tables: name and content of each file of `meta/episodes/`, else.

        Raises:
            FormatError: if something is missing or wrong.
        """
        self.name = name
        self._info = _parsed(info, INFO)
        self.fps = number_of(self._info.get("fps"))
        self.robot = str(self._info.get("robot_type") or "")
        features = self._info.get("features")
        if not isinstance(features, dict):
            raise FormatError(f"{INFO}: no features; expected an object by name")
        self.features = {name: read_feature(name, said) for name, said in features.items()}
        if lines is not None:
            self.episodes = self._listed_in_lines(lines)
        elif tables:
            self.episodes = self._listed_in_tables(tables)
        else:
            raise FormatError(
                f"{name}: the list of episodes is missing; upload {EPISODES_V2} (v2) or "
                f"{EPISODES_V3}/ (v3) with the data"
            )

    @classmethod
    def of_folder(cls, folder: Path) -> DataSet:
        """Read the `meta` folder of a data set.

        Raises:
            FormatError: if something is missing or wrong.
        """
        if not (folder / INFO).is_file():
            raise FormatError(f"{folder.name}: {INFO} is missing; the columns have no meaning")
        lines = folder / EPISODES_V2
        found = sorted((folder / EPISODES_V3).rglob("*.parquet"))
        tables = [(path.relative_to(folder).as_posix(), _content(path)) for path in found]
        return cls(
            folder.name,
            _content(folder / INFO),
            _content(lines) if lines.is_file() else None,
            tables,
        )

    def _listed_in_lines(self, lines: bytes) -> dict[int, Episode]:
        """Return the episodes of `meta/episodes.jsonl`, one JSON object a line."""
        found: dict[int, Episode] = {}
        for number, line in enumerate(lines.split(b"\n"), 1):
            if not line.strip():
                continue
            row = _parsed(line, f"{EPISODES_V2} line {number}")
            index = count_of(row.get("episode_index"), f"{EPISODES_V2} line {number}")
            tasks = row.get("tasks")
            found[index] = Episode(
                index,
                int(number_of(row.get("length", -1))),
                self._path("data_path", _DATA_V2, index),
                {name: (self._path("video_path", _VIDEO_V2, index, name), 0.0) for name in
                 self._videos()},
                tuple(str(task) for task in tasks) if isinstance(tasks, list) else (),
            )  # fmt: skip
        return found

    def _listed_in_tables(self, tables: Sequence[tuple[str, bytes]]) -> dict[int, Episode]:
        """Return the episodes of `meta/episodes/*/*.parquet`, one row each."""
        found: dict[int, Episode] = {}
        for where, content in tables:
            for row in _rows(content, where):
                index = count_of(row.get("episode_index"), where)
                found[index] = self._episode(index, row, where)
        if not found:
            raise FormatError(f"{self.name}: no episode in {EPISODES_V3}")
        return found

    def _episode(self, index: int, row: Mapping[str, Any], where: str) -> Episode:
        videos: dict[str, tuple[str, float]] = {}
        for name in self._videos():
            start = row.get(f"videos/{name}/from_timestamp")
            place = [row.get(f"videos/{name}/{key}") for key in ("chunk_index", "file_index")]
            if start is not None and None not in place:
                chunk, file = (count_of(value, where) for value in place)
                path = self._path("video_path", _VIDEO_V3, index, name, chunk, file)
                videos[name] = (path, max(0.0, number_of(start)))
        chunk, file = (count_of(row.get(f"data/{k}_index"), where) for k in ("chunk", "file"))
        data = self._path("data_path", _DATA_V3, index, "", chunk, file)
        tasks = row.get("tasks")
        tasks = [tasks] if isinstance(tasks, str) else list(tasks or ())
        return Episode(
            index, int(number_of(row.get("length", -1))), data, videos, tuple(map(str, tasks))
        )

    def _videos(self) -> list[str]:
        return [name for name, feature in self.features.items() if feature.dtype == "video"]

    def _path(
        self, key: str, usual: str, index: int, video: str = "", chunk: int = 0, file: int = 0
    ) -> str:
        """Return a path by the data set's own template, never outside the data set."""
        template = str(self._info.get(key) or usual)
        size = int(number_of(self._info.get("chunks_size"))) or 1000
        numbers = {
            "episode_index": index,
            "episode_chunk": index // size,
            "chunk_index": chunk,
            "file_index": file,
            "total_episodes": int(number_of(self._info.get("total_episodes"))),
        }

        def value(match: re.Match[str]) -> str:
            name, width = match["name"], int(match["width"] or 0)
            if name in ("video_key", "image_key"):
                return video
            if name not in numbers:
                raise FormatError(f"{INFO}: {key} {template!r}: {{{name}}} is not known")
            return f"{numbers[name]:0{width}d}"

        path = re.sub(r"\{(?P<name>\w+)(?::0?(?P<width>\d{1,2})d)?\}", value, template)
        if is_outside(path):
            raise FormatError(f"{INFO}: {key} {template!r} leads out of the data set")
        return path


def is_outside(path: str) -> bool:
    """Return whether a relative path leads out of the data set."""
    pure = PurePosixPath(path)
    return ".." in pure.parts or pure.is_absolute() or "\0" in path


def part_name(episode: int) -> str:
    """Return how an episode is called in `Source.part` and in the name of its recording."""
    return f"episode_{episode:06d}"


def _content(path: Path) -> bytes:
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise FormatError(f"{path.name}: {size} bytes are too many for a list of episodes")
    return path.read_bytes()


def _parsed(text: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise FormatError(f"{where}: expected a JSON object, got {type(value).__name__}")
    return value


def _rows(content: bytes, where: str) -> list[dict[str, Any]]:
    """Return the rows of an episode table without its statistics, which are most of its bytes."""
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        if file.metadata.num_rows > _MAX_EPISODES:
            raise FormatError(f"{where}: {file.metadata.num_rows} episodes announced")
        names = [name for name in file.schema_arrow.names if not name.startswith("stats/")]
        return file.read(columns=names).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(f"{where}: not a readable table of episodes ({error})") from error
