"""Track ids that two objects exchanged."""

from __future__ import annotations

from typing import Final

import numpy as np

from labeling.qa.labels import LabelSet
from labeling.qa.suspicion import Suspicion
from scene.types import Float64, Int64

_REACH_M: Final = 15.0
_MAX_GAP_S: Final = 1.0
_LEAST_GAIN_M: Final = 0.6  # less is within what boxes jitter
_USUAL_M: Final = 0.3


def find_swaps(labels: LabelSet) -> list[Suspicion]:
    """Return pairs of tracks that go on better with each other's id from some frame on.

    Where each track would be by its motion until then is compared with where either goes on. The
    score is what exchanging the ids back would save in meters, over what boxes usually jitter.
    """
    before = labels.neighbour(-1)
    linked = np.flatnonzero(before >= 0)
    close = labels.time_s[linked] - labels.time_s[before[linked]] <= _MAX_GAP_S
    linked = linked[close]
    ahead = _where_expected(labels, linked, before[linked])
    found = []
    for frame in np.unique(labels.frame[linked]).tolist():
        here = np.flatnonzero(labels.frame[linked] == frame)
        found += _in_frame(labels, linked[here], ahead[here])
    return found


def _where_expected(labels: LabelSet, now: Int64, last: Int64) -> Float64:
    """Return (K, 2) map positions that the motion before `last` leads to at the time of `now`."""
    earlier = labels.neighbour(-1)[last]
    known = (earlier >= 0) & (labels.time_s[last] - labels.time_s[earlier] <= _MAX_GAP_S)
    safe = np.where(known, earlier, last)
    span = labels.time_s[last] - labels.time_s[safe]
    step = labels.center_map_m[last, :2] - labels.center_map_m[safe, :2]
    velocity = np.where(known[:, None], step / np.where(span > 0, span, 1.0)[:, None], 0.0)
    wait = labels.time_s[now] - labels.time_s[last]
    return labels.center_map_m[last, :2] + velocity * wait[:, None]


def _in_frame(labels: LabelSet, now: Int64, ahead: Float64) -> list[Suspicion]:
    place = labels.center_map_m[now, :2]
    far = np.linalg.norm(ahead[:, None] - place[None], axis=2)
    straight = np.diag(far)
    gain = straight[:, None] + straight[None] - far - far.T
    near = np.linalg.norm(place[:, None] - place[None], axis=2) < _REACH_M
    one, two = np.nonzero(np.triu((gain > _LEAST_GAIN_M) & near, 1))
    found, used = [], set()
    for i, j in sorted(zip(one.tolist(), two.tolist(), strict=True), key=lambda p: -gain[p]):
        if {i, j} & used or min(straight[i], straight[j]) < _LEAST_GAIN_M / 2:
            continue
        used |= {i, j}
        found.append(_suspicion(labels, int(now[i]), int(now[j]), float(gain[i, j])))
    return found


def _suspicion(labels: LabelSet, one: int, two: int, gain_m: float) -> Suspicion:
    names = labels.boxes.track_id
    time = int(labels.frame_times_ns[labels.frame[one]])
    reason = (
        f"goes on better as {names[two][:12]}, and that as {names[one][:12]}: saves {gain_m:.1f} m"
    )
    return Suspicion(
        "track",
        gain_m / _USUAL_M,
        time,
        labels.boxes.center_xyz_m[one],
        str(labels.boxes.category[one]),
        str(names[one]),
        reason,
        members=tuple((time, int(labels.row[i])) for i in (one, two)),
    )
