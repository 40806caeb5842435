"""What every detector looks like from outside, trained or not."""

from __future__ import annotations

from typing import Protocol

from scene.box import Boxes
from scene.types import Float32


class Detector(Protocol):
    """Anything that turns the points of one sweep into boxes.

    Attributes:
        digest: identifies the weights; predictions are filed under it.
    """

    digest: str

    def detect(self, points_ego_m: Float32, intensity: Float32) -> Boxes:
        """Return predictions in the ego frame, best score first.

        Args:
            points_ego_m: (N, 3) float32 meters.
            intensity: (N,) float32 in [0, 1].
        """
        ...
