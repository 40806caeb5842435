"""A long recording in a process of its own: bounded memory, and a SIGKILL in the middle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.big import run
from benchmarks.drive import write_drive

pytestmark = pytest.mark.integration

SWEEPS = 60
PART_POINTS = 1_000_000
SWEEPS_A_PART = 10  # of about 110,000 points


def test_a_killed_ingest_goes_on_and_leaves_nothing_behind(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    (whole / "landing").mkdir(parents=True)
    write_drive(whole / "landing" / "long.mcap", SWEEPS, scans=3)
    (killed / "landing").mkdir(parents=True)
    os.link(whole / "landing" / "long.mcap", killed / "landing" / "long.mcap")
    calm = run(whole, 2, part_points=PART_POINTS)
    assert calm["status"] == "ok "
    assert calm["decoded"] == calm["sweeps"] == SWEEPS
    assert calm["rss_mb"] < 1000  # imports take 350, the clouds kept for the second walk 256

    parts = killed / "store" / "parts"

    def two_are_there() -> bool:
        return len(list(parts.rglob("*.arrow"))) >= 2

    run(killed, 2, two_are_there, part_points=PART_POINTS)
    done = len(list(parts.rglob("*.arrow")))
    assert 2 <= done < SWEEPS // SWEEPS_A_PART
    again = run(killed, 2, part_points=PART_POINTS)
    assert again["digest"] == calm["digest"]
    assert again["decoded"] <= SWEEPS - done * (SWEEPS_A_PART - 1)
    assert not list(parts.rglob("*.arrow"))
