"""The exported detector behind the `Detector` protocol, run by ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from scene.box import Boxes
from scene.errors import DataError, FormatError, NotFoundError, ShapeError
from scene.suppression import suppress_boxes
from scene.taxonomy import CATEGORY
from scene.types import Float32, Int64, Mask
from storage import layout
from storage.store import ObjectStore

ONNX: Final = "model.onnx"
CONFIG: Final = "config.json"
_OUTPUTS: Final = ("boxes", "scores", "labels")
_AREA: Final = ("x_min_m", "x_max_m", "y_min_m", "y_max_m")


class Region(NamedTuple):
    """The ground that the model can see, ego frame, meters."""

    x_min_m: float
    x_max_m: float
    y_min_m: float
    y_max_m: float


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model's `config.json` says and serving needs.

    Attributes:
        categories: names by output label.
        region: the ground that the model can see.
        score_threshold: predictions below it are not reported.
        onnx_digest: sha256 (hex) of `model.onnx`.
        nms_iou: of boxes of one category that overlap more, the best stays; 0 keeps all.
    """

    categories: tuple[str, ...]
    region: Region
    score_threshold: float
    onnx_digest: str
    nms_iou: float = 0.0

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], where: str) -> ModelCard:
        """Read the content of a `config.json`.

        Raises:
            FormatError: if something is missing or a category is unknown.
        """
        try:
            categories = tuple(str(name) for name in content["categories"])
            region = Region(*(float(content["area"][name]) for name in _AREA))
            threshold, digest = float(content["score_threshold"]), str(content["onnx_digest"])
            nms_iou = float(content.get("nms_iou", 0.0))  # of models before it was written
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{where}: {error!r} is missing or wrong; export again") from error
        if unknown := [name for name in categories if name not in CATEGORY]:
            raise FormatError(f"{where}: unknown categories {unknown}")
        return cls(categories, region, threshold, digest, nms_iou)


class OnnxDetector:
    """A `scene.detector.Detector` made from exported files; safe to use from several threads.

    Attributes:
        digest: sha256 (hex) of `model.onnx`: the identity of what runs.
        model_id: name, empty if loaded from bare files.
        categories: names by output label.
        region: the ground that the model can see: x_min_m, x_max_m, y_min_m, y_max_m.
        score_threshold: predictions below it are not reported.
    """

    def __init__(
        self,
        onnx: bytes,
        card: ModelCard,
        *,
        model_id: str = "",
        score_threshold: float | None = None,
        num_threads: int = 1,
    ) -> None:
        """Start a session on the CPU.

        Args:
            onnx: the exported graph.
            card: how to read its outputs.
            model_id: for messages and answers.
            score_threshold: instead of the card's.
            num_threads: CPU threads of one call; 0 leaves it to ONNX Runtime.

        Raises:
            FormatError: if the graph is not the one the card describes, or not a detector.
        """
        self.digest = hashlib.sha256(onnx).hexdigest()
        self.model_id = model_id
        self.categories = card.categories
        self.region = card.region
        self.score_threshold = card.score_threshold if score_threshold is None else score_threshold
        if self.digest != card.onnx_digest:
            raise FormatError(
                f"model {model_id or self.digest[:12]}: {ONNX} has digest {self.digest[:12]}, "
                f"{CONFIG} names {card.onnx_digest[:12]}; the files do not belong together"
            )
        self._nms_iou = card.nms_iou
        self._names = np.asarray(card.categories, dtype=np.str_)
        self._session = _session(onnx, num_threads, model_id or self.digest[:12])

    @classmethod
    def load(
        cls,
        store: ObjectStore,
        model_id: str,
        *,
        score_threshold: float | None = None,
        num_threads: int = 1,
    ) -> OnnxDetector:
        """Load a finished model from the object store.

        Raises:
            NotFoundError: if there is no such finished model.
            FormatError: if its files are damaged.
        """
        try:
            config = store.get(layout.model(model_id, CONFIG))
            onnx = store.get(layout.model(model_id, ONNX))
        except NotFoundError as error:
            raise NotFoundError(
                f"model {model_id!r} is not complete: {error}; train it, or ask for another"
            ) from error
        return cls(
            onnx,
            _parse_card(config, layout.model(model_id, CONFIG)),
            model_id=model_id,
            score_threshold=score_threshold,
            num_threads=num_threads,
        )

    @classmethod
    def from_files(
        cls, folder: Path, *, score_threshold: float | None = None, num_threads: int = 1
    ) -> OnnxDetector:
        """Load `model.onnx` and `config.json` from a folder.

        Raises:
            NotFoundError: if a file is missing.
            FormatError: if a file is damaged.
        """
        try:
            config, onnx = (folder / CONFIG).read_bytes(), (folder / ONNX).read_bytes()
        except OSError as error:
            raise NotFoundError(f"{folder}: no {ONNX} and {CONFIG} to read: {error}") from error
        card = _parse_card(config, str(folder / CONFIG))
        return cls(onnx, card, score_threshold=score_threshold, num_threads=num_threads)

    def detect(self, points_ego_m: Float32, intensity: Float32) -> Boxes:
        """Return predictions in the ego frame, best score first.

        Args:
            points_ego_m: (N, 3) meters; points that are not finite are left out.
            intensity: (N,) in [0, 1].

        Returns:
            Boxes with score and velocity; none for an empty cloud.

        Raises:
            ShapeError: if the arrays do not belong together.
        """
        points = np.asarray(points_ego_m, dtype=np.float32)
        strength = np.asarray(intensity, dtype=np.float32)
        if points.ndim != 2 or points.shape[1:] != (3,) or strength.shape != points.shape[:1]:
            raise ShapeError(
                f"detect: expected (N, 3) points and (N,) intensities, got {points.shape} and "
                f"{strength.shape}"
            )
        cloud = np.concatenate([points, strength[:, None]], axis=1)
        cloud = np.ascontiguousarray(cloud[np.isfinite(cloud).all(axis=1)])
        if not len(cloud):
            return Boxes.empty()
        return self._to_boxes(*self.run(cloud))

    def run(self, points: Float32) -> tuple[Float32, Float32, Int64]:
        """Run the bare graph: (N, 4) points, N >= 1, to (K, 9) boxes, (K,) scores, (K,) labels."""
        boxes, scores, labels = self._session.run(list(_OUTPUTS), {"points": points})
        return boxes, scores, labels

    def _to_boxes(self, boxes: Float32, scores: Float32, labels: Int64) -> Boxes:
        keep: Mask = (scores >= self.score_threshold) & np.isfinite(boxes).all(axis=1)
        keep &= (boxes[:, 3:6] > 0).all(axis=1)
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        order = np.argsort(-scores, kind="stable")
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self._names):
            raise DataError(
                f"model {self.model_id or self.digest[:12]}: label outside its "
                f"{len(self._names)} categories; {ONNX} and {CONFIG} do not belong together"
            )
        boxes = boxes[order]
        found = Boxes.make(
            boxes[:, :3],
            boxes[:, 3:6],
            boxes[:, 6],
            self._names[labels[order]],
            boxes[:, 7:9],
            score=scores[order],
        )
        return suppress_boxes(found, self._nms_iou) if self._nms_iou else found


def _parse_card(data: bytes, where: str) -> ModelCard:
    try:
        content = json.loads(data)
    except ValueError as error:
        raise FormatError(f"{where}: not JSON ({error}); export again") from error
    return ModelCard.from_dict(content, where)


def _session(onnx: bytes, num_threads: int, name: str) -> Any:
    """Start ONNX Runtime and check names and types of inputs and outputs."""
    import onnxruntime  # 0.3 s to import

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A waiting thread must not burn a core that the rest of the loop needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base but Exception
        raise FormatError(f"model {name}: ONNX Runtime cannot load {ONNX}: {error}") from error
    inputs = [(tensor.name, tensor.type) for tensor in session.get_inputs()]
    outputs = {tensor.name for tensor in session.get_outputs()}
    if inputs != [("points", "tensor(float)")] or not outputs >= set(_OUTPUTS):
        raise FormatError(
            f"model {name}: a detector takes float32 `points` and gives {', '.join(_OUTPUTS)}; "
            f"this one takes {inputs} and gives {sorted(outputs)}"
        )
    return session
