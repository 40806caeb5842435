"""All settings. Nothing else reads the environment.

Every setting is an environment variable (or a line in `.env`) with the prefix `STARLOOP_` and `__`
between levels: `STARLOOP_STORE__URL=s3://fleet/prod`, `STARLOOP_LABELING__BACKEND=label_studio`.
A misspelt name is refused instead of being ignored.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from loop.config import IngestConfig, LabelingConfig, LoopConfig
from loop.workspace import Workspace
from scene.errors import ConfigError
from storage.open import StoreConfig
from training.engines import Setup

PREFIX = "STARLOOP_"
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class StoreSettings(BaseModel):
    """An object store: a folder (`file:///...`) or a bucket (`s3://bucket/prefix`)."""

    model_config = _FROZEN
    url: str = ""
    endpoint: str = ""
    access_key: SecretStr = SecretStr("")
    secret_key: SecretStr = SecretStr("")
    region: str = "us-east-1"

    def to_config(self, default: Path) -> StoreConfig:
        """Return the store's configuration; without a URL it is the folder `default`."""
        return StoreConfig(
            url=self.url or default.resolve().as_uri(),
            endpoint=self.endpoint,
            access_key=self.access_key.get_secret_value(),
            secret_key=self.secret_key.get_secret_value(),
            region=self.region,
        )


class LabelingSettings(BaseModel):
    """The labelling backend; `mode` is what a task of Label Studio shows."""

    model_config = _FROZEN
    backend: Literal["embedded", "label_studio"] = "embedded"
    mode: Literal["rectangles", "cuboids"] = "rectangles"
    url: str = "http://127.0.0.1:8080"
    api_key: SecretStr = SecretStr("")
    project: str = "starloop"
    honeypot_share: float = Field(default=0.03, ge=0, le=1)
    overlap_share: float = Field(default=0.1, ge=0, le=1)


class IngestSettings(BaseModel):
    """What is done to recordings on their way in; see `loop.config.IngestConfig`."""

    model_config = _FROZEN
    deskew: Literal["auto", "never", "always"] = "auto"
    odometry: Literal["auto", "never"] = "auto"
    workers: int = Field(default=0, ge=0)


class PolicySettings(BaseModel):
    """Policies of the loop; see `loop.config.LoopConfig` for what each one means."""

    model_config = _FROZEN
    bootstrap_frames: int = Field(default=48, ge=1)
    label_budget: int = Field(default=32, ge=1)
    control_share: float = Field(default=0.15, ge=0, le=1)
    test_share: float = Field(default=0.34, gt=0, lt=1)
    evaluation_stride: int = Field(default=2, ge=1)
    min_gap_s: float = Field(default=0.6, ge=0)
    recipe: Literal["demo", "small"] = "demo"
    iterations: int = Field(default=0, ge=0)
    finetune_iterations: int = Field(default=0, ge=0)
    num_threads: int = Field(default=0, ge=0)
    shards: int = Field(default=0, ge=0)
    memory_bytes: int = Field(default=1 << 30, ge=0)
    cache_folder: str = ""
    cache_bytes: int = Field(default=64 << 30, ge=0)
    scenario_seed: int = 0
    max_ap_drop: float = Field(default=0.10, ge=0)
    tolerated_ap_drop: float = Field(default=0.02, ge=0)
    seed: int = 7


class TrainingSettings(BaseModel):
    """Who looks after a training, and on how much; see `training.engines.Setup`.

    A run may choose otherwise: in the Launchpad, `ops: {detector: {config: {workers: "2"}}}`.
    """

    model_config = _FROZEN
    engine: Literal["starloop", "torchrun", "ray"] = "starloop"
    workers: str = Field(default="1", pattern=r"^[1-9]\d*(:[1-9]\d*)?$")
    devices_per_worker: float = Field(default=0.0, ge=0)
    accelerator_type: str = ""
    backend: str = ""
    ray_address: str = ""
    ray_folder: str = ""
    ray_manifest: str = ""
    grace_s: float = Field(default=60.0, gt=0)

    def setup(self) -> Setup:
        """Return what a training is started with, unless its run chooses otherwise."""
        return Setup(**self.model_dump(exclude={"grace_s"}))


class ServingSettings(BaseModel):
    """Where `starloop serve` listens."""

    model_config = _FROZEN
    host: str = "127.0.0.1"
    port: int = Field(default=8008, ge=0, le=65535)


class Settings(BaseSettings):
    """Everything that can be set from outside.

    Attributes:
        home: folder for everything that is not in a bucket, and the default place of both buckets.
        landing_prefix: look only at landed objects below this key.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        frozen=True,
        extra="forbid",
    )
    home: Path = Path(".starloop")
    store: StoreSettings = StoreSettings()
    landing: StoreSettings = StoreSettings()
    landing_prefix: str = ""
    ingest: IngestSettings = IngestSettings()
    labeling: LabelingSettings = LabelingSettings()
    loop: PolicySettings = PolicySettings()
    training: TrainingSettings = TrainingSettings()
    serving: ServingSettings = ServingSettings()

    def workspace(self) -> Workspace:
        """Open the bucket and the landing place."""
        cache = self.loop.cache_folder or str((self.home / "cache" / "frames").absolute())
        return Workspace.open(
            self.store.to_config(self.home / "store"),
            self.landing.to_config(self.home / "landing"),
            replace(LoopConfig(**self.loop.model_dump()), cache_folder=cache),
            LabelingConfig(
                backend=self.labeling.backend,
                url=self.labeling.url,
                api_key=self.labeling.api_key.get_secret_value(),
                project=self.labeling.project,
                mode=self.labeling.mode,
                honeypot_share=self.labeling.honeypot_share,
                overlap_share=self.labeling.overlap_share,
            ),
            self.landing_prefix,
            IngestConfig(**self.ingest.model_dump()),
        )


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        ConfigError: if a variable with our prefix is unknown, or a value is not allowed.
    """
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    for name in os.environ:
        if name.startswith(PREFIX) and name.split("__")[0].upper() not in known:
            raise ConfigError(f"unknown setting {name}; known: {', '.join(sorted(known))}")
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigError(
            "; ".join(_explain(item["loc"], item["msg"]) for item in error.errors())
        ) from error


def _explain(location: tuple[int | str, ...], message: str) -> str:
    """Return one problem with the name of the variable to correct."""
    return f"{PREFIX}{'__'.join(str(part) for part in location).upper()}: {message}"
