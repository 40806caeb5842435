"""From what a person submitted in Label Studio back to boxes, and what they changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from labeling import rectangles
from labeling.rectangles import Footprints, Rectangles
from labeling.tasks import BOTTOM, BOX, HEADING, HEIGHT, REVERSED, Prelabel, TaskContext
from scene.box import Boxes
from scene.errors import LabelError
from scene.taxonomy import CATEGORY

_PRELABEL_NOTE: Final = re.compile(r"^prelabel (p\d+)$")
_CLEARLY_LONGER: Final = 1.15
_UNTOUCHED: Final = 1e-6  # percent, degrees or meters: rounding of a round trip


@dataclass(frozen=True, slots=True)
class Region:
    """One rectangle of an annotation with all that belongs to it.

    Attributes:
        region_id: id in Label Studio.
        prelabel_id: the prelabel it came from, empty if drawn by hand.
        category: name of the taxonomy.
        place: x, y, width, height (percent), rotation (degrees).
        bottom_m, height_m: typed or carried numbers; None if there is none.
        reversed_heading: the person says that the front is at the other end.
    """

    region_id: str
    prelabel_id: str
    category: str
    place: tuple[float, ...]
    bottom_m: float | None
    height_m: float | None
    reversed_heading: bool


def read_regions(results: Sequence[Mapping[str, Any]], context: TaskContext) -> list[Region]:
    """Return the rectangles of an annotation's `result` list, in its order.

    Raises:
        LabelError: if a rectangle has no category, an unknown one, or damaged values.
    """
    groups: dict[str, dict[str, Mapping[str, Any]]] = {}
    for result in results:
        groups.setdefault(str(result.get("id", "")), {})[str(result.get("from_name", ""))] = result
    seen: set[str] = set()
    regions = []
    for region_id, parts in groups.items():
        if BOX not in parts:
            continue  # a relation or a per-region value whose rectangle was deleted
        region = _read_region(region_id, parts, context)
        if region.prelabel_id in seen:  # a copy made with copy and paste is a new object
            region = replace(region, prelabel_id="")
        seen.add(region.prelabel_id or region_id)
        regions.append(region)
    return regions


def to_boxes(regions: Sequence[Region], context: TaskContext) -> Boxes:
    """Return the boxes of the regions, ego frame.

    Length, width, place and heading come from the rectangle. Underside and height come from the
    region's own numbers, else from its prelabel, else the class's usual height on the local
    ground. Velocity is unknown: nobody can see it in one picture.

    Raises:
        LabelError: if a rectangle has no area.
    """
    if not regions:
        return Boxes.empty()
    place = np.array([region.place for region in regions], dtype=np.float64)
    seen = rectangles.to_footprints(Rectangles(place), context.view)
    drawn = np.array([not region.prelabel_id for region in regions])
    seen = _along_usual_length(seen, np.array([region.category for region in regions]), drawn)
    reversed_by = np.array([np.pi * region.reversed_heading for region in regions])
    ground = context.ground.at(seen.center_xy_m).tolist()
    prelabels = [context.prelabels.get(region.prelabel_id) for region in regions]
    upright = [_upright(*item) for item in zip(regions, prelabels, ground, strict=True)]
    bottom, height = np.array(upright).T
    return Boxes.make(
        np.column_stack([seen.center_xy_m, bottom + height / 2]),
        np.column_stack([seen.size_lw_m, height]),
        seen.yaw_rad + reversed_by,
        [region.category for region in regions],
        track_id=[prelabel.track_id if prelabel else "" for prelabel in prelabels],
    )


def _read_region(
    region_id: str, parts: Mapping[str, Mapping[str, Any]], context: TaskContext
) -> Region:
    box = parts[BOX]
    try:
        value = box["value"]
        place = tuple(float(value.get(name, 0.0)) for name in rectangles.COLUMNS)
        labels = list(value.get("rectanglelabels", ()))
        numbers = {
            name: float(parts[name]["value"]["number"])
            for name in (BOTTOM, HEIGHT)
            if name in parts
        }
        choices = parts[HEADING]["value"]["choices"] if HEADING in parts else ()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LabelError(f"region {region_id} is damaged: {error!r}") from error
    if len(labels) != 1 or labels[0] not in CATEGORY:
        known = ", ".join(CATEGORY)
        raise LabelError(
            f"region {region_id} has category {labels}; give it exactly one of {known}"
        )
    return Region(
        region_id,
        _prelabel_of(region_id, box, context),
        labels[0],
        place,
        numbers.get(BOTTOM),
        numbers.get(HEIGHT),
        REVERSED in choices,
    )


def _prelabel_of(region_id: str, box: Mapping[str, Any], context: TaskContext) -> str:
    """Return the prelabel of a region: its own id, else the note that copies carry along."""
    if region_id in context.prelabels:
        return region_id
    notes = (box.get("meta") or {}).get("text", ())
    for note in [notes] if isinstance(notes, str) else notes:
        match = _PRELABEL_NOTE.match(str(note))
        if match and match[1] in context.prelabels:
            return match[1]
    return ""


def _upright(region: Region, prelabel: Prelabel | None, ground_m: float) -> tuple[float, float]:
    """Return underside and height of one region, in meters."""
    bottom, height = region.bottom_m, region.height_m
    if bottom is None:
        bottom = prelabel.bottom_m if prelabel else ground_m
    if height is None or height <= 0:
        height = prelabel.height_m if prelabel else CATEGORY[region.category].size_lwh_m[2]
    return bottom, height


def _along_usual_length(seen: Footprints, category: np.ndarray, drawn: np.ndarray) -> Footprints:
    """Turn hand-drawn rectangles by 90 degrees where that makes their long side the usual one.

    A person draws a crossing car as a wide rectangle with rotation 0; the side of the picture's
    up direction would then be its length.
    """
    usual = np.array([CATEGORY[name].size_lwh_m[:2] for name in category.tolist()])
    length, width = seen.size_lw_m.T
    usually_long = usual[:, 0] > usual[:, 1] * _CLEARLY_LONGER
    usually_wide = usual[:, 1] > usual[:, 0] * _CLEARLY_LONGER
    turn = drawn & (
        (usually_long & (width > length * _CLEARLY_LONGER))
        | (usually_wide & (length > width * _CLEARLY_LONGER))
    )
    size = np.where(turn[:, None], seen.size_lw_m[:, ::-1], seen.size_lw_m)
    return Footprints(seen.center_xy_m, size, seen.yaw_rad + np.where(turn, np.pi / 2, 0.0))


@dataclass(frozen=True, slots=True)
class Changes:
    """What a person did to the prelabels of one frame, in numbers of boxes."""

    num_kept: int
    num_edited: int
    num_deleted: int
    num_added: int


def find_changes(
    regions: Sequence[Region], predictions: Sequence[Mapping[str, Any]], context: TaskContext
) -> Changes:
    """Compare submitted regions with the prelabels of the task's `predictions`."""
    before = {
        region.prelabel_id: region
        for prediction in predictions
        for region in read_regions(prediction["result"], context)
    }
    after = {region.prelabel_id: region for region in regions if region.prelabel_id}
    common = before.keys() & after.keys()
    kept = sum(same_region(before[prelabel_id], after[prelabel_id]) for prelabel_id in common)
    return Changes(
        kept, len(common) - kept, len(before) - len(common), len(regions) - len(after)
    )  # fmt: skip


def same_region(before: Region, after: Region) -> bool:
    """Return whether a person left a prelabel as it was."""
    numbers = [
        (*region.place, region.bottom_m or 0.0, region.height_m or 0.0)
        for region in (before, after)
    ]  # fmt: skip
    return (
        before.category == after.category
        and not after.reversed_heading
        and np.allclose(*numbers, rtol=0, atol=_UNTOUCHED)
    )
