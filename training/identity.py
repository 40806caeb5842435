"""Names of models: what a model was made from, known before it is made. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from training.config import TrainConfig

RECIPE: Final = "pillar-histogram-centerpoint-5"
"""Changes when the network or the loop changes, so that an old model is not taken for a new one."""


def model_id_of(dataset_digest: str, config: TrainConfig, init_model: str | None) -> str:
    """Return the content address of a model: `m-` and 12 hex digits.

    The same dataset, settings, starting model and code generation give the same name.
    """
    parents = [RECIPE, dataset_digest, config.digest, init_model or ""]
    return "m-" + hashlib.sha256(json.dumps(parents).encode()).hexdigest()[:12]
