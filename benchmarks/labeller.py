"""A scripted person at the editor, whose actions are real mouse and key events and are counted.

What the person is modelled on is said in `benchmarks.labelling`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from scene.box import Boxes
from scene.overlap import bev_iou
from scene.pose import wrap_angle
from scene.taxonomy import CATEGORY_NAMES
from tests.support.editor_page import EditorPage

_KEY_S: Final = 0.28
_POINT_S: Final = 1.10
_BUTTON_S: Final = 0.10
_DECIDE_S: Final = 1.35
_AIM_PX: Final = 4.0  # standard deviation; a person counts a hit within about two of it
_FACE_M: Final = 0.2  # the guideline: every face so near, and the heading
_YAW_RAD: Final = np.radians(3.0)
_ROUNDS: Final = 4


@dataclass(slots=True)
class Cost:
    """What one way of labelling took.

    Attributes:
        name: of the way.
        clicks, drags, keys: actions.
        decisions: times that the labeller thought.
        boxes: finished ones.
        missed: boxes that did not get as good as asked.
        iou: in the ground plane, of every box.
    """

    name: str
    clicks: int = 0
    drags: int = 0
    keys: int = 0
    decisions: int = 0
    boxes: int = 0
    missed: int = 0
    iou: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Time by the keystroke-level model."""
        click = _POINT_S + 2 * _BUTTON_S
        drag = 2 * _POINT_S + 2 * _BUTTON_S
        return (
            self.clicks * click + self.drags * drag + self.keys * _KEY_S
            + self.decisions * _DECIDE_S
        )  # fmt: skip

    def row(self, scratch: Cost) -> str:
        """Return a line of the table."""
        n = max(1, self.boxes)
        return (
            f"| {self.name} | {self.boxes} | {self.clicks / n:.1f} | {self.drags / n:.1f} | "
            f"{self.keys / n:.1f} | {self.seconds / n:.1f} | "
            f"{self.seconds / n / (scratch.seconds / max(1, scratch.boxes)):.2f} | "
            f"{np.mean(self.iou):.2f} | {self.missed} |"
        )


class Labeller:
    """Does what a person would do, and counts it.

    Args:
        editor: the open page.
        cost: where actions are counted.
        seed: of the aim.
    """

    def __init__(self, editor: EditorPage, cost: Cost, seed: int = 1) -> None:
        self.editor, self.cost = editor, cost
        self._random = np.random.default_rng(seed)

    def key(self, name: str) -> None:
        """Press a key after a decision."""
        self.editor.press(name)
        self.cost.keys += 1
        self.cost.decisions += 1

    def click(self, point: tuple[float, float]) -> None:
        """Click after a decision."""
        self.editor.click(self._aim(point))
        self.cost.clicks += 1
        self.cost.decisions += 1

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag after a decision; the start snaps to the handle under it."""
        self.editor.drag(start, self._aim(end))
        self.cost.drags += 1
        self.cost.decisions += 1

    def _aim(self, point: tuple[float, float]) -> tuple[float, float]:
        x, y = np.array(point) + self._random.normal(0, _AIM_PX, 2)
        return float(x), float(y)

    def selected(self) -> dict[str, Any] | None:
        """Return the selected box of the frame."""
        state = self.editor.state()
        return next((b for b in state["boxes"] if b["track_id"] == state["selected"]), None)

    def draw(self, truth: Boxes) -> None:
        """Draw a rectangle around an object exactly as dragged, along the page's axes."""
        self.key("b")
        self.editor.idle()
        center, size = truth.center_xyz_m[0], truth.size_lwh_m[0]
        quarter = round(float(truth.yaw_rad[0]) / (np.pi / 2)) * np.pi / 2
        ahead = np.array([np.cos(quarter), np.sin(quarter), 0])
        aside = np.array([-ahead[1], ahead[0], 0])
        half = ahead * size[0] / 2 + aside * size[1] / 2
        low = np.array([0, 0, size[2] / 2])
        start = self.editor.place("project", "perspective", (center - half - low).tolist())
        end = self.editor.place("project", "perspective", (center + half - low).tolist())
        self.editor.page.keyboard.down("Alt")
        self.drag(start, end)
        self.editor.page.keyboard.up("Alt")
        self.cost.keys += 1

    def fit(self, truth: Boxes, point_m: np.ndarray) -> None:
        """Click a point of an object; where nothing is fitted, draw."""
        before = self.editor.state()["num_tracks"]
        self.editor.page.keyboard.down("Control")
        self.click(self.editor.place("project", "perspective", point_m.tolist()))
        self.editor.page.keyboard.up("Control")
        self.cost.keys += 1
        if self.editor.state()["num_tracks"] == before:
            self.draw(truth)

    def correct(self, truth: Boxes) -> None:
        """Bring the selected box to the object, one visible error after the other."""
        for _ in range(_ROUNDS):
            if not self._correct_once(truth):
                break
        self.cost.decisions += 1  # a last look
        box = self.selected()
        self.cost.boxes += 1
        if box is None:
            self.cost.missed += 1
            return
        self.cost.iou.append(float(bev_iou(boxes_of([box]), truth)[0, 0]))
        self.cost.missed += bool(_errors(box, truth))

    def _correct_once(self, truth: Boxes) -> bool:
        """Correct what is wrong now; return whether anything was."""
        box = self.selected()
        if box is None:
            return False
        if box["category"] != truth.category[0]:
            self.key(str((CATEGORY_NAMES.index(str(truth.category[0])) + 1) % 10))
        steps: dict[str, Callable[[dict[str, Any], Boxes], None]] = {
            "flip": lambda *_: self.key("c"),
            "yaw": self._turn,
            "place": self._move,
            "front": lambda b, t: self._face(b, t, 0, 1),
            "rear": lambda b, t: self._face(b, t, 0, -1),
            "left": lambda b, t: self._face(b, t, 1, 1),
            "right": lambda b, t: self._face(b, t, 1, -1),
            "bottom": lambda b, t: self._face(b, t, 2, -1),
            "top": lambda b, t: self._face(b, t, 2, 1),
        }
        found = False
        for name, step in steps.items():
            box = self.selected()
            if box is not None and name in _errors(box, truth):
                found = True
                self.editor.idle()
                step(box, truth)
        return found

    def _turn(self, box: dict[str, Any], truth: Boxes) -> None:
        center = np.array(box["center_xyz_m"])
        middle = np.array(self.editor.place("project", "top", center.tolist()))
        angles = []
        for yaw in (box["yaw_rad"], float(truth.yaw_rad[0])):
            ahead = center + 3 * np.array([np.cos(yaw), np.sin(yaw), 0])
            to = np.array(self.editor.place("project", "top", ahead.tolist())) - middle
            angles.append(np.arctan2(to[1], to[0]))
        turn = angles[1] - angles[0]
        knob = np.array(self.editor.place("handle", "top", "turn"))
        cos, sin = np.cos(turn), np.sin(turn)
        away = knob - middle
        end = middle + np.array([[cos, -sin], [sin, cos]]) @ away
        self.drag(tuple(knob.tolist()), tuple(end.tolist()))

    def _move(self, box: dict[str, Any], truth: Boxes) -> None:
        target = [*truth.center_xyz_m[0, :2].tolist(), box["center_xyz_m"][2]]
        start = self.editor.place("project", "top", box["center_xyz_m"])
        self.drag(start, self.editor.place("project", "top", target))

    def _face(self, box: dict[str, Any], truth: Boxes, axis: int, side: int) -> None:
        """Drag one face to where it belongs."""
        view = "side" if axis == 2 else "top"
        start, end = (_face_m(boxes, axis, side) for boxes in (boxes_of([box]), truth))
        normal = _axes(float(boxes_of([box]).yaw_rad[0]))[axis]
        end = start + normal * float((end - start) @ normal)
        places = [self.editor.place("project", view, place.tolist()) for place in (start, end)]
        self.drag(places[0], places[1])


def _axes(yaw: float) -> np.ndarray:
    """Return (3, 3) rows ahead, left, up."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])


def _face_m(boxes: Boxes, axis: int, side: int) -> np.ndarray:
    """Return (3,) the middle of a face of the only box."""
    normal = _axes(float(boxes.yaw_rad[0]))[axis]
    return boxes.center_xyz_m[0] + side * normal * boxes.size_lwh_m[0, axis] / 2


def _errors(box: dict[str, Any], truth: Boxes) -> set[str]:
    """Return what a person sees to be wrong, with the guideline's tolerance."""
    mine = boxes_of([box])
    turned = float(wrap_angle(mine.yaw_rad - truth.yaw_rad)[0])
    wrong = {"flip"} if abs(turned) > np.pi / 2 else set[str]()
    axial = (turned + np.pi / 2) % np.pi - np.pi / 2
    if abs(axial) > _YAW_RAD:
        wrong.add("yaw")
    faces = [("front", 0, 1), ("rear", 0, -1), ("left", 1, 1), ("right", 1, -1),
             ("bottom", 2, -1), ("top", 2, 1)]  # fmt: skip
    flipped = -1 if abs(turned) > np.pi / 2 else 1
    off = {}
    for name, axis, side in faces:
        normal = _axes(float(truth.yaw_rad[0]))[axis]
        other = side if axis == 2 else side * flipped
        off[name] = float((_face_m(mine, axis, other) - _face_m(truth, axis, side)) @ normal)
    shifted = [name for name in off if abs(off[name]) > _FACE_M]
    if {"front", "rear"} <= set(shifted) and off["front"] * off["rear"] > 0:
        return wrong | {"place"}
    if {"left", "right"} <= set(shifted) and off["left"] * off["right"] > 0:
        return wrong | {"place"}
    return wrong | set(shifted)


def boxes_of(boxes: Sequence[dict[str, Any]]) -> Boxes:
    return Boxes.make(
        np.array([box["center_xyz_m"] for box in boxes]),
        np.array([box["size_lwh_m"] for box in boxes]),
        np.array([box["yaw_rad"] for box in boxes]),
        [box["category"] for box in boxes],
    )
