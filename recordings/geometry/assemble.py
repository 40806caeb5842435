"""Sweeps from the parts that some drivers publish: a packet or a sector of a revolution at a time.

Whether a recording needs it is told from its first clouds: parts look into different directions one
after the other, while whole revolutions cover all of them and a sensor with a fixed view always the
same. A recording of whole clouds passes through untouched. A new sweep begins where the beam has
gone round once since the first part; the times of the points then count from its first part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from recordings.geometry.point_times import PointTimes, sweep_period_ns
from recordings.geometry.points import RawPoints
from recordings.recording import Damage
from scene.errors import DataError
from scene.types import Float32, Float64

Cloud = tuple[int, Callable[[], RawPoints]]  # stamp in nanoseconds, and how to get the columns
Mode = Literal["auto", "whole", "parts"]

_SECTORS: Final = 72
_LOOKED_AT: Final = 6  # clouds that tell whether they are parts
_WHOLE: Final = 0.75  # share of the sectors that only a whole revolution sees
_SAME_VIEW: Final = 0.25  # share of the first cloud's sectors that no later part sees again
_UNEVEN: Final = 0.3  # how far from each other the steps of a turning beam may be
_OVERLAP: Final = 1.5  # how much wider than its step a part may be
_FEWEST_PARTS: Final = 4
_FEWEST_POINTS: Final = 8
_MAX_SAMPLE: Final = 4096  # points of a cloud whose direction is looked at
_TURN: Final = 2 * np.pi


def assembled(
    clouds: Iterable[Cloud], damage: list[Damage], where: str, mode: Mode = "auto"
) -> Iterator[Cloud]:
    """Yield one cloud a revolution.

    Args:
        clouds: of one sensor, in time order; the columns are in the sensor's frame, z up.
        damage: parts that cannot be read are noted here.
        where: topic or file, for the damage list.
        mode: "whole" and "parts" say what the clouds are, "auto" finds out.
    """
    if mode == "auto":
        mode, clouds = tell_mode(clouds)
    source = iter(clouds)
    if mode == "whole":
        yield from source
        return
    first = list(islice(source, _LOOKED_AT))
    interval_ns = sweep_period_ns(stamp for stamp, _ in first)
    yield from _Assembler(damage, where, interval_ns).run(chain(first, source))


def tell_mode(clouds: Iterable[Cloud]) -> tuple[Mode, Iterator[Cloud]]:
    """Return whether clouds are whole or parts, told by the first ones, and all of them again."""
    source = iter(clouds)
    first: list[Cloud] = []
    views, directions = list[NDArray[np.bool_]](), list[float]()
    for stamp_ns, read in islice(source, _LOOKED_AT):
        raw = _try(read)
        first.append((stamp_ns, read if raw is None else _kept(raw)))
        angles = np.zeros(0) if raw is None else _azimuths(raw.xyz_m)
        if len(angles) >= _FEWEST_POINTS:
            views.append(_view(angles))
            directions.append(_direction(angles))
            if views[-1].mean() >= _WHOLE:
                break
    return "parts" if _are_parts(views, directions) else "whole", chain(first, source)


def _kept(raw: RawPoints) -> Callable[[], RawPoints]:
    return lambda: raw


def _try(read: Callable[[], RawPoints]) -> RawPoints | None:
    """Return the columns, None if they cannot be read: whoever reads them again says so."""
    try:
        return read()
    except DataError:
        return None


def _azimuths(xyz_m: Float32) -> Float64:
    """Return (M,) azimuths of up to 4096 of the real points."""
    sample = xyz_m[:: max(1, len(xyz_m) // _MAX_SAMPLE), :2].astype(np.float64)
    with np.errstate(invalid="ignore"):
        real = np.isfinite(sample).all(axis=1) & (np.abs(sample).max(axis=1) > 1e-3)
    return np.arctan2(sample[real, 1], sample[real, 0])


def _view(azimuth_rad: Float64) -> NDArray[np.bool_]:
    """Return which of 72 sectors of azimuth the points lie in."""
    sector = ((azimuth_rad + np.pi) * (_SECTORS / _TURN)).astype(np.int64)
    view = np.zeros(_SECTORS, dtype=bool)
    view[np.minimum(sector, _SECTORS - 1)] = True
    return view


def _are_parts(views: list[NDArray[np.bool_]], directions: list[float]) -> bool:
    """Return whether clouds look elsewhere one after the other, each as wide as an even step.

    The few points of a radar look elsewhere too, but are strewn.
    """
    if len(views) < _FEWEST_PARTS or any(view.mean() >= _WHOLE for view in views):
        return False
    first = views[0]
    shared = min((first & view).sum() / min(first.sum(), view.sum()) for view in views[1:])
    if shared > _SAME_VIEW:
        return False
    sense, step = _turning(directions)
    steps = np.mod(sense * np.diff(np.array(directions)), _TURN)
    even = np.quantile(np.abs(steps - step), 0.75) < _UNEVEN * step
    width = float(np.median([_width(view) for view in views]))
    return bool(even) and width < _OVERLAP * step + 2 * _TURN / _SECTORS


def _width(view: NDArray[np.bool_]) -> float:
    """Return the angle between the outermost directions of a view: all but its widest gap."""
    seen = np.flatnonzero(view)
    gaps = np.diff(np.append(seen, seen[0] + _SECTORS))
    return float(_SECTORS + 1 - gaps.max()) * _TURN / _SECTORS


def _turning(directions: list[float]) -> tuple[float, float]:
    """Return the sense of rotation, +1 for counter-clockwise or -1, and the usual step."""
    turns = np.diff(np.array(directions))
    left, right = float(np.median(np.mod(turns, _TURN))), float(np.median(np.mod(-turns, _TURN)))
    return (1.0, left) if left <= right else (-1.0, right)


def _direction(angles: Float64) -> float:
    return float(np.angle(np.exp(1j * angles).mean()))


class _Assembler:
    """Gathers parts until the beam has gone round."""

    def __init__(self, damage: list[Damage], where: str, interval_ns: int) -> None:
        self._damage = damage
        self._where = where
        self._interval_ns = interval_ns
        self._times = PointTimes(damage, interval_ns)
        self._parts: list[tuple[int, RawPoints]] = []
        self._direction = 0.0  # of the last part
        self._gone = 0.0  # angle since the first part of the sweep
        self._sense, self._step = 0.0, _TURN  # see `_turning`; 0 while it is not known

    def run(self, clouds: Iterable[Cloud]) -> Iterator[Cloud]:
        """Yield the revolutions."""
        ahead: list[tuple[int, RawPoints, float]] = []
        for stamp_ns, read in clouds:
            raw = self._read(stamp_ns, read)
            if raw is None:
                continue
            angles = _azimuths(raw.xyz_m)
            if not len(angles):
                continue
            ahead.append((stamp_ns, raw, _direction(angles)))
            if not self._sense:
                if len(ahead) < _LOOKED_AT:
                    continue
                self._sense, self._step = _turning([part[2] for part in ahead])
            for part in ahead:
                yield from self._add(*part)
            ahead.clear()
        if not self._sense and len(ahead) > 1:
            self._sense, self._step = _turning([part[2] for part in ahead])
        for part in ahead:
            yield from self._add(*part)
        yield from self._finish()

    def _read(self, stamp_ns: int, read: Callable[[], RawPoints]) -> RawPoints | None:
        try:
            return read()
        except DataError as error:
            self._damage.append(Damage(self._where, str(error), f"part of a sweep at {stamp_ns}"))
            return None

    def _add(self, stamp_ns: int, raw: RawPoints, direction: float) -> Iterator[Cloud]:
        if self._parts:
            step = float(np.mod(self._sense * (direction - self._direction), _TURN))
            self._gone += step - _TURN if step > 0.9 * _TURN else step
            late = self._interval_ns and stamp_ns - self._parts[-1][0] > self._turn_ns()
            if late:
                yield from self._finish()
                self._gone = 0.0
            elif self._gone > _TURN - self._step / 2:
                yield from self._finish()
                self._gone -= _TURN  # the seam stays where it is
        self._direction = direction
        self._parts.append((stamp_ns, raw))

    def _turn_ns(self) -> float:
        """Return how long a revolution takes."""
        return self._interval_ns * _TURN / max(self._step, 1e-3)

    def _finish(self) -> Iterator[Cloud]:
        parts, self._parts = self._parts, []
        if parts:
            yield parts[0][0], _kept(self._merged(parts))

    def _merged(self, parts: list[tuple[int, RawPoints]]) -> RawPoints:
        """Return the parts as one cloud in the order of time, counted from the first part."""
        start_ns = parts[0][0]
        offsets = []
        for stamp_ns, raw in parts:
            found = self._times.offsets_ns(raw.time, stamp_ns, self._where, raw.time_name)
            base = np.zeros(len(raw.xyz_m), np.int64) if found is None else found.astype(np.int64)
            offsets.append(base + (stamp_ns - start_ns))
        time = np.concatenate(offsets)
        clouds = [raw for _, raw in parts]
        merged = RawPoints(
            np.concatenate([np.asarray(raw.xyz_m, dtype=np.float32) for raw in clouds]),
            _joined([raw.intensity for raw in clouds]),
            _joined([raw.ring for raw in clouds]),
            time,
            "offset_ns",
        )
        if (np.diff(time) >= 0).all():
            return merged
        order = np.argsort(time, kind="stable")
        return RawPoints(
            merged.xyz_m[order],
            None if merged.intensity is None else merged.intensity[order],
            None if merged.ring is None else merged.ring[order],
            time[order],
            "offset_ns",
        )


def _joined(columns: list[NDArray[np.generic] | None]) -> NDArray[np.generic] | None:
    """Return a column of all parts, None if one of them lacks it."""
    known = [column for column in columns if column is not None]
    return np.concatenate(known) if len(known) == len(columns) else None
