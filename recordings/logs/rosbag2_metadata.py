"""metadata.yaml of a rosbag2 folder: which files belong to the bag, in which order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from recordings.recording import Damage

METADATA: Final = "metadata.yaml"
_MAX_BYTES: Final = 16 * 2**20
_ROOT: Final = "rosbag2_bagfile_information"


class _Part(NamedTuple):
    """A file that metadata.yaml lists, and what it says of it, empty if nothing."""

    name: str
    content: str


def order_parts(folder: Path, found: Sequence[Path]) -> tuple[list[Path], list[Damage]]:
    """Return the files of a bag in the order of metadata.yaml, and damage for those missing.

    Files that are not listed come last; without a readable metadata.yaml the order is that of the
    names, numbers counted as numbers.

    Args:
        folder: the bag.
        found: its files of the right kind.
    """
    left = sorted(found, key=lambda path: _natural(path.name))
    ordered: list[Path] = []
    damage: list[Damage] = []
    for part in _listed(folder / METADATA):
        names = (part.name, f"{part.name}.zstd", part.name.removesuffix(".zstd"))
        path = next((path for name in names for path in left if path.name == name), None)
        if path is not None:
            ordered.append(path)
            left.remove(path)
        else:
            what = f"{part.name} is listed here and is " + (
                "not a readable bag file" if (folder / part.name).exists() else "not there"
            )
            damage.append(Damage(f"{folder.name}/{METADATA}", what, part.content))
    return ordered + left, damage


def _listed(path: Path) -> list[_Part]:
    """Return the files that metadata.yaml lists; none if it cannot be understood."""
    bag = _load(path)
    about = {}
    for entry in _entries(bag.get("files")):
        about[_base(entry.get("path"))] = _content(entry)
    names = bag.get("relative_file_paths")
    listed = [_base(name) for name in names] if isinstance(names, list) else []
    return [_Part(name, about.get(name, "all its messages")) for name in listed if name]


def _load(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML, YAMLError

    try:
        with path.open("rb") as stream:
            text = stream.read(_MAX_BYTES).decode("utf-8", "replace")
        tree = YAML(typ="safe", pure=True).load(text)
    except (OSError, YAMLError, ValueError, RecursionError):
        return {}
    bag = tree.get(_ROOT, tree) if isinstance(tree, dict) else {}
    return bag if isinstance(bag, dict) else {}


def _entries(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _content(entry: dict[str, Any]) -> str:
    count = entry.get("message_count", "all its")
    start = _number(entry.get("starting_time"), "nanoseconds_since_epoch")
    duration = _number(entry.get("duration"), "nanoseconds")
    span = "" if start is None else f" from {start} to {start + (duration or 0)} ns"
    return f"{count} messages{span}"


def _number(value: Any, name: str) -> int | None:
    number = value.get(name) if isinstance(value, dict) else None
    return number if isinstance(number, int) else None


def _base(name: Any) -> str:
    return str(name).replace("\\", "/").rpartition("/")[2]


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key in which part_10 comes after part_9."""
    return [(int(word) if word.isdigit() else -1, word) for word in re.split(r"([0-9]+)", name)]
