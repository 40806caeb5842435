"""Which uploaded objects make up which recording, told from their keys.

Only where one folder holds many recordings are the format's own index files read as well.
"""

from __future__ import annotations

import hashlib
import re
import sys
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from recordings.datasets import lerobot_parts, nuscenes_scenes
from recordings.uploads import Cache, Folder, Read, Rule, Stat, by_group
from scene.recording import RecordingId

_SIDE_FILES: Final = frozenset(
    {
        "md", "txt", "json", "jsonl", "yaml", "yml", "toml", "xml", "csv", "tsv", "html",
        "log", "pdf", "png", "jpg", "jpeg", "webp", "gif", "svg", "bmp", "tif", "tiff", "mp4",
        "avi", "mkv", "mov", "webm", "feather", "parquet", "arrow", "npy", "npz", "py",
        "ipynb", "sh", "sha256", "md5", "crc", "xosc", "xodr",
    }
)  # fmt: skip
_UNFINISHED: Final = (".part", ".tmp", ".partial", ".crdownload", ".filepart", "~")
_TRACKING: Final = re.compile(
    r"(?:velodyne|label_02|calib|oxts|times|image_0[23])/(?P<part>\d{4})(?:\.txt|/\d{6}\.(?:bin|png))"
)
_CAPTURES: Final = re.compile(r"(?P<part>[^/]+)\.pcap(?:ng)?|[^/]+\.json")
# To let uploads of a further format be found, add its rule here; the first that matches wins. Where
# one folder holds many recordings (episodes, scenes), `parts` tells them from the keys (`by_group`)
# or from the format's own index files (`Folder.index`, see `recordings.datasets.nuscenes_scenes`).
RULES: Final = (
    Rule(
        "Argoverse 2 log",
        root=re.compile(r"(?P<root>(?:.*/)?)sensors/lidar/\d+\.feather"),
        members=re.compile(
            r"sensors/lidar/\d+\.feather|sensors/cameras/[^/]+/\d+\.(?:jpg|png)"
            r"|annotations\.feather|city_SE3_egovehicle\.feather|calibration/[^/]+\.feather"
        ),
        whole=True,
    ),
    Rule(
        "KITTI raw drive",
        root=re.compile(
            r"(?P<root>(?:.*/)?)velodyne_points(?:/data/\d+\.bin|[^/]*\.tar\.(?:xz|gz|bz2))"
        ),
        members=re.compile(
            r"velodyne_points/.*|velodyne_points[^/]*\.tar\.(?:xz|gz|bz2)|oxts/.*|oxts_subset\.csv"
            r"|poses_velodyne\.txt|tracklet_labels\.xml|calib[^/]*\.txt"
            r"|image_0[0-3]/(?:timestamps\.txt|data/\d+\.(?:png|jpg))"
        ),
        whole=True,
        above=re.compile(r"calib_[^/]*\.txt"),
    ),
    lerobot_parts.RULE,
    Rule(
        "KITTI object benchmark",
        root=re.compile(r"(?P<root>(?:.*/)?)velodyne(?:_reduced)?/\d{6}\.bin"),
        members=re.compile(
            r"velodyne(?:_reduced)?/\d{6}\.bin|(?:label_2|calib)/\d{6}\.txt"
            r"|image_[23]/\d{6}\.png"
        ),
        whole=True,
    ),
    Rule(
        "KITTI tracking benchmark",
        root=re.compile(r"(?P<root>(?:.*/)?)velodyne/\d{4}/\d{6}\.bin"),
        members=_TRACKING,
        whole=True,
        parts=by_group(_TRACKING, needs=re.compile(r"velodyne/.*")),
    ),
    Rule(
        "PandaSet sequence",
        root=re.compile(r"(?P<root>(?:.*/)?)lidar/\d+\.pkl(?:\.gz)?"),
        members=re.compile(
            r"lidar/(?:\d+\.pkl(?:\.gz)?|(?:poses|timestamps)\.json)"
            r"|annotations/cuboids/\d+\.pkl(?:\.gz)?|meta/(?:gps|timestamps)\.json"
            r"|camera/[^/]+/(?:\d+\.jpg|(?:poses|timestamps|intrinsics)\.json)"
        ),
        whole=True,
    ),
    Rule(
        "nuScenes data set",
        nuscenes_scenes.ROOT,
        nuscenes_scenes.MEMBERS,
        whole=True,
        parts=nuscenes_scenes.scenes_of,
    ),
    Rule(
        "rosbag2 folder",
        root=re.compile(r"(?P<root>(?:.*/)?)metadata\.yaml"),
        members=re.compile(r"metadata\.yaml|[^/]+\.(?:mcap|db3)(?:\.zstd|-wal)?"),
        needs=re.compile(r"[^/]+\.(?:mcap|db3)(?:\.zstd)?"),
    ),
    Rule(
        "captures with the metadata of an Ouster sensor",
        root=re.compile(r"(?P<root>.*/)[^/]+\.pcap(?:ng)?"),
        members=_CAPTURES,
        needs=re.compile(r"[^/]+\.json"),
        parts=by_group(_CAPTURES, needs=re.compile(r"[^/]+\.pcap(?:ng)?")),
    ),
    Rule(
        "folder of PCD files",
        root=re.compile(r"(?P<root>.*/)[^/]+\.pcd", re.IGNORECASE),
        members=re.compile(r"[^/]+\.pcd|poses\.(?:txt|csv|tum)|boxes\.csv", re.IGNORECASE),
        least=2,
    ),
    Rule(
        "folder of PLY files",
        root=re.compile(r"(?P<root>.*/)[^/]+\.ply", re.IGNORECASE),
        members=re.compile(r"[^/]+\.ply|poses\.(?:txt|csv|tum)|boxes\.csv", re.IGNORECASE),
        least=2,
    ),
    Rule(  # surveys lie side by side in folders; only poses make sweeps of them
        "folder of LAS files with poses",
        root=re.compile(r"(?P<root>.*/)[^/]+\.la[sz]", re.IGNORECASE),
        members=re.compile(r"[^/]+\.la[sz]|poses\.(?:txt|csv|tum)|boxes\.csv", re.IGNORECASE),
        needs=re.compile(r"poses\.(?:txt|csv|tum)", re.IGNORECASE),
        least=2,
    ),
)
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


def group_keys(
    stats: Iterable[Stat], read: Read | None = None, cache: Cache | None = None
) -> list[Source]:
    """Group `(key, size, etag)` into recordings, sorted by name.

    Found are the folders of `RULES` and any other file by itself, unless it is hidden, unfinished
    or of a kind that never is a recording. A file that no reader knows becomes a source on
    purpose: opening it says what is wrong with it.

    Args:
        stats: what lies in the landing place.
        read: returns the content of a key, for formats that list their parts in index files;
            without it such a folder is one source.
        cache: remembers what was read, so that nothing is read twice; kept by the caller.
    """
    entries = {key: (size, etag) for key, size, etag in stats if _finished(key)}
    left = sorted(entries)
    cache = {} if cache is None else cache
    groups: list[_Group] = []
    taken: set[str] = set()
    whole = False  # the landing place itself is the folder of a recording
    for rule in RULES:
        claims = _claims(rule, left)
        for root, members, inside in claims:
            taken.update(inside if rule.whole and root else members)
            whole |= rule.whole and not root
            above = _above(rule, entries, root)
            folder = Folder(root, {key[len(root) :]: entries[key] for key in members}, read, cache)
            parts = (rule.parts(folder) if rule.parts else {}) or {"": frozenset(folder.entries)}
            for part, keys in parts.items():
                groups.append(_Group(root, part, frozenset(root + key for key in keys) | above))
                taken |= above
        if claims:
            left = [key for key in left if key not in taken]
    alone = (key for key in left if _may_be_recording(key) and not (whole and "/" in key))
    groups += [_Group(key, "", frozenset({key})) for key in alone]
    return _named(groups, entries)


class _Group(NamedTuple):
    """Objects of one recording before it has a name."""

    prefix: str
    part: str
    keys: frozenset[str]


def _finished(key: str) -> bool:
    hidden = key.startswith((".", "__MACOSX")) or "/." in key or "/__MACOSX" in key
    return (
        not hidden and not key.endswith("/") and not key.lower().endswith(_UNFINISHED) and bool(key)
    )


def _claims(rule: Rule, keys: list[str]) -> list[tuple[str, list[str], list[str]]]:
    """Return the folders of a layout, their members and all their keys; `keys` are sorted.

    A folder inside another of the same layout is part of it.
    """
    matches = (rule.root.fullmatch(key) for key in keys)
    counts = Counter(match["root"] for match in matches if match)
    claims: list[tuple[str, list[str], list[str]]] = []
    for root in sorted(root for root, count in counts.items() if count >= rule.least):
        if rule.whole and claims and claims[-1][0] and root.startswith(claims[-1][0]):
            continue
        inside = keys[bisect_left(keys, root) : bisect_left(keys, root + chr(sys.maxunicode))]
        members = [key for key in inside if rule.members.fullmatch(key[len(root) :])]
        if rule.needs is None or any(rule.needs.fullmatch(key[len(root) :]) for key in members):
            claims.append((root, members, inside))
    return [claim for claim in claims if claim[1]]


def _above(rule: Rule, entries: Iterable[str], root: str) -> frozenset[str]:
    """Return members that lie in the folder above, such as KITTI's calibration of a day."""
    if rule.above is None or not root:
        return frozenset()
    above = root.rstrip("/").rpartition("/")[0]
    start = f"{above}/" if above else ""
    inside = (key for key in entries if key.startswith(start))
    return frozenset(key for key in inside if rule.above.fullmatch(key[len(start) :]))


def _may_be_recording(key: str) -> bool:
    name = key.rpartition("/")[2]
    if re.fullmatch(r"poses\.tum|LICENSE.*|README.*|SHA256SUMS|MD5SUMS|Makefile", name):
        return False
    return name.rpartition(".")[2].lower() not in _SIDE_FILES


def _named(groups: list[_Group], entries: dict[str, tuple[int, str]]) -> list[Source]:
    names: dict[str, list[_Group]] = defaultdict(list)
    for group in groups:
        names[_name(group.prefix, group.part)].append(group)
    sources = []
    for name, same in names.items():
        for prefix, part, members in same:
            # Two uploads with one name (x.mcap and x.pcd): both get a suffix made from the key.
            unique = name if len(same) == 1 else f"{name}-{_sha(prefix + part)[:8]}"
            keys = tuple(sorted(members))
            lines = "".join(f"{key}\0{entries[key][0]}\0{entries[key][1]}\n" for key in keys)
            sources.append(Source(RecordingId(unique), prefix, keys, _sha(lines + part), part))
    return sorted(sources, key=lambda source: source.name)


def _name(prefix: str, part: str) -> str:
    """Return the id of a key: its path, less the suffix and folders whose name the next repeats."""
    path = prefix.rstrip("/")
    if not prefix.endswith("/"):
        suffix = r"(?<=[^/])\.(mcap|pcd|ply|las|laz|bag|db3|pcap|pcapng)$"
        path = re.sub(suffix, "", path, flags=re.IGNORECASE)
    parts = [part for part in path.split("/") if part]
    kept = [a for a, b in zip(parts, [*parts[1:], ""], strict=False) if not b.startswith(a)]
    text = "_".join([*kept, part] if part else kept)
    if len(text) > _NAME_LENGTH:
        text = f"{text[-_NAME_LENGTH + 9 :]}-{_sha(prefix + part)[:8]}"
    return str(RecordingId.from_text(text))


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
