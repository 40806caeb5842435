"""KITTI labels of the object and tracking benchmarks: boxes in the camera's frame, one a line.

A line says kind, truncation, occlusion, angle, rectangle in the image, height, width, length, the
middle of the *bottom* face in the rectified frame of camera 0 (x right, y down, z forward) and the
heading `rotation_y`, 0 along the camera's x, turning about its y. Tracking puts the frame and the
track before it. Source: KITTI object and tracking development kits, readme.txt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from recordings.recording import Damage
from scene.box import Boxes
from scene.pose import SE3
from scene.taxonomy import to_category
from scene.types import Float64

# After the kind: truncation, occlusion, alpha, 4 of the rectangle, then these 7.
_FIRST: Final = 8
_LAST: Final = 15


class Label(NamedTuple):
    """One labelled object of our categories.

    Attributes:
        frame: its number in a sequence; 0 where a file is one frame.
        track: id of the object in the sequence, empty where unknown.
        category: ours.
        numbers: height, width, length, x, y, z, rotation_y.
    """

    frame: int
    track: str
    category: str
    numbers: tuple[float, ...]


def read_labels(path: Path, damage: list[Damage], *, tracking: bool = False) -> list[Label]:
    """Return the labels of a file; DontCare and kinds that are no category are left out.

    A line that cannot be read goes to `damage`.
    """
    labels = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            frame, track = (int(words[0]), words[1]) if tracking else (0, "")
            words = words[2:] if tracking else words
            category = to_category(words[0])
            if category is None or words[0] == "DontCare":
                continue
            if len(words) < _LAST:
                raise ValueError(f"{len(words)} words, expected {_LAST}")  # noqa: TRY301
            numbers = tuple(float(word) for word in words[_FIRST:_LAST])
            if not np.isfinite(numbers).all() or min(numbers[:3]) <= 0:
                raise ValueError("a size or place is no number")  # noqa: TRY301
        except (ValueError, IndexError) as error:
            where = f"{path.parent.name}/{path.name} line {number}"
            damage.append(Damage(where, f"not a label ({error})", "one box"))
            continue
        labels.append(Label(frame, track, category, numbers))
    return labels


def to_boxes(labels: list[Label], ego_SE3_rect: SE3) -> Boxes:
    """Return the boxes in the ego frame; the lean of the camera against the ego is dropped."""
    if not labels:
        return Boxes.empty()
    table: Float64 = np.array([label.numbers for label in labels], dtype=np.float64)
    height, turn = table[:, 0], table[:, 6]
    center = table[:, 3:6].copy()
    center[:, 1] -= height / 2  # y points down
    heading = np.stack([np.cos(turn), np.zeros(len(turn)), -np.sin(turn)], axis=1)
    turned = heading @ ego_SE3_rect.rotation.T
    return Boxes.make(
        ego_SE3_rect.transform_points(center),
        table[:, [2, 1, 0]],
        np.arctan2(turned[:, 1], turned[:, 0]),
        [label.category for label in labels],
        track_id=[label.track for label in labels],
    )
