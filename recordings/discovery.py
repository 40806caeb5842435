"""Which uploaded objects make up which recording, told from their keys alone."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from scene.recording import RecordingId

Stat = tuple[str, int, str]

_SIDE_FILES: Final = frozenset(
    {
        "md", "txt", "json", "jsonl", "yaml", "yml", "toml", "xml", "csv", "tsv", "html",
        "log", "pdf", "png", "jpg", "jpeg", "webp", "gif", "svg", "bmp", "tif", "tiff", "mp4",
        "avi", "mkv", "mov", "webm", "feather", "parquet", "arrow", "npy", "npz", "py",
        "ipynb", "sh", "sha256", "md5", "crc", "xosc", "xodr",
    }
)  # fmt: skip
_UNFINISHED: Final = (".part", ".tmp", ".partial", ".crdownload", ".filepart", "~")
_AV2: Final = re.compile(r"(?P<root>(?:.*/)?)sensors/lidar/\d+\.feather")
_AV2_PARTS: Final = re.compile(
    r"sensors/lidar/\d+\.feather|annotations\.feather|city_SE3_egovehicle\.feather"
    r"|calibration/[^/]+\.feather"
)
_KITTI: Final = re.compile(
    r"(?P<root>(?:.*/)?)velodyne_points(?:/data/\d+\.bin|[^/]*\.tar\.(?:xz|gz|bz2))"
)
_KITTI_PARTS: Final = re.compile(
    r"velodyne_points/.*|velodyne_points[^/]*\.tar\.(?:xz|gz|bz2)|oxts/.*|oxts_subset\.csv"
    r"|poses_velodyne\.txt|tracklet_labels\.xml|calib[^/]*\.txt"
)
_PCD_PARTS: Final = re.compile(r"[^/]+\.pcd|poses\.(?:txt|csv|tum)", re.IGNORECASE)
_BAG_PARTS: Final = re.compile(r"metadata\.yaml|[^/]+\.mcap")
_NAME_LENGTH: Final = 100


@dataclass(frozen=True, slots=True)
class Source:
    """The objects of one recording.

    Attributes:
        name: its id, made from the whole key, so that it stays when other uploads come.
        prefix: the folder with a trailing slash, or the key itself where it is a single file.
        keys: all its objects, sorted. KITTI's calibration may lie one folder above `prefix`.
        digest: sha256 over key, size and etag of each, and the part.
        part: which recording, where the objects hold several, such as an episode or a scene.
    """

    name: RecordingId
    prefix: str
    keys: tuple[str, ...]
    digest: str
    part: str = ""

    @property
    def is_file(self) -> bool:
        """Whether the recording is one file."""
        return self.keys == (self.prefix,)


def group_keys(stats: Iterable[Stat]) -> list[Source]:
    """Group `(key, size, etag)` into recordings, sorted by name.

    Found are Argoverse 2 logs, KITTI raw drives, rosbag2 folders, folders of PCD files, and any
    other file by itself, unless it is hidden, unfinished or of a kind that never is a recording.
    A file that no reader knows becomes a source on purpose: opening it says what is wrong with it.
    """
    entries = {key: (size, etag) for key, size, etag in stats if _finished(key)}
    left = set(entries)
    groups: dict[str, set[str]] = {}
    for pattern, parts in ((_AV2, _AV2_PARTS), (_KITTI, _KITTI_PARTS)):
        for root in sorted(_roots(left, pattern)):
            inside = {key for key in left if key.startswith(root)}
            groups[root] = {key for key in inside if parts.fullmatch(key[len(root) :])}
            left -= inside
            if pattern is _KITTI:
                groups[root] |= _calibration_above(entries, root)
    left -= {key for members in groups.values() for key in members}
    for root, members in _flat_folders(left).items():
        groups[root] = members
        left -= members
    groups.update({key: {key} for key in left if _may_be_recording(key)})
    return _named(groups, entries)


def _finished(key: str) -> bool:
    parts = key.split("/")
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return not hidden and bool(parts[-1]) and not parts[-1].lower().endswith(_UNFINISHED)


def _roots(keys: set[str], pattern: re.Pattern[str]) -> set[str]:
    return {match["root"] for key in keys if (match := pattern.fullmatch(key))}


def _calibration_above(entries: Iterable[str], root: str) -> set[str]:
    """Return KITTI's per-day calibration, which lies in the folder above the drives."""
    above = root.rstrip("/").rpartition("/")[0]
    start = f"{above}/" if above else ""
    wanted = re.compile(re.escape(start) + r"calib_[^/]*\.txt")
    return {key for key in entries if root and wanted.fullmatch(key)}


def _flat_folders(keys: set[str]) -> dict[str, set[str]]:
    """Return rosbag2 folders and folders of several PCD files."""
    folders: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        folder, slash, name = key.rpartition("/")
        folders[folder + slash].add(name)
    groups = {}
    for folder, names in folders.items():
        bags = [name for name in names if name.endswith(".mcap")]
        clouds = [name for name in names if name.lower().endswith(".pcd")]
        if bags and "metadata.yaml" in names:
            groups[folder] = {folder + name for name in names if _BAG_PARTS.fullmatch(name)}
        elif folder and len(clouds) > 1:
            groups[folder] = {folder + name for name in names if _PCD_PARTS.fullmatch(name)}
    return groups


def _may_be_recording(key: str) -> bool:
    name = key.rpartition("/")[2]
    if re.fullmatch(r"poses\.tum|LICENSE.*|README.*|SHA256SUMS|MD5SUMS|Makefile", name):
        return False
    return name.rpartition(".")[2].lower() not in _SIDE_FILES


def _named(groups: dict[str, set[str]], entries: dict[str, tuple[int, str]]) -> list[Source]:
    names: dict[str, list[str]] = defaultdict(list)
    for prefix in groups:
        names[_name(prefix)].append(prefix)
    sources = []
    for name, prefixes in names.items():
        for prefix in prefixes:
            # Two uploads with one name (x.mcap and x.pcd): both get a suffix made from the key.
            unique = name if len(prefixes) == 1 else f"{name}-{_sha(prefix)[:8]}"
            keys = tuple(sorted(groups[prefix]))
            lines = "".join(f"{key}\0{entries[key][0]}\0{entries[key][1]}\n" for key in keys)
            sources.append(Source(RecordingId(unique), prefix, keys, _sha(lines)))
    return sorted(sources, key=lambda source: source.name)


def _name(prefix: str) -> str:
    """Return the id of a key: its path, less the suffix and folders whose name the next repeats."""
    path = prefix.rstrip("/")
    if not prefix.endswith("/"):
        path = re.sub(r"(?<=[^/])\.(mcap|pcd|bag|db3)$", "", path, flags=re.IGNORECASE)
    parts = [part for part in path.split("/") if part]
    kept = [a for a, b in zip(parts, [*parts[1:], ""], strict=True) if not b.startswith(a)]
    text = "_".join(kept)
    if len(text) > _NAME_LENGTH:
        text = f"{text[-_NAME_LENGTH + 9 :]}-{_sha(prefix)[:8]}"
    return str(RecordingId.from_text(text))


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
