"""Is a recording there already, whole or in part, under whatever name?

Table `fingerprints` holds up to 64 words each (`recordings.rules.fingerprint`). A new one asks
for the rows that have one of its own words: no sweep is read, and nothing of recordings that have
no moment in common.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pyarrow as pa

from recordings.rules.content_rules import duplicate_findings
from recordings.rules.fingerprint import resemblance
from recordings.rules.rule import Finding
from scene.recording import RecordingId
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
