"""Datasets: immutable lists of labelled frames with splits, named by a digest of their content."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scene.box import Boxes
from scene.errors import DataError, FormatError
from storage import layout
from storage.boxes import BOX_SCHEMA, arrow_to_boxes

if TYPE_CHECKING:
    from storage.store import ObjectStore

SPLITS: Final = ("train", "test", "sim")
FRAME_SCHEMA: Final = pa.schema(
    [
        pa.field("recording", pa.string(), nullable=False),
        pa.field("timestamp_ns", pa.int64(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("sweeps_key", pa.string(), nullable=False),
        pa.field("annotator", pa.string(), nullable=False),
    ]
)
_FRAME_KEY: Final = ["recording", "timestamp_ns"]


@dataclass(frozen=True)
class DatasetManifest:
    """One version of the training data; make it with `build`.

    Attributes:
        digest: sha256 (hex) of everything below; the same content has the same digest.
        frames: FRAME_SCHEMA, one row a frame, sorted; `split` is train, test or sim.
        boxes: BOX_SCHEMA, all boxes of those frames. A frame without rows is labelled empty.
        split_unit: "recording" when no recording is in both train and test; "segment" when one
            recording had to be cut into stretches of time, which makes test figures optimistic.
        parents: digests of the sweeps and annotations it was made from, sorted.
    """

    digest: str
    frames: pa.Table
    boxes: pa.Table
    split_unit: str
    parents: tuple[str, ...]

    @classmethod
    def build(
        cls, frames: pa.Table, boxes: pa.Table, split_unit: str, parents: Sequence[str]
    ) -> DatasetManifest:
        """Sort, check and name a dataset. Rows of `boxes` of other frames are left out.

        Args:
            frames: the columns of FRAME_SCHEMA in any row order.
            boxes: the columns of BOX_SCHEMA (more are ignored), in any row order.
            split_unit: "recording" or "segment".
            parents: digests of what it was made from.

        Raises:
            DataError: if a frame is listed twice, a split is unknown, a column is missing, or a
                recording is in both train and test although the split unit is the recording.
        """
        frames = _conform(frames, FRAME_SCHEMA, "frames").sort_by(
            [(name, "ascending") for name in _FRAME_KEY]
        )
        _check_frames(frames, split_unit)
        boxes = _conform(boxes, BOX_SCHEMA, "boxes").join(
            frames.select(_FRAME_KEY), keys=_FRAME_KEY, join_type="left semi"
        )
        boxes = boxes.sort_by([(name, "ascending") for name in BOX_SCHEMA.names])
        boxes = boxes.combine_chunks().cast(BOX_SCHEMA)
        unique = tuple(sorted(set(parents)))
        return cls(_digest(frames, boxes, split_unit, unique), frames, boxes, split_unit, unique)

    def of_split(self, split: str) -> Iterator[tuple[str, str, int, Boxes]]:
        """Yield `(sweeps_key, recording, timestamp_ns, boxes)` of a split in order.

        Raises:
            DataError: if the split is not train, test or sim.
        """
        if split not in SPLITS:
            raise DataError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
        rows = self.frames.filter(pc.field("split") == split)
        names = rows.column("recording").to_pylist()
        boxes = {name: self._boxes_of(name) for name in dict.fromkeys(names)}
        keys, times = rows.column("sweeps_key").to_pylist(), rows.column("timestamp_ns").to_pylist()
        for key, name, time_ns in zip(keys, names, times, strict=True):
            yield key, name, time_ns, boxes[name].get(time_ns, Boxes.empty())

    def num_frames(self, split: str) -> int:
        """Return how many frames a split has."""
        return self.frames.filter(pc.field("split") == split).num_rows

    def save(self, store: ObjectStore) -> None:
        """Write the dataset; `manifest.json` comes last and marks it complete."""
        for name, table in (("frames", self.frames), ("boxes", self.boxes)):
            buffer = io.BytesIO()
            pq.write_table(table, buffer, compression="zstd")
            store.put(layout.dataset(self.digest, f"{name}.parquet"), buffer.getvalue())
        manifest = {
            "version": 1,
            "digest": self.digest,
            "split_unit": self.split_unit,
            "parents": list(self.parents),
            "num_frames": {split: self.num_frames(split) for split in SPLITS},
            "num_boxes": self.boxes.num_rows,
        }
        text = json.dumps(manifest, indent=1, sort_keys=True)
        store.put(layout.dataset(self.digest, "manifest.json"), text.encode())

    @classmethod
    def load(cls, store: ObjectStore, digest: str) -> DatasetManifest:
        """Read a dataset and check it against its name.

        Raises:
            NotFoundError: if there is no complete dataset of that digest.
            FormatError: if its content is not what was saved.
        """
        where = layout.dataset(digest, "manifest.json")
        text = store.get(where)
        try:
            manifest = json.loads(text)
            frames, boxes = (
                pq.read_table(pa.BufferReader(store.get(layout.dataset(digest, name))))
                for name in ("frames.parquet", "boxes.parquet")
            )
            found = cls.build(frames, boxes, manifest["split_unit"], manifest["parents"])
        except (ValueError, KeyError, pa.ArrowException, OSError, DataError) as error:
            raise FormatError(f"{where}: damaged dataset ({error!r})") from error
        if found.digest != digest:
            raise FormatError(f"{where}: content has digest {found.digest}; files were changed")
        return found

    def _boxes_of(self, recording: str) -> dict[int, Boxes]:
        rows = self.boxes.filter(pc.field("recording") == recording)
        return arrow_to_boxes(rows) if rows.num_rows else {}


def assign_splits(
    recordings: Sequence[str],
    test_share: float = 0.34,
    groups: Sequence[Sequence[str]] = (),
) -> dict[str, str]:
    """Return `train` or `test` for each recording, decided by a hash of its name.

    A recording keeps its split when others are added, unless it was moved to give each split at
    least one recording: the lowest hash is always test and the highest always train (when there
    are two or more). Recordings of a group count as one, with their highest hash: a newcomer that
    joins a group can move it to train, never to test.

    Args:
        recordings: names.
        test_share: share of the recordings that is held out, roughly.
        groups: names that must be on one side; no name is in two groups.

    Raises:
        DataError: if the share is not between 0 and 1.
    """
    if not 0.0 < test_share < 1.0:
        raise DataError(f"test_share {test_share}: expected a number between 0 and 1")
    members: dict[str, tuple[str, ...]] = {name: (name,) for name in recordings}
    for group in groups:
        known = tuple(sorted(name for name in group if name in members))
        members.update(dict.fromkeys(known, known))
    place = {unit: max((_hash(name), name) for name in unit) for unit in set(members.values())}
    side = {unit: "test" if at[0] < test_share else "train" for unit, at in place.items()}
    if len(place) > 1:
        side[min(place, key=lambda unit: place[unit])] = "test"
        side[max(place, key=lambda unit: place[unit])] = "train"
    else:
        side = dict.fromkeys(side, "train")
    return {name: side[members[name]] for name in sorted(members)}


def _hash(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2.0**64


def _conform(table: pa.Table, schema: pa.Schema, what: str) -> pa.Table:
    """Return the columns of the schema, in one chunk."""
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise DataError(f"dataset {what}: missing columns {', '.join(missing)}")
    try:
        return table.select(schema.names).cast(schema).combine_chunks()
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"dataset {what}: {error}") from error


def _check_frames(frames: pa.Table, split_unit: str) -> None:
    """Refuse frames that are listed twice, unknown splits and recordings on both sides."""
    if split_unit not in {"recording", "segment"}:
        raise DataError(f"split unit {split_unit!r}: expected 'recording' or 'segment'")
    counts = frames.group_by(_FRAME_KEY).aggregate([([], "count_all")])
    twice = counts.filter(pc.field("count_all") > 1)
    if twice.num_rows:
        first = twice.slice(0, 1).to_pylist()[0]
        raise DataError(
            f"dataset: frame {first['recording']}@{first['timestamp_ns']} is listed twice"
        )
    pairs = set(
        zip(frames.column("recording").to_pylist(), frames.column("split").to_pylist(), strict=True)
    )
    unknown = {split for _, split in pairs} - set(SPLITS)
    if unknown:
        raise DataError(f"dataset: split {min(unknown)!r}: expected one of {', '.join(SPLITS)}")
    both = {name for name, split in pairs if split == "train"} & {
        name for name, split in pairs if split == "test"
    }
    if both and split_unit == "recording":
        raise DataError(f"dataset: recording {min(both)} is in both train and test")


def _digest(frames: pa.Table, boxes: pa.Table, split_unit: str, parents: tuple[str, ...]) -> str:
    """Return a digest of values, not of file bytes: it outlives changes of the file format."""
    state = hashlib.sha256(json.dumps(["starloop-dataset-1", split_unit, *parents]).encode())
    for table in (frames, boxes):
        for name, column in zip(table.column_names, table.columns, strict=True):
            state.update(f"{name}:{len(column)}:".encode())
            if pa.types.is_string(column.type):
                state.update(json.dumps(column.to_pylist()).encode())
                continue
            state.update(np.packbits(column.is_null().to_numpy()).tobytes())
            values = column.fill_null(0).to_numpy()
            state.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
    return state.hexdigest()
