"""A trained network as something that turns points into boxes, with rotated NMS."""

from __future__ import annotations

import numpy as np
import torch

from scene.box import Boxes
from scene.suppression import suppress_boxes
from scene.types import Float32, Int64
from training.config import TrainConfig
from training.decode import FrameDetector
from training.model import Network


class Predictor:
    """The same graph that is exported, in torch, followed by the NMS that the settings name.

    Attributes:
        detector: points to the best boxes of the heat map.
    """

    def __init__(self, net: Network, config: TrainConfig, device: torch.device) -> None:
        """Put the network on the device, for looking only."""
        self.detector = FrameDetector(net, config).eval().to(device)
        self._config = config
        self._device = device

    def __call__(self, points: Float32) -> Boxes:
        """Return the predictions for (N, 4 or 5) points, N >= 1, best score first."""
        with torch.no_grad():
            found = self.detector(torch.from_numpy(points).to(self._device))
        boxes, scores, labels = (tensor.cpu().numpy() for tensor in found)
        return self.to_boxes(boxes, scores, labels)

    def to_boxes(self, boxes: Float32, scores: Float32, labels: Int64) -> Boxes:
        """Return (K, 9) boxes with (K,) descending scores that are good enough and stand alone."""
        keep = scores >= self._config.score_threshold
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        names = np.array(self._config.categories)[labels]
        result = Boxes.make(
            boxes[:, :3], boxes[:, 3:6], boxes[:, 6], names, boxes[:, 7:9], score=scores
        )
        if not self._config.nms_iou:
            return result
        return suppress_boxes(result, self._config.nms_iou)
