"""Frames for the accuracy runs, packed into one small folder that any machine can train from.

    python -m benchmarks.accuracy_data real --data ../shared/data --out packed-real
    python -m benchmarks.accuracy_data fleet --out packed-fleet

The folder is an ordinary local object store: sweeps in the point codec and one dataset.

Real drives are split by time: the first 70 % of a drive trains, the next half second is left out,
the rest tests. Frames of one drive resemble each other, so such figures are higher than on new
drives; both detectors see the same. Generated drives are split by drive.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa

from scene.box import Boxes
from scene.errors import DataError
from scene.types import Int64
from storage import layout
from storage.boxes import boxes_to_arrow
from storage.local import LocalStore
from storage.manifest import FRAME_SCHEMA, DatasetManifest, assign_splits
from storage.sweeps import SweepFile, write_sweeps

REAL: Final = ("av2_layout/pandaset_002", "kitti_raw/2011_09_26/2011_09_26_drive_0001_sync")
TRAIN_SHARE: Final = 0.7
GAP_S: Final = 0.5
_EVERY: Final = 2  # of a generated drive every other sweep is labelled


def pack(paths: Sequence[Path], out: Path, *, by_time: bool, every: int = 1) -> DatasetManifest:
    """Write the sweeps and labels of recordings into a folder; return their dataset.

    Args:
        paths: labelled recordings.
        out: folder of a local store.
        by_time: split each drive by time; else whole drives are on one side.
        every: of the labelled sweeps, each how manieth becomes a frame.

    Raises:
        DataError: if a recording has no labels.
    """
    from recordings.open import open_recording
    from recordings.prepare import prepare

    store = LocalStore(out)
    rows: list[dict[str, object]] = []
    boxes: list[pa.Table] = []
    parents: list[str] = []
    opened = [prepare(open_recording(path)) for path in paths]
    side = assign_splits([str(o.recording) for o in opened]) if not by_time else {}
    for recording in opened:
        truth = recording.ground_truth
        if not truth:
            raise DataError(f"recording {recording.recording}: no labels; accuracy needs them")
        key = layout.sweeps(recording.recording)
        written = write_sweeps(
            store, key, recording.sweeps(), recording.trajectory, recording.calibration,
            sensor=recording.sensor, motion=recording.motion,
        )  # fmt: skip
        parents.append(written.digest)
        with SweepFile(store, key) as file:
            times = [int(t) for t in file.timestamps_ns if int(t) in truth][::every]
        name = str(recording.recording)
        for time_ns, split in splits_of(times, side.get(name)):
            rows.append(
                {"recording": name, "timestamp_ns": time_ns, "split": split, "sweeps_key": key,
                 "annotator": "data set"}
            )  # fmt: skip
        boxes.append(boxes_to_arrow(name, {t: known(truth[t]) for t in times}))
    manifest = DatasetManifest.build(
        pa.Table.from_pylist(rows, schema=FRAME_SCHEMA),
        pa.concat_tables(boxes),
        "segment" if by_time else "recording",
        parents,
    )
    manifest.save(store)
    store.put("DATASET", manifest.digest.encode())
    return manifest


def splits_of(times_ns: Iterable[int] | Int64, side: str | None) -> list[tuple[int, str]]:
    """Return (time, split) of the frames of one drive; by time where `side` is None.

    Frames within the gap are left out.
    """
    times = sorted(int(t) for t in times_ns)
    if side is not None:
        return [(t, side) for t in times]
    cut = times[0] + (times[-1] - times[0]) * TRAIN_SHARE
    train = [(t, "train") for t in times if t <= cut]
    return train + [(t, "test") for t in times if t > cut + GAP_S * 1e9]


def known(boxes: Boxes) -> Boxes:
    """Return the boxes of a category of the taxonomy."""
    return boxes.take(boxes.category != "")


def open_packed(folder: Path) -> tuple[LocalStore, DatasetManifest]:
    """Return store and dataset of a packed folder.

    Raises:
        NotFoundError: if the folder was not packed.
    """
    store = LocalStore(folder)
    return store, DatasetManifest.load(store, store.get("DATASET").decode())


def main(arguments: Sequence[str] | None = None) -> None:
    """Pack what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy_data", description=__doc__)
    parser.add_argument("what", choices=("real", "fleet"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    if chosen.what == "real":
        manifest = pack([chosen.data / name for name in REAL], chosen.out, by_time=True)
    else:
        from simulation.fleet import FleetConfig, generate_fleet

        drives = generate_fleet(chosen.out / "drives", FleetConfig())
        manifest = pack(drives, chosen.out / "store", by_time=False, every=_EVERY)
    counts = manifest.frames["split"].value_counts().to_pylist()
    print(f"{manifest.digest[:12]}: {counts}, {len(manifest.boxes)} boxes")


if __name__ == "__main__":
    main()
