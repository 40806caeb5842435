"""KITTI raw ground truth: `tracklet_labels.xml`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recordings.recording import Damage
from scene.box import Boxes
from scene.errors import FormatError
from scene.taxonomy import to_category

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def read_tracklets(path: Path, num_frames: int, damage: list[Damage]) -> dict[int, Boxes]:
    """Return boxes by scan number, velodyne frame.

    A tracklet gives the size as h, w, l and for each of its frames the centre of the box's
    *bottom* face and the heading `rz`; the cuboid's centre lies h / 2 higher. Kinds that are no
    detection category (Misc) are left out.

    Raises:
        FormatError: if the file is not a tracklet file.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, parse

    try:
        root = parse(path).getroot()
    except (ParseError, DefusedXmlException) as error:
        raise FormatError(f"{path.name}: not readable as XML ({error})") from error
    holder = None if root is None else root.find("tracklets")
    if holder is None:
        raise FormatError(f"{path.name}: no <tracklets> element, not a KITTI tracklet file")
    frames: dict[int, list[Boxes]] = {}
    for number, item in enumerate(holder.findall("item")):
        try:
            first, boxes = _track(item, number)
        except (ValueError, AttributeError, TypeError) as error:
            damage.append(Damage(f"{path.name} item {number}", f"not a tracklet ({error})", "it"))
            continue
        for step in range(len(boxes)):
            if first + step < num_frames:
                frames.setdefault(first + step, []).append(boxes.take(np.array([step])))
    return {frame: Boxes.concatenate(parts) for frame, parts in frames.items()}


def _track(item: Element, number: int) -> tuple[int, Boxes]:
    """Return the first frame of a tracklet and its boxes, one a frame."""
    category = to_category(_text(item, "objectType"))
    height, width, length = (float(_text(item, name)) for name in "hwl")
    poses = [
        [float(_text(pose, name)) for name in ("tx", "ty", "tz", "rz")]
        for pose in item.findall("poses/item")
    ]
    first = int(_text(item, "first_frame"))
    if category is None or not poses:
        return first, Boxes.empty()
    values = np.array(poses)
    count = len(values)
    boxes = Boxes.make(
        values[:, :3] + np.array([0.0, 0.0, height / 2]),
        np.tile(np.array([length, width, height]), (count, 1)),
        values[:, 3],
        [category] * count,
        track_id=[str(number)] * count,
    )
    return first, boxes


def _text(element: Element, name: str) -> str:
    text = element.findtext(name)
    if text is None:
        raise ValueError(f"<{name}> is missing")
    return text
