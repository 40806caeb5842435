"""An issue as a trigger: find more frames that hold what the model misses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from curation import candidates as geometry
from curation.clusters import Clusters
from curation.triggers import Drive, Event
from curation.weakness import Issue
from scene.box import Boxes
from scene.errors import DataError
from scene.taxonomy import CATEGORY
from scene.types import Float64

NEAR_M: Final = 3.0
PREDICTION_MIN_SCORE: Final = 0.3
CLEAR_POINTS: Final = 15
UNKNOWN_NEWNESS: Final = 0.35  # the place was hidden, or no sweep lies a second away
ENCOUNTER_GAP_S: Final = 2.0


def trigger_for(issue: Issue) -> IssueTrigger:
    """Return the trigger that looks for more frames of an issue.

    Raises:
        DataError: if the issue's category is unknown.
    """
    if issue.category not in CATEGORY:
        raise DataError(f"issue {issue.issue_id}: unknown category {issue.category!r}")
    return IssueTrigger(issue)


@dataclass(frozen=True, slots=True)
class IssueTrigger:
    """Fires on sweeps that hold something like the issue's objects which the model did not see.

    A cluster counts if it has the size of the category, lies in the issue's range, has a vehicle
    within 3 m where the issue says so, and no prediction of the champion covers it. For people and
    cyclists it must also have moved (see `candidates.newness`): poles, hydrants, bins and corners
    of parked cars have the right size but stay where they are.

    Attributes:
        issue: the weakness.
        min_score: predictions below it explain nothing.
        min_newness: share of looks at the place, a second away, that must have found it empty.
        min_weight: a cluster weighs its newness (0.5 for categories that may stand still) times
            its points over `CLEAR_POINTS`, at most 1; lighter ones are ignored.
    """

    issue: Issue
    min_score: float = PREDICTION_MIN_SCORE
    min_newness: float = 0.6
    min_weight: float = 0.3

    @property
    def name(self) -> str:
        """`issue:` and the id."""
        return f"issue:{self.issue.issue_id}"

    def fire(
        self,
        drive: Drive,
        predictions: Mapping[int, Boxes] | None = None,
        times_ns: Collection[int] | None = None,
    ) -> list[Event]:
        """Return one event for each sweep that fires; strength is the sum over its clusters.

        Args:
            drive: a recording.
            predictions: boxes of the champion by sweep time, ego frame; none means it saw nothing.
            times_ns: look at these sweeps only; the others still tell what stood where before.
        """
        by_time = drive.clusters.by_time()
        events = []
        for time_ns in drive.sweep_times_ns.tolist():
            if time_ns not in by_time or (times_ns is not None and time_ns not in times_ns):
                continue
            boxes = (predictions or {}).get(time_ns, Boxes.empty())
            chosen, weight = self._candidates(by_time[time_ns], boxes, by_time, drive)
            if len(chosen):
                events.append(self._event(time_ns, chosen, weight))
        return events

    def _candidates(
        self, clusters: Clusters, boxes: Boxes, by_time: dict[int, Clusters], drive: Drive
    ) -> tuple[Clusters, Float64]:
        """Return the clusters of a sweep that fire and their (N,) weights in (0, 1]."""
        issue, away = self.issue, clusters.range_m()
        fits = geometry.fits_category(clusters, issue.category)
        fits &= (away >= issue.range_min_m) & (away < issue.range_max_m)
        chosen = clusters.take(fits)
        chosen = chosen.take(~geometry.explained(chosen, boxes, self.min_score, 0.3))
        if issue.near == "vehicle":
            gap = geometry.near_vehicle(chosen, clusters, boxes, self.min_score)
            chosen = chosen.take(gap <= NEAR_M)
        weight = np.full(len(chosen), 0.5)
        if issue.category in geometry.MOVERS and len(chosen):
            weight = self._movement(chosen, by_time, drive)
        weight = weight * np.minimum(1.0, chosen.num_points / CLEAR_POINTS)
        return chosen.take(weight >= self.min_weight), weight[weight >= self.min_weight]

    def _movement(self, chosen: Clusters, by_time: dict[int, Clusters], drive: Drive) -> Float64:
        """Return (N,) newness of clusters, 0 where it is too small, less than half if unknown."""
        new = geometry.newness(chosen, by_time, drive.trajectory, drive.sweep_times_ns)
        moved = np.where(new >= self.min_newness, new, 0.0)
        return np.where(np.isnan(new), UNKNOWN_NEWNESS, moved)

    def _event(self, time_ns: int, chosen: Clusters, weight: Float64) -> Event:
        """Return the event of one sweep."""
        best = int(np.argmax(weight))
        where = " near a vehicle" if self.issue.near == "vehicle" else ""
        detail = (
            f"{len(chosen)} unexplained {self.issue.category}-sized cluster"
            f"{'s' if len(chosen) > 1 else ''}{where}, clearest {chosen.range_m()[best]:.0f} m away"
            f" with {chosen.num_points[best]} points"
        )
        return Event(self.name, time_ns, time_ns, float(weight.sum()), detail)


def rate_per_hour(events: Mapping[str, Sequence[Event]], driven_s: float) -> float | None:
    """Return how many encounters an hour of driving holds; None if nothing was driven.

    Firings of one recording no more than 2 s apart are one encounter.

    Args:
        events: of one issue's trigger, by recording.
        driven_s: length of all recordings that were searched, those without events included.
    """
    if driven_s <= 0:
        return None
    count = 0
    for of_recording in events.values():
        starts = np.sort(np.array([event.start_ns for event in of_recording], dtype=np.int64))
        if len(starts):
            count += 1 + int((np.diff(starts) > ENCOUNTER_GAP_S * 1e9).sum())
    return count * 3600.0 / driven_s
