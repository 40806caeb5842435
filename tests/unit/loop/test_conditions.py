"""What is known of a frame: place, time of day, source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from loop.conditions import conditions_of, time_of_day
from loop.workspace import Workspace
from scene.recording import RecordingId
from scene.signal import Signal
from storage import schemas
from storage.signals import write_signals
from tests.support.workspaces import make_workspace

NOON_NS = 1_772_452_800_000_000_000  # 2026-03-02 12:00 UTC
SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("time_ns", "longitude_deg", "text"),
    [
        (NOON_NS, float("nan"), "12-18 h UTC"),
        (NOON_NS - 1, float("nan"), "06-12 h UTC"),
        (NOON_NS, 139.7, "18-24 h by the sun"),  # Tokyo: 21 h
        (NOON_NS, -122.4, "00-06 h by the sun"),  # San Francisco: 4 h
        (NOON_NS, -180.0, "00-06 h by the sun"),
        (5 * SECOND, float("nan"), ""),  # seconds since the start of a drive
        (-NOON_NS, 10.0, ""),
        (2**63 - 1, float("nan"), "18-24 h UTC"),
    ],
)
def test_time_of_day(time_ns: int, longitude_deg: float, text: str) -> None:
    assert time_of_day(time_ns, longitude_deg) == text


def enter(
    workspace: Workspace, name: str, times: list[int], xy_m: list[tuple[float, float]]
) -> None:
    row = {"recording": name, "format": "ROS 2 MCAP", "sensor": "lidar_top"}
    workspace.tables.replace(
        "recordings", pa.Table.from_pylist([row], schema=schemas.RECORDINGS), {"recording": name}
    )
    rows = [
        {"recording": name, "timestamp_ns": t, "x_m": x, "y_m": y}
        for t, (x, y) in zip(times, xy_m, strict=True)
    ]
    workspace.tables.replace(
        "frames", pa.Table.from_pylist(rows, schema=schemas.FRAMES), {"recording": name}
    )


def test_place_is_a_tile_of_the_map_where_there_are_no_satellites(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    times = [NOON_NS + i * SECOND for i in range(3)]
    enter(workspace, "drive", times, [(0.0, 0.0), (150.0, -10.0), (450.0, 20.0)])
    common = {"source": "ROS 2 MCAP, lidar_top", "time of day": "12-18 h UTC"}
    assert conditions_of(workspace, "drive", [times[2], times[1]]) == [
        common | {"place": "drive tile 2,0"}, common | {"place": "drive tile 0,-1"},
    ]  # fmt: skip


def test_who_never_moved_has_no_place(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    enter(workspace, "still", [SECOND, 2 * SECOND], [(0.0, 0.0), (0.0, 0.0)])
    assert conditions_of(workspace, "still", [SECOND]) == [{"source": "ROS 2 MCAP, lidar_top"}]
    assert conditions_of(workspace, "nobody", [SECOND]) == [{}]


def test_satellites_say_the_place_and_the_sun(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    times = [NOON_NS + i * 20 * SECOND for i in range(3)]
    enter(workspace, "drive", times, [(0.0, 0.0), (5.0, 0.0), (9.0, 0.0)])
    fixes = np.array([[0.0, 0.0, 0.0], [49.0123, 8.4378, 1.0], [49.0199, 8.4401, 1.0]])
    clock = np.array([times[0], times[0] + SECOND, times[1] + SECOND], dtype=np.int64)
    fields = ("latitude_deg", "longitude_deg", "status")
    gnss = Signal("gps", "gnss", "gps", fields, clock, fixes)
    write_signals(workspace.store, RecordingId("drive"), [gnss])
    known = conditions_of(workspace, "drive", times)
    assert [facts["place"] for facts in known] == [
        "49.01°, 8.43°", "49.01°, 8.44°", "drive tile 0,0",  # no fix within 5 s of the last
    ]  # fmt: skip
    assert known[0]["time of day"] == "12-18 h by the sun"
