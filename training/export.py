"""A trained network to files that others load: ONNX for inference, safetensors to train on."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from scene.errors import TrainError
from scene.pose import wrap_angle
from scene.types import Float32, Float64, Int64
from training.config import TrainConfig
from training.decode import FrameDetector
from training.frames import num_point_columns
from training.model import Network

OPSET: Final = 18
_EXAMPLE_POINTS: Final = 1000
_COMPARED_SCORE: Final = 0.1
_MAX_BOX_DIFFERENCE: Final = 1e-3
_MAX_SCORE_DIFFERENCE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the exported graph is from the network, over some clouds.

    Attributes:
        passed: whether boxes agree within 1 mm (rad, m/s) and scores within 0.001.
        max_box_difference: largest difference of a box value with score above 0.1.
        max_score_difference: largest difference of those scores.
        num_boxes: boxes compared.
        num_frames: clouds compared.
    """

    passed: bool
    max_box_difference: float
    max_score_difference: float
    num_boxes: int
    num_frames: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def export_onnx(net: Network, config: TrainConfig) -> bytes:
    """Return the whole detector as one ONNX file.

    Input `points` (N, 4) float32 x, y, z (ego, m), intensity, any N >= 1; of a detector of several
    sweeps also (N, 5) with the age of each point (s), and (N, 4) is one sweep. Outputs `boxes`
    (K, 9) x, y, z, l, w, h, yaw, vx, vy; `scores` (K,) descending; `labels` (K,) int64.

    Raises:
        TrainError: if torch cannot export the network.
    """
    detector = FrameDetector(net, config).eval().cpu().float()
    columns = num_point_columns(config)
    example = torch.zeros(_EXAMPLE_POINTS, columns)
    shape = {0: torch.export.Dim("num_points")}
    if columns > 4:
        shape[1] = torch.export.Dim("num_values", min=4, max=columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations while exporting
        program = torch.onnx.export(
            detector,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["points"],
            output_names=["boxes", "scores", "labels"],
            dynamic_shapes={"points": shape},
            verbose=False,
        )
    if program is None:
        raise TrainError("torch returned no ONNX program")
    return _without_traces(program.model_proto)


def export_weights(net: Network) -> bytes:
    """Return the network's weights and buffers as safetensors."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    return safetensors.torch.save(state)


def load_weights(data: bytes) -> dict[str, Tensor]:
    """Undo `export_weights`."""
    return safetensors.torch.load(data)


def sha256(data: bytes) -> str:
    """Return the hex digest of bytes."""
    return hashlib.sha256(data).hexdigest()


def check_parity(
    net: Network, config: TrainConfig, onnx_bytes: bytes, clouds: Sequence[Float32]
) -> Parity:
    """Run network and exported graph on (N, 4 or 5) clouds and compare what they predict.

    A cloud of one point, of one sweep, is added to those given: the graph must take any number of
    points.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
    detector = FrameDetector(net, config).eval().cpu().float()
    single = np.array([[10.0, 0.0, 0.5, 0.5]], dtype=np.float32)
    worst_box = worst_score = 0.0
    compared = 0
    tested = [*clouds, single]
    for points in tested:
        with torch.no_grad():
            boxes, scores, labels = (t.numpy() for t in detector(torch.tensor(points)))
        found = session.run(None, {"points": points})
        box, score, count = _compare(boxes, scores, labels, found)
        worst_box, worst_score = max(worst_box, box), max(worst_score, score)
        compared += count
    passed = worst_box <= _MAX_BOX_DIFFERENCE and worst_score <= _MAX_SCORE_DIFFERENCE
    return Parity(passed, worst_box, worst_score, compared, len(tested))


def _compare(
    boxes: Float32, scores: Float32, labels: Int64, found: Any
) -> tuple[float, float, int]:
    """Return the largest box and score difference and how many boxes were compared.

    Every box of the network is compared with the closest box of its label, so that two boxes with
    equal scores may change places. Where a value is not finite the differences are infinite.
    """
    other_boxes, other_scores, other_labels = (np.asarray(array) for array in found)
    keep = scores > _COMPARED_SCORE
    if not all(np.isfinite(a).all() for a in (boxes, scores, other_boxes, other_scores)):
        return float("inf"), float("inf"), int(keep.sum())  # NaN is larger than nothing
    if not keep.any():
        return 0.0, float(np.abs(scores[0] - other_scores[0])), 0
    distance: Float64 = np.linalg.norm(
        boxes[keep, None, :3].astype(np.float64) - other_boxes[None, :, :3], axis=2
    )
    distance[labels[keep][:, None] != other_labels[None]] = np.inf
    match = distance.argmin(axis=1)
    difference = boxes[keep].astype(np.float64) - other_boxes[match]
    difference[:, 6] = wrap_angle(difference[:, 6])
    if not np.isfinite(distance.min(axis=1)).all():
        return float("inf"), float("inf"), int(keep.sum())
    return (
        float(np.abs(difference).max()),
        float(np.abs(scores[keep] - other_scores[match]).max()),
        int(keep.sum()),
    )


def _without_traces(model: Any) -> bytes:
    """Return the model's bytes without source paths and stack traces of this machine."""
    del model.metadata_props[:]
    for graph in (model.graph, *model.functions):
        del graph.metadata_props[:]
        for node in graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
        for value in graph.value_info:
            del value.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    buffer = io.BytesIO()
    buffer.write(model.SerializeToString(deterministic=True))
    return buffer.getvalue()
