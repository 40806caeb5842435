"""Is a recording there already, whole or in part, under whatever name?

Table `fingerprints` holds up to 64 words each (`recordings.rules.fingerprint`). A new one asks
for the rows that have one of its own words: no sweep is read, and nothing of recordings that have
no moment in common. Recordings that have some are kept together when they are held out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from recordings.rules.content_rules import duplicate_findings
from recordings.rules.fingerprint import MIN_SHARED, resemblance
from recordings.rules.rule import Finding
from scene.recording import RecordingId
from scene.types import Int64
from storage import schemas
from storage.tables import Tables


def find_duplicates(
    tables: Tables, recording: RecordingId, words: Sequence[int], size: tuple[int, int]
) -> list[Finding]:
    """Return what is to be said about other usable recordings that hold the same moments.

    Args:
        tables: of the bucket.
        recording: the new one; what it left at an earlier ingest does not count.
        words: its fingerprint.
        size: its number of sweeps and of points.
    """
    if not words:
        return []
    others: dict[str, list[int]] = defaultdict(list)
    for row in tables.read("fingerprints", {"word": words}).to_pylist():
        if row["recording"] != recording:
            others[row["recording"]].append(row["word"])
    shares = resemblance(words, others)
    if not shares:
        return []
    columns = ["recording", "num_sweeps", "num_points"]
    known = tables.read("recordings", {"recording": list(shares)}, columns).to_pylist()
    copies = {
        row["recording"]
        for row in known
        if (row["num_sweeps"], row["num_points"]) == size and shares[row["recording"]] == 1
    }
    return list(duplicate_findings(shares, copies))


def remember_fingerprint(tables: Tables, recording: RecordingId, words: Sequence[int]) -> None:
    """Write the fingerprint of a recording in the place of its earlier one."""
    rows = {"word": list(words), "recording": [recording] * len(words)}
    table = pa.table(rows, schema=schemas.FINGERPRINTS)
    tables.replace("fingerprints", table, {"recording": recording})


def groups_with_shared_moments(tables: Tables, names: Sequence[str]) -> list[list[str]]:
    """Return the recordings that share moments, directly or through others, as sorted groups.

    Args:
        tables: of the bucket.
        names: recordings to look at; those that share with none of them are in no group.
    """
    rows = tables.read("fingerprints")
    place = {name: number for number, name in enumerate(sorted(set(names)))}
    held = [place.get(name, -1) for name in rows["recording"].to_pylist()]
    owner, word = np.array(held, dtype=np.int64), rows["word"].to_numpy()
    pairs = np.unique(np.column_stack([word, owner])[owner >= 0], axis=0)
    links = _links(pairs[:, 0], pairs[:, 1], len(place))
    return _components(sorted(place), links)


def _links(word: Int64, owner: Int64, count: int) -> list[tuple[int, int]]:
    """Return which recordings share enough words; `word` is sorted, no pair comes twice."""
    num_words = np.bincount(owner, minlength=count)
    _, start, size = np.unique(word, return_index=True, return_counts=True)
    shared = np.flatnonzero(size > 1)
    holders: dict[int, list[Int64]] = defaultdict(list)
    for first, length in zip(start[shared].tolist(), size[shared].tolist(), strict=True):
        together = owner[first : first + length]
        for one in together.tolist():
            holders[one].append(together)
    links = []
    for one, others in holders.items():
        times = np.bincount(np.concatenate(others), minlength=count)
        enough = np.minimum(MIN_SHARED, np.minimum(num_words, num_words[one]))
        found = np.flatnonzero((times > 0) & (times >= enough))
        links += [(one, other) for other in found[found > one].tolist()]
    return links


def _components(names: Sequence[str], links: Sequence[tuple[int, int]]) -> list[list[str]]:
    """Return the names that are linked, by group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not links:
        return []
    ends = np.array(links).T
    graph = coo_array((np.ones(len(links)), ends), shape=(len(names), len(names)))
    _, label = connected_components(graph, directed=False)
    groups: dict[int, list[str]] = defaultdict(list)
    for number in sorted({end for link in links for end in link}):
        groups[int(label[number])].append(names[number])
    return list(groups.values())
