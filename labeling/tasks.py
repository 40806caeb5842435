"""What Label Studio is told: the labelling interface, and a task of each frame."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final
from xml.sax.saxutils import quoteattr

import numpy as np

from labeling import rectangles
from labeling.backend import LabelTask
from labeling.ground import GroundGrid, find_ground
from scene.bev import BevView
from scene.box import Boxes
from scene.errors import LabelError
from scene.taxonomy import CATEGORIES

PICTURE: Final = "bev"
BOX: Final = "box"
BOTTOM: Final = "bottom_m"
HEIGHT: Final = "height_m"
HEADING: Final = "heading"
REVERSED: Final = "front is at the other end"
MODEL_VERSION: Final = "starloop-prelabels"
_META: Final = "starloop"


def label_config() -> str:
    """Return the labelling interface (XML) with one label for each category of the taxonomy."""
    labels = "".join(
        f'<Label value={quoteattr(category.name)} background="{_hex(category.color_rgb)}"/>'
        for category in CATEGORIES
    )
    return (
        "<View>"
        '<Header value="$title" size="5"/>'
        f'<RectangleLabels name="{BOX}" toName="{PICTURE}" canRotate="true" strokeWidth="2" '
        f'opacity="0.15" showInline="true">{labels}</RectangleLabels>'
        '<View style="display: flex; gap: 16px"><View style="flex: 1 1 auto; min-width: 0">'
        f'<Image name="{PICTURE}" value="$image" zoom="true" zoomControl="true" '
        'brightnessControl="true" contrastControl="true" rotateControl="false" smoothing="false"/>'
        '</View><View style="flex: 0 0 220px"><View visibleWhen="region-selected">'
        '<Header value="Underside above the road at the car, in meters" size="6"/>'
        f'<Number name="{BOTTOM}" toName="{PICTURE}" perRegion="true" step="0.01"/>'
        '<Header value="Height of the object, in meters" size="6"/>'
        f'<Number name="{HEIGHT}" toName="{PICTURE}" perRegion="true" min="0.05" step="0.01"/>'
        '<Header value="The thin line in the picture points to the front" size="6"/>'
        f'<Choices name="{HEADING}" toName="{PICTURE}" perRegion="true" choice="multiple">'
        f"<Choice value={quoteattr(REVERSED)}/></Choices>"
        "</View></View></View></View>"
    )


@dataclass(frozen=True, slots=True)
class Prelabel:
    """What a rectangle cannot say about a prelabel, by its id in the task."""

    prelabel_id: str
    bottom_m: float
    height_m: float
    track_id: str


@dataclass(frozen=True, slots=True, eq=False)
class TaskContext:
    """What is needed to turn rectangles back into boxes; travels in the task's `meta`.

    Attributes:
        view: the ground that the picture shows.
        ground: height of the ground, for rectangles drawn by hand.
        prelabels: by id.
    """

    view: BevView
    ground: GroundGrid
    prelabels: dict[str, Prelabel]

    def to_meta(self) -> dict[str, Any]:
        """Return plain JSON values for the task's `meta`."""
        return {
            _META: {
                "view": asdict(self.view),
                "ground": self.ground.to_dict(),
                "prelabels": [asdict(prelabel) for prelabel in self.prelabels.values()],
            }
        }

    @classmethod
    def from_meta(cls, meta: Any) -> TaskContext:
        """Make the context of a task's `meta`.

        Raises:
            LabelError: if the task was not made by Starloop or its meta was damaged.
        """
        try:
            values = meta[_META]
            prelabels = [Prelabel(**item) for item in values["prelabels"]]
            view = BevView(**{name: float(value) for name, value in values["view"].items()})
            ground = GroundGrid.from_dict(values["ground"])
        except (KeyError, TypeError, ValueError) as error:
            raise LabelError(
                f"task meta does not hold the picture's geometry ({error!r}): the task was not "
                "made by Starloop, or its meta was edited; delete the task and push again"
            ) from error
        return cls(view, ground, {prelabel.prelabel_id: prelabel for prelabel in prelabels})


def make_context(task: LabelTask, view: BevView) -> tuple[TaskContext, Boxes]:
    """Return the context of a task and the prelabels that its picture can show."""
    boxes = task.prelabels.take(rectangles.inside_view(task.prelabels, view))
    bottom = boxes.center_xyz_m[:, 2] - boxes.size_lwh_m[:, 2] / 2
    columns = zip(bottom, boxes.size_lwh_m[:, 2], boxes.track_id, strict=True)
    prelabels = [
        Prelabel(f"p{i:03d}", float(low), float(height), str(track))
        for i, (low, height, track) in enumerate(columns)
    ]
    ground = find_ground(task.points_ego_m, view)
    return TaskContext(view, ground, {p.prelabel_id: p for p in prelabels}), boxes


def make_prediction(context: TaskContext, boxes: Boxes) -> dict[str, Any]:
    """Return the prelabels as a Label Studio prediction.

    Args:
        context: from `make_context`.
        boxes: the boxes it returned, in the order of `context.prelabels`.
    """
    rows, columns = context.view.shape
    values = rectangles.from_boxes(boxes, context.view).values.tolist()
    results: list[dict[str, Any]] = []
    for i, prelabel in enumerate(context.prelabels.values()):
        place = dict(zip(rectangles.COLUMNS, values[i], strict=True))
        common = {
            "id": prelabel.prelabel_id,
            "to_name": PICTURE,
            "original_width": columns,
            "original_height": rows,
            "image_rotation": 0,
        }
        labels = {"rectanglelabels": [str(boxes.category[i])]}
        text = {"meta": {"text": [f"prelabel {prelabel.prelabel_id}"]}}
        score = {} if np.isnan(boxes.score[i]) else {"score": float(boxes.score[i])}
        box = {"from_name": BOX, "type": "rectanglelabels", "value": place | labels}
        results.append(common | box | text | score)
        for name, number in ((BOTTOM, prelabel.bottom_m), (HEIGHT, prelabel.height_m)):
            value = place | {"number": round(number, 3)}
            results.append(common | {"from_name": name, "type": "number", "value": value})
    scores = boxes.score[np.isfinite(boxes.score)]
    mean = {"score": float(scores.mean())} if len(scores) else {}
    return {"model_version": MODEL_VERSION, "result": results} | mean


def _hex(color_rgb: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color_rgb)
