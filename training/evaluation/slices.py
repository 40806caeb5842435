"""Where is the model weak? AP of parts of the data that a person can name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from scene.taxonomy import CATEGORY, VEHICLES
from scene.types import Int64, Mask
from training.evaluation.matching import (
    EvalFrame,
    Matches,
    Pool,
    Region,
    match_category,
    pool_frames,
)
from training.evaluation.metrics import RANGE_BINS_M
from training.evaluation.resampling import group_weights, interval
from training.evaluation.scoring import Chosen, ap_samples, choose_frames, choose_range

NEAR_M: Final = 3.0
NEAR_CATEGORIES: Final[tuple[str, ...]] = ("pedestrian", "bicycle", "motorcycle")


def score_slices(
    frames: Sequence[EvalFrame],
    categories: Sequence[str],
    *,
    region: Region | None = None,
    resamples: int = 400,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the AP of every slice.

    Slices are each category in each range bin, and each vulnerable category `near vehicle`: the
    frames in which one of its truth boxes has its centre within 3 m of the outline of a vehicle.

    Returns:
        One dict a slice: name, category, range_min_m, range_max_m, near ("" or "vehicle"), ap,
        ap_low, ap_high (NaN without truth, or without two groups that hold truth), num_boxes,
        num_frames (frames that hold truth of the slice).

    Raises:
        ConfigError, DataError: as `evaluate`.
    """
    pool = pool_frames(frames, categories, region)
    weights = group_weights(pool.groups, resamples, seed)
    result = []
    for category in categories:
        matches = match_category(pool, category)
        limit_m = CATEGORY[category].max_range_m
        for low, high in RANGE_BINS_M:
            if low < limit_m:
                bounds = (low, min(high, limit_m))
                chosen = choose_range(matches, *bounds)
                name = f"{category} {bounds[0]:.0f}-{bounds[1]:.0f} m"
                result.append(_row(name, bounds, "", matches, chosen, weights, pool))
        if category in NEAR_CATEGORIES:
            near = frames_near_vehicle(pool, category)
            chosen = choose_frames(matches, near)
            name, bounds = f"{category} near vehicle", (0.0, limit_m)
            result.append(_row(name, bounds, "vehicle", matches, chosen, weights, pool))
    return result


def frames_near_vehicle(pool: Pool, category: str) -> Mask:
    """Return (F,) frames with a truth box of the category within 3 m of a vehicle's outline.

    Only vehicles among the evaluated categories count.
    """
    truth = pool.truth
    vehicle = np.flatnonzero(np.isin(truth.category, sorted(VEHICLES)))
    person = np.flatnonzero(truth.category == category)
    vehicle, person = _pairs_of_a_frame(pool.truth_frame, vehicle, person)
    offset = (truth.center_xyz_m[person] - truth.center_xyz_m[vehicle])[:, :2]
    cos, sin = np.cos(truth.yaw_rad[vehicle]), np.sin(truth.yaw_rad[vehicle])
    along = offset[:, 0] * cos + offset[:, 1] * sin
    across = -offset[:, 0] * sin + offset[:, 1] * cos
    half = truth.size_lwh_m[vehicle, :2] / 2
    gap = np.maximum(np.abs(np.stack([along, across], 1)) - half, 0.0)
    near = np.hypot(gap[:, 0], gap[:, 1]) <= NEAR_M
    result = np.zeros(len(pool.frame_ids), dtype=np.bool_)
    result[pool.truth_frame[person[near]]] = True
    return result


def _pairs_of_a_frame(frame: Int64, left: Int64, right: Int64) -> tuple[Int64, Int64]:
    """Return all pairs (index in left, index in right) that share a frame; indices ascend."""
    start = np.searchsorted(frame[right], frame[left], side="left")
    count = np.searchsorted(frame[right], frame[left], side="right") - start
    first = np.repeat(start - np.cumsum(count) + count, count)
    return np.repeat(left, count), right[first + np.arange(count.sum())]


def _row(
    name: str,
    bounds_m: tuple[float, float],
    near: str,
    matches: Matches,
    chosen: Chosen,
    weights: Int64,
    pool: Pool,
) -> dict[str, Any]:
    holding = np.unique(matches.truth_frame[chosen.truth])
    num_groups = len({pool.groups[i] for i in holding})
    ap = interval(ap_samples(matches, chosen, weights).mean(axis=0), num_groups)
    return {
        "name": name,
        "category": matches.category,
        "range_min_m": bounds_m[0],
        "range_max_m": bounds_m[1],
        "near": near,
        "ap": ap.value,
        "ap_low": ap.low,
        "ap_high": ap.high,
        "num_boxes": int(chosen.truth.sum()),
        "num_frames": len(holding),
    }
