"""The order that a training process receives, as a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scene.errors import ConfigError
from storage.open import StoreConfig
from training.config import TrainConfig
from training.dataset import DataOptions
from training.identity import model_id_of


@dataclass(frozen=True, slots=True)
class Job:
    """What to train and where to put it.

    Attributes:
        store: the object store of dataset, checkpoints and models.
        dataset: digest of the dataset.
        config: the settings.
        init_model: the model to start from, or None.
        model_id: name of the model to be made; also the name of the run.
        data: how frames reach the training; does not change the model.
    """

    store: StoreConfig
    dataset: str
    config: TrainConfig
    init_model: str | None
    model_id: str
    data: DataOptions = field(default_factory=DataOptions)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Job:
        """Check and take over the content of a job file.

        Raises:
            ConfigError: if a value is missing or wrong, or the name is not that of its content.
        """
        names = {"store", "dataset", "config", "init_model", "model_id"}
        if set(values) - {"data"} != names:
            raise ConfigError(f"job: expected {sorted(names)} and data, got {sorted(values)}")
        config = TrainConfig.from_dict(values["config"])
        init_model = values["init_model"] or None
        expected = model_id_of(values["dataset"], config, init_model)
        if values["model_id"] != expected:
            raise ConfigError(
                f"job: model_id is {values['model_id']!r} but dataset, config and init_model give "
                f"{expected!r}; make it with training.identity.model_id_of"
            )
        store = StoreConfig.from_dict(values["store"])
        data = DataOptions.from_dict(values.get("data", {}))
        return cls(store, values["dataset"], config, init_model, expected, data)

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read a job file.

        Raises:
            ConfigError: if there is no such file, it is not JSON, or see `from_dict`.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ConfigError(f"job file {path}: {error}") from error
        return cls.parse(text, f"job file {path}")

    @classmethod
    def parse(cls, text: str, what: str = "job") -> Job:
        """Read the content of a job file.

        Raises:
            ConfigError: if it is not JSON, or see `from_dict`.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"{what}: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"{what}: expected a JSON object")
        return cls.from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of a job file; holds the store's secret."""
        return {
            "store": self.store.to_dict(),
            "dataset": self.dataset,
            "config": self.config.to_dict(),
            "init_model": self.init_model,
            "model_id": self.model_id,
            "data": self.data.to_dict(),
        }
