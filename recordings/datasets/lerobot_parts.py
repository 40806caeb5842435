"""Which objects of an uploaded LeRobot data set make up which episode."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from recordings.datasets.lerobot_meta import INFO, DataSet, part_name
from recordings.uploads import Folder, Rule, by_group

_EPISODE: Final = re.compile(r"(?:data|videos|images)/.*?(?P<part>episode_\d+)(?:\.\w+|/.*)")
_TABLES: Final = re.compile(r"meta/episodes/.*\.parquet")


def _parts(folder: Folder) -> Mapping[str, frozenset[str]]:
    """Return the objects by episode: from the keys in v2, from the list of episodes in v3."""
    if any(_EPISODE.fullmatch(key) for key in folder.entries):
        return by_group(_EPISODE)(folder)
    tables = sorted(key for key in folder.entries if _TABLES.fullmatch(key))
    needed = folder.index([INFO, *tables], _files_of_episodes) if tables else None
    shared = {key for key in folder.entries if key.startswith("meta/")}
    return {
        part: frozenset(shared | {key for key in files if key in folder.entries})
        for part, files in (needed or {}).items()
        if files[0] in folder.entries
    }


def _files_of_episodes(contents: Sequence[bytes]) -> dict[str, list[str]]:
    """Return the files of each episode, the one of its data first."""
    tables = [(f"meta/episodes, file {i}", content) for i, content in enumerate(contents[1:])]
    data = DataSet("data set", contents[0], None, tables)
    return {
        part_name(index): [episode.data, *(uri for uri, _ in episode.videos.values())]
        for index, episode in sorted(data.episodes.items())
    }


RULE: Final = Rule(
    "LeRobot data set",
    root=re.compile(r"(?P<root>(?:.*/)?)meta/info\.json"),
    members=re.compile(
        r"meta/(?:info\.json|episodes\.jsonl|tasks\.(?:jsonl|parquet)|episodes/.*\.parquet)"
        r"|data/.*\.parquet|videos/.*\.mp4|images/.*\.(?:png|jpe?g)"
    ),
    needs=re.compile(r"data/.*\.parquet"),
    whole=True,
    parts=_parts,
)
