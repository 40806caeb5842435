"""Which files belong to which scene of a nuScenes upload, told without its larger tables."""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from recordings.uploads import Folder

MEMBERS: Final = re.compile(r"[^/]+/[a-z_]+\.json|(?:samples|sweeps)/[^/]+/[^/]+")
ROOT: Final = re.compile(
    r"(?P<root>(?:.*/)?)(?:[^/]+/(?:sample_data|sample_annotation|calibrated_sensor)\.json"
    r"|(?:samples|sweeps)/LIDAR_[^/]+/[^/]+\.bin)"
)
# <logfile>__<channel>__<timestamp in microseconds>.<kind>
_SENSOR_FILE: Final = re.compile(r"(?:samples|sweeps)/[^/]+/(?P<log>.+)__[^/]+__(?P<time>\d+)\..*")
# The sweeps before the first and after the last keyframe, which come every 0.5 s.
_SPAN_US: Final = 600_000


class _Scene(NamedTuple):
    """What the index says of one scene: its log file and the times of its keyframes."""

    name: str
    log: str
    first_us: int
    last_us: int


def scenes_of(folder: Folder) -> Mapping[str, frozenset[str]]:
    """Return the members that each scene depends on: all tables, and its own sensor files.

    A scene none of whose lidar files were uploaded is left out, as most of a data set is that was
    downloaded in part. Files whose names do not follow the pattern of nuScenes belong to every
    scene of their folder.
    """
    tables = frozenset(key for key in folder.entries if key.endswith(".json"))
    versions = sorted({key.partition("/")[0] for key in tables if key.endswith("/scene.json")})
    files, loose = _sensor_files(folder)
    found: dict[str, frozenset[str]] = {}
    for version in versions:
        names = [f"{version}/{name}.json" for name in ("scene", "log", "sample")]
        if f"{version}/log.json" not in folder.entries:
            return {}
        for scene in folder.index(names, _read_scenes) or ():
            own = _between(files.get(scene.log, []), scene) | loose
            if any("/LIDAR_" in key for key in own):
                mine = {key for key in tables if key.startswith(f"{version}/")}
                found[scene.name] = frozenset(own | mine)
    return found


def _sensor_files(folder: Folder) -> tuple[dict[str, list[tuple[int, str]]], set[str]]:
    """Return the files of each log with their times, sorted, and files of no known log."""
    files: dict[str, list[tuple[int, str]]] = defaultdict(list)
    loose: set[str] = set()
    for key in folder.entries:
        match = _SENSOR_FILE.fullmatch(key)
        if match:
            files[match["log"]].append((int(match["time"]), key))
        elif key.startswith(("samples/", "sweeps/")):
            loose.add(key)
    for of_log in files.values():
        of_log.sort()
    return files, loose


def _between(files: list[tuple[int, str]], scene: _Scene) -> set[str]:
    start = bisect_left(files, (scene.first_us - _SPAN_US, ""))
    end = bisect_right(files, (scene.last_us + _SPAN_US, "\U0010ffff"))
    return {key for _, key in files[start:end]}


def _read_scenes(contents: Sequence[bytes]) -> list[_Scene]:
    """Return the scenes that the tables scene, log and sample tell of."""
    scenes, logs, samples = (json.loads(content) for content in contents)
    log_file = {log["token"]: str(log["logfile"]) for log in logs}
    times: dict[str, list[int]] = defaultdict(list)
    for sample in samples:
        times[sample["scene_token"]].append(int(sample["timestamp"]))
    return [
        _Scene(
            str(scene["name"]),
            log_file.get(scene["log_token"], ""),
            min(times[scene["token"]]),
            max(times[scene["token"]]),
        )
        for scene in scenes
        if times[scene["token"]]
    ]
