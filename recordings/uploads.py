"""How the layout of one format is told from the keys of an upload: the types of a rule."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from scene.errors import DataError, StoreError

Stat = tuple[str, int, str]
Read = Callable[[str], bytes]
Cache = MutableMapping[str, tuple[str, Any]]
T = TypeVar("T")

MAX_INDEX_BYTES: Final = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder that a rule has claimed, for its `parts` function.

    Attributes:
        root: key of the folder with a trailing slash; empty for the landing place itself.
        entries: (size in bytes, etag) by key below `root`, members only.
    """

    root: str
    entries: Mapping[str, tuple[int, str]]
    _read: Read | None = None
    _cache: Cache = field(default_factory=dict)

    def index(self, names: Sequence[str], parse: Callable[[Sequence[bytes]], T]) -> T | None:
        """Return what `parse` makes of the contents of some files of the folder.

        The files are read again only when the size or etag of one of them has changed. None if
        there is no way to read, a file is missing, they are too large together, they cannot be
        read, or `parse` raises ValueError, KeyError, TypeError, AttributeError or DataError: the
        folder is then one source, and opening it says what is wrong.

        Args:
            names: keys below `root`.
            parse: gets the contents in the order of the names; what it returns must not change.
        """
        if self._read is None or not names or any(name not in self.entries for name in names):
            return None
        if sum(self.entries[name][0] for name in names) > MAX_INDEX_BYTES:
            return None
        lines = "".join(f"{name}\0{self.entries[name]}\n" for name in names)
        digest = hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
        slot = f"{self.root}\0{parse.__module__}.{parse.__qualname__}"
        known = self._cache.get(slot)
        if known is not None and known[0] == digest:
            return known[1]
        try:
            contents = [self._read(self.root + name) for name in names]
        except (StoreError, OSError):  # may pass: tried again next time
            return None
        try:
            result = parse(contents)
        except (ValueError, KeyError, TypeError, AttributeError, DataError):
            result = None
        self._cache[slot] = (digest, result)
        return result


Parts = Callable[[Folder], Mapping[str, frozenset[str]]]


@dataclass(frozen=True, slots=True)
class Rule:
    """How the folder of one format looks.

    Attributes:
        name: for people.
        root: matches a key that gives the folder away; its group `root` is the folder's key with
            a trailing slash, or empty.
        members: matches, below the root, the objects that the recording depends on.
        needs: a member that must be there as well.
        least: so many keys must match `root`.
        whole: nothing else in the folder is a recording.
        above: objects of the folder above that belong to it too.
        parts: tells the recordings that one folder holds: by name, the members each depends on.
            No parts: the folder is one recording.
    """

    name: str
    root: re.Pattern[str]
    members: re.Pattern[str]
    needs: re.Pattern[str] | None = None
    least: int = 1
    whole: bool = False
    above: re.Pattern[str] | None = None
    parts: Parts | None = None


def by_group(members: re.Pattern[str], needs: re.Pattern[str] | None = None) -> Parts:
    """Return a `parts` function for layouts whose keys name the part.

    Members whose group `part` matched belong to that part, the others to all of them. A part
    without a member that matches `needs` is none.
    """

    def parts(folder: Folder) -> Mapping[str, frozenset[str]]:
        named: dict[str, set[str]] = {}
        shared: set[str] = set()
        for key in folder.entries:
            match = members.fullmatch(key)
            part = match["part"] if match else None
            if part is None:
                shared.add(key)
            else:
                named.setdefault(part, set()).add(key)
        return {
            part: frozenset(keys | shared)
            for part, keys in named.items()
            if needs is None or any(needs.fullmatch(key) for key in keys)
        }

    return parts
