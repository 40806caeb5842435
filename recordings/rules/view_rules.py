"""Rules about the lidar's view: what it should see and does not, or sees wherever it goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from recordings.recording import ASSUMED_POSES
from recordings.rules import sweep_kernels
from recordings.rules.rule import Facts, Finding, Rule
from recordings.rules.sweep_look import SweepLook
from scene.types import Float64, Int64, Mask

BLIND_SECTOR: Final = Rule(
    "REC028", "warning", "a sector of the lidar's view is empty",
    "something covers the lidar, or the driver cuts an angle off: check the mount and its settings",
)  # fmt: skip
DEAD_BEAM: Final = Rule(
    "REC029", "warning", "beams of the lidar are dead",
    "have the lidar repaired; until then leave the beam out so that a model does not learn the gap",
)  # fmt: skip
FIXED: Final = Rule(
    "REC030", "warning", "points that stay although the vehicle moves",
    "dirt on the window, a mirror or a part of the vehicle: clean it, or crop these points",
)  # fmt: skip
RULES: Final = (BLIND_SECTOR, DEAD_BEAM, FIXED)

_MIN_SAMPLES: Final = 4
_MIN_POINTS: Final = 2000
# Sectors are 5 degrees. A gap of 10 to 60 degrees in an otherwise round view is a fault; a wider
# one is how the sensor was made (KITTI's camera view leaves 270 degrees empty, and is no fault).
_BLIND_SECTORS: Final = (2, 12)
_MAX_BLIND: Final = 24
_BLIND_SHARE: Final = 0.9
# A tenth of the numbers missing is a fault; more is a way of numbering (every second channel).
_DEAD_SHARE: Final = 0.1
_MIN_RING_POINTS: Final = 20
# Real and simulated drives: no cell of 0.1 m stays occupied over ten places 2 m apart, not even
# along walls.
_MOVED_M: Final = 2.0
_MIN_PLACES: Final = 10
_MAX_PLACES: Final = 60
_FIXED_SHARE: Final = 0.9
_MIN_FIXED_CELLS: Final = 20
_CELL_M: Final = 0.1
_GRID: Final = (80, 80, 40)
_LOW_M: Final = 0.4


class ViewRules:
    """Watches by azimuth, by beam and by place around the vehicle."""

    def __init__(self, facts: Facts) -> None:
        mounting = facts.calibration.ego_SE3_sensor.get(facts.sensor)
        self._origin_m = np.zeros(3) if mounting is None else mounting.translation_m
        self._moving = ASSUMED_POSES not in facts.calibration.assumed
        self._samples = 0
        self._blind = np.zeros(sweep_kernels.NUM_SECTORS, dtype=np.int64)
        self._rings = [np.zeros(0, dtype=np.int64)] * 2  # first and last sample that saw each
        self._ring_points = np.zeros(0, dtype=np.int64)
        self._place_m: Float64 | None = None
        self._places = 0
        self._cells: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, look: SweepLook) -> None:
        """Look at one sweep."""
        if not look.sampled or look.num_points < _MIN_POINTS:
            return
        self._samples += 1
        self._blind += look.profile.count == 0
        if look.sweep.ring is not None:
            self._count_rings(np.bincount(look.sweep.ring))
        if self._has_moved(look):
            self._mark(look)

    def finish(self) -> Iterator[Finding]:
        """Give what was found."""
        if self._samples >= _MIN_SAMPLES:
            yield from self._about_sectors()
            yield from self._about_rings()
        if self._cells is not None and self._places >= _MIN_PLACES:
            fixed = int((self._cells[1] >= _FIXED_SHARE * self._places).sum())
            if fixed >= _MIN_FIXED_CELLS:
                yield FIXED.found(
                    f"{fixed} cells of {_CELL_M} m around the lidar hold points at {self._places} "
                    f"places, each {_MOVED_M:.0f} m from the last",
                    fixed,
                )

    def _count_rings(self, count: Int64) -> None:
        if len(count) > len(self._ring_points):
            grow = (0, len(count) - len(self._ring_points))
            self._ring_points = np.pad(self._ring_points, grow)
            self._rings = [np.pad(seen, grow) for seen in self._rings]
        there = np.flatnonzero(count)
        self._ring_points[: len(count)] += count
        self._rings[0][there[self._rings[0][there] == 0]] = self._samples
        self._rings[1][there] = self._samples

    def _has_moved(self, look: SweepLook) -> bool:
        if not self._moving or self._places >= _MAX_PLACES or look.map_SE3_ego is None:
            return False
        place_m = look.map_SE3_ego.translation_m
        if self._place_m is not None and np.linalg.norm(place_m - self._place_m) < _MOVED_M:
            return False
        self._place_m = place_m
        return True

    def _mark(self, look: SweepLook) -> None:
        if self._cells is None:
            self._cells = (np.zeros(_GRID, dtype=np.uint8), np.zeros(_GRID, dtype=np.uint8))
        self._places += 1
        sweep_kernels.mark_cells(
            look.sweep.points_ego_m, self._origin_m, _LOW_M, _CELL_M, self._places, *self._cells
        )

    def _about_sectors(self) -> Iterator[Finding]:
        blind = self._blind >= _BLIND_SHARE * self._samples
        gaps = [gap for gap in _runs(blind) if _BLIND_SECTORS[0] <= len(gap) <= _BLIND_SECTORS[1]]
        if not gaps or blind.sum() > _MAX_BLIND:
            return
        largest = max(gaps, key=len)
        begin, end = (_azimuth_deg(edge, len(blind)) for edge in (largest[0], largest[-1] + 1))
        width = (end - begin) % 360
        yield BLIND_SECTOR.found(
            f"{width:.0f} degrees around azimuth {(begin + width / 2 + 180) % 360 - 180:.0f} "
            f"have no point in {self._samples} sweeps",
            len(gaps),
        )

    def _about_rings(self) -> Iterator[Finding]:
        seen = np.flatnonzero(self._ring_points)
        if len(seen) < 8:
            return
        size = int(seen[-1]) + 1
        points, first, last = self._ring_points[:size], self._rings[0][:size], self._rings[1][:size]
        alive = points > 0
        never = ~alive
        # Died on the way: not seen in the later half, though it was in every sweep before.
        stopped = alive & (last <= self._samples / 2) & (first <= 1)
        stopped &= points >= _MIN_RING_POINTS * np.maximum(last, 1)
        dead = np.flatnonzero(never | stopped)
        if len(dead) and never.sum() <= _DEAD_SHARE * size:
            names = ", ".join(map(str, dead[:8])) + (" …" if len(dead) > 8 else "")
            yield DEAD_BEAM.found(
                f"no point of {len(dead)} of {size} beams (ring {names}), "
                f"{int(stopped.sum())} of them stopped on the way",
                len(dead),
            )


def _azimuth_deg(edge: int, sectors: int) -> float:
    """Return the azimuth at which a sector begins; see `sweep_kernels.profile`."""
    turn = 4 * (edge % sectors) / sectors
    x = turn - 1 if turn < 2 else 3 - turn
    y = (abs(x) - 1) if turn < 2 else 1 - abs(x)
    return float(np.rad2deg(np.arctan2(y, x)))


def _runs(flags: Mask) -> list[list[int]]:
    """Return the indices of each run of True in a ring; none if all are True."""
    if flags.all():
        return []
    size = len(flags)
    start = int(np.argmin(flags))  # a False to begin behind
    runs: list[list[int]] = []
    for index in range(start, start + size):
        if not flags[index % size]:
            runs.append([])
        elif runs:
            runs[-1].append(index)
    return [run for run in runs if run]
