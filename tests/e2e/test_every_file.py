"""Every file of the collection of real recordings is ingested, or refused with the right words.

Run with `-s` to see the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from loop.ingest import ingest_recording
from loop.landing import register, scan
from loop.workspace import Workspace
from recordings.discovery import Source
from storage.open import StoreConfig
from tests.support.shared_data import ROOT, shared_data

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


class Row(NamedTuple):
    """What became of one source; `message` is a pattern in what is expected."""

    format: str
    status: str
    sweeps: int
    points: int
    boxes: int
    codes: str
    message: str = ""


UNUSED = "nothing in it is used: .*no decoder for"
NO_LIDAR = "no lidar: kept are "
AV2 = "argoverse2_sensor_val_7fab2350-7eaf-3b7e-a39d-6937a4c1bede"
NEBULA = "rosbag2_db3_nebula_velodyne"
EXPECTED = {
    AV2: Row("argoverse2", "ok", 2, 198_695, 148, "REC061"),
    "av2_layout_pandaset_002": Row("argoverse2", "ok", 22, 2_332_547, 2051, ""),
    "kitti_object_training": Row("kitti_object", "ok", 1, 17_238, 6, "REC008 REC011"),
    "kitti_raw_2011_09_26_drive_0001_sync": Row("kitti", "ok", 108, 2_229_878, 572, ""),
    "las_autzen_trim": Row("las", "ok", 1, 110_000, 0, "REC007 REC008 REC011"),
    "las_simple-7006677f": Row("las", "ok", 1, 1065, 0, "REC007 REC008 REC011 REC023"),
    "las_simple-ec22ca4d": Row("las", "ok", 1, 1065, 0, "REC007 REC008 REC011 REC023 REC052"),
    "las_simple1_3": Row("las", "ok", 1, 999, 0, "REC007 REC008 REC011"),
    "las_test1_4": Row("las", "ok", 1, 1000, 0, "REC007 REC008"),
    "las_vegetation_1_3": Row("las", "ok", 1, 10_683, 0, "REC007 REC008 REC011"),
    "lerobot_unitree_g1_v2.1_episode_000029": Row(
        "lerobot", "ok", 0, 0, 0, "", NO_LIDAR + "signals observation.state, action; 221 images"
    ),
    "mcap_derived_pandaset_002_front_ros2": Row("mcap", "ok", 8, 226_646, 0, "REC054"),
    "mcap_nav2_turtlebot": Row("mcap", "ok", 0, 0, 0, "", NO_LIDAR + "2616 poses"),
    "mcap_rosbag2_talker": Row("mcap", "quarantined", 0, 0, 0, "REC001", UNUSED),
    "mcap_rosbag2_wbag_split": Row("mcap", "quarantined", 0, 0, 0, "REC001", UNUSED),
    "nuscenes": Row("unknown", "quarantined", 0, 0, 0, "", "nuScenes sensor files without tables"),
    "pcd_cloudini_lidar_xyzi": Row("pcd", "ok", 1, 115_384, 0, "REC007 REC008 REC011 REC013"),
    "pcd_pcl": Row("pcd", "ok", 5, 29_186, 0, "REC007 REC008 REC011 REC014"),
    "rosbag1_derived_pandaset_002_front_ros1": Row("rosbag1", "ok", 8, 226_646, 0, "REC052 REC054"),
    "rosbag1_evo_tf_example": Row("rosbag1", "ok", 0, 0, 0, "", NO_LIDAR + "517 poses"),
    "rosbag1_husky_outdoor_test1": Row(
        "rosbag1", "ok", 0, 0, 0, "", NO_LIDAR + "signals /fix, /imu/data; 3952 poses"
    ),
    "rosbag2_db3_evo_tf_example": Row("rosbag2", "ok", 0, 0, 0, "", NO_LIDAR + "517 poses"),
    f"{NEBULA}_vlp16_1673400471837873222": Row("rosbag2", "ok", 4, 59_414, 0, "REC007 REC060"),
    f"{NEBULA}_vlp16_1673400472138016708": Row(
        "pcd", "ok", 1, 14_831, 0, "REC007 REC008 REC019 REC051"
    ),
    f"{NEBULA}_vlp32_1713492677464078412-0f693501": Row(
        "rosbag2", "ok", 5, 131_305, 0, "REC007 REC060"
    ),
    f"{NEBULA}_vlp32_1713492677464078412-5c0bf96b": Row(
        "pcd", "ok", 1, 26_216, 0, "REC007 REC008 REC014"
    ),
    "rosbag2_db3_rosbag2_talker": Row("rosbag2", "quarantined", 0, 0, 0, "REC001", UNUSED),
    "rosbag2_db3_rosbag2_wbag_split": Row("rosbag2", "quarantined", 0, 0, 0, "REC001", UNUSED),
}
# Foxglove's conformance set: well-formed files that hold no sensor of a vehicle.
CONFORMANCE = Row(
    "mcap", "quarantined", 0, 0, 0, "REC001", f"{UNUSED}|neither points, poses, signals nor images"
)
NO_RECORDING = (
    r"PROVENANCE\.md|SHA256SUMS"
    r"|openscenario/.*"  # scenarios and road maps
    r"|oracles/.*"  # tables that a devkit's own tests use
    r"|mcap_conformance/.*\.json"  # what the files beside them hold
)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Source, Row]]:
    """Ingest everything once, in place."""
    shared_data("PROVENANCE.md")
    found = []
    for source, row in ingest_all(ROOT, tmp_path_factory.mktemp("store")):
        found.append((source, row))
        print(f"| {source.name} | {len(source.keys)} | {' | '.join(map(str, row))} |")
    return found


def ingest_all(data: Path, store: Path) -> Iterator[tuple[Source, Row]]:
    """Ingest all sources below `data` and yield what became of each."""
    workspace = Workspace.open(StoreConfig(store.as_uri()), StoreConfig(data.as_uri()))
    for source in scan(workspace):
        register(workspace, source)
        result = ingest_recording(workspace, source.name)
        boxes = workspace.tables.read("boxes", {"recording": source.name}, ["category"])
        codes = " ".join(sorted({finding.code for finding in result.findings}))
        yield (
            source,
            Row(
                result.format, result.status, result.num_sweeps, result.num_points, len(boxes),
                codes, result.message,
            ),
        )  # fmt: skip


def test_every_source_becomes_what_is_expected(ingested: list[tuple[Source, Row]]) -> None:
    rows = {str(source.name): row for source, row in ingested}
    conformance = {name for name in rows if name.startswith("mcap_conformance_")}
    assert len(conformance) == 55
    assert set(rows) - conformance == set(EXPECTED)
    wrong = {
        name: row for name, row in rows.items() if not fits(row, EXPECTED.get(name, CONFORMANCE))
    }
    assert wrong == {}


def fits(row: Row, expected: Row) -> bool:
    """Return whether a row is as expected; the message is looked for as a pattern."""
    said = re.search(expected.message, row.message) if expected.message else not row.message
    return row[:-1] == expected[:-1] and bool(said)


def test_every_file_belongs_to_a_source_or_is_known_to_be_none(
    ingested: list[tuple[Source, Row]],
) -> None:
    names = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()}
    taken = {key for source, _ in ingested for key in source.keys}
    folders = tuple(source.prefix for source, _ in ingested if source.prefix.endswith("/"))
    left = {name for name in names - taken if not name.startswith(folders)}
    assert {name for name in left if not re.fullmatch(NO_RECORDING, name)} == set()
    assert len(names) > 290
