"""What a training does: area, network, schedule. Frozen, serialisable, with a digest."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Final

from scene.errors import ConfigError
from scene.taxonomy import CATEGORY

# Settings that change how fast a model is made, or when it can resume, but not which model it is.
_NOT_IDENTITY: Final = frozenset({"num_threads", "checkpoint_every", "precision", "compile"})
_PRECISIONS: Final = ("auto", "float32", "bfloat16")
_ORDERS: Final = ("draw", "epochs")
_LATER: Final = frozenset(
    {
        "num_sweeps", "order", "shards", "network", "output_stride", "groups", "point_channels",
        "head_channels", "iou_power", "nms_iou", "velocity_weight", "translation_m",
        "object_turn_rad", "object_shift_m", "paste_turn_rad", "least_radius", "ema",
    }
)  # fmt: skip
_NETWORKS: Final = ("histogram", "centerpoint")
_NUMBERS: Final[dict[str, type]] = {"int": Integral, "float": Real}
_COUNTS: Final = (
    "iterations", "batch_size", "checkpoint_every", "max_boxes", "max_points", "z_bins",
    "point_channels", "head_channels",
)  # fmt: skip
_OUTPUT_STRIDES: Final = (2, 4)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """All settings of one training.

    Attributes:
        categories: detection categories in the order of the output labels.
        x_min_m, x_max_m, y_min_m, y_max_m: the ground the detector sees, ego frame.
        z_min_m, z_max_m: the heights it looks at, in `z_bins` slices.
        z_bins: height slices of the occupancy input.
        pillar_m: side of a pillar; occupancy is read at half of it.
        channels: of the stages at stride 2, 4, 8 (and 16); multiples of 16 suit the processors.
        iterations: optimiser steps.
        batch_size: frames a step.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: of AdamW.
        seed: of weights, order and augmentation.
        flip: chance of mirroring a training frame left to right.
        rotation_rad: frames are turned by up to this much either way.
        scale: frames are scaled by up to this much either way.
        brightness: intensities are scaled by up to this much either way.
        reverse: chance of turning a frame by half a turn (front becomes rear).
        paste: objects of other frames pasted into a frame, by category; names that are not among
            `categories` do nothing.
        rare_boost: 0 draws frames evenly, 1 draws frames with rare categories more often.
        regression_weight: weight of the box loss beside the heat map loss.
        min_points: boxes with fewer lidar points are neither truth nor background.
        checkpoint_every: optimiser steps between checkpoints.
        score_threshold: predictions below it are not reported by the detector.
        max_boxes: predictions a frame.
        max_points: points of a training frame; more are thinned at random.
        num_sweeps: sweeps joined to a frame; above 1, points carry their lag as a fifth column.
        order: "draw" draws the frames of a step by chance; "epochs" goes through all frames, and
            repeats those with rare categories, see `training.order`.
        num_threads: CPU threads; 0 takes the cores this process may use, at most 8. Bfloat16 on a
            processor always runs on one.
        precision: of the convolutions while training: "float32", "bfloat16", or "auto", which is
            bfloat16 where the processor multiplies it in hardware.
        shards: parts of a batch whose gradients are made apart and averaged. As many workers, or
            fewer that divide them, make the same model bit for bit.
        network: "histogram" (`training.model`: small, for processors) or "centerpoint"
            (`training.centerpoint`: a learned point network and a deeper backbone). Everything
            below is read by "centerpoint" alone, but for `velocity_weight`.
        output_stride: pillars per cell of the heat map, along each axis.
        groups: categories that share a centre head; empty puts all of them into one.
        point_channels: of the point network.
        head_channels: of the neck's result and of every head.
        iou_power: the score is `heat ** (1 - a) * iou ** a`; 0 leaves the predicted IoU out.
        nms_iou: of boxes of one category that overlap more, the best stays (after export: by the
            caller); 0 leaves that to the heat map's own 3x3 competition.
        velocity_weight: of the velocity in the box loss. One sweep says little about it.
        translation_m: frames are moved by a normal distribution of this width along x, y and z.
        object_turn_rad, object_shift_m: every object is turned by up to this much about its own
            centre and moved by up to this much in the plane, with its points.
        paste_turn_rad: pasted objects are turned about the ego by up to this much.
        least_radius: cells that the peak of a small object reaches.
        ema: decay of the moving average of the weights, which is what is exported; 0 for none.
        compile: compile the dense part of the network; pays on an accelerator.
    """

    categories: tuple[str, ...] = ("car", "truck", "pedestrian", "bicycle")
    x_min_m: float = -12.8
    x_max_m: float = 51.2
    y_min_m: float = -25.6
    y_max_m: float = 25.6
    z_min_m: float = -0.6
    z_max_m: float = 3.8
    z_bins: int = 11
    pillar_m: float = 0.4
    channels: tuple[int, ...] = (48, 64, 96)
    iterations: int = 360
    batch_size: int = 4
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    seed: int = 0
    flip: float = 0.5
    rotation_rad: float = 0.35
    scale: float = 0.05
    brightness: float = 0.15
    reverse: float = 0.3
    paste: tuple[tuple[str, int], ...] = (("bicycle", 2), ("pedestrian", 4))
    rare_boost: float = 0.5
    regression_weight: float = 0.25
    min_points: int = 1
    checkpoint_every: int = 50
    score_threshold: float = 0.05
    max_boxes: int = 128
    max_points: int = 150_000
    num_sweeps: int = 1
    order: str = "draw"
    num_threads: int = 0
    precision: str = "auto"
    shards: int = 1
    network: str = "histogram"
    output_stride: int = 2
    groups: tuple[tuple[str, ...], ...] = ()
    point_channels: int = 64
    head_channels: int = 64
    iou_power: float = 0.0
    nms_iou: float = 0.0
    velocity_weight: float = 0.05
    translation_m: float = 0.0
    object_turn_rad: float = 0.0
    object_shift_m: float = 0.0
    paste_turn_rad: float = math.pi
    least_radius: int = 1
    ema: float = 0.0
    compile: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        self._check_categories()
        self._check_numbers()
        self._check_network()
        if self.shards < 1 or self.batch_size % self.shards:
            raise ConfigError(
                f"training config: batch_size {self.batch_size} must be a multiple of shards "
                f"{self.shards}"
            )
        if self.precision not in _PRECISIONS:
            raise ConfigError(
                f"training config: precision {self.precision!r} is none of {_PRECISIONS}"
            )
        if self.order not in _ORDERS or not 1 <= self.num_sweeps <= 255:
            raise ConfigError(
                f"training config: order {self.order!r} must be one of {_ORDERS} and num_sweeps "
                f"{self.num_sweeps} between 1 and 255"
            )
        for low, high, name in (
            (self.x_min_m, self.x_max_m, "x"),
            (self.y_min_m, self.y_max_m, "y"),
        ):
            pillars = (high - low) / self.pillar_m
            cells = pillars / self.backbone_stride
            if pillars <= 0 or abs(cells - round(cells)) > 1e-6:
                raise ConfigError(
                    f"training config: {name} from {low} to {high} m is {pillars:g} pillars of "
                    f"{self.pillar_m} m; it must be a positive multiple of {self.backbone_stride}"
                )
        if self.max_boxes > self.output_shape[0] * self.output_shape[1]:
            raise ConfigError("training config: max_boxes exceeds the cells of the output grid")

    def _check_numbers(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), _NUMBERS.get(str(field.type))
            if kind and not (isinstance(value, kind) and math.isfinite(value)):
                raise ConfigError(
                    f"training config: {field.name} is {value!r}, expected a finite {field.type}"
                )
        if low := [name for name in _COUNTS if getattr(self, name) < 1]:
            raise ConfigError(f"training config: {', '.join(low)} must be >= 1")
        if negative := [name for name in ("seed", "learning_rate") if getattr(self, name) < 0]:
            raise ConfigError(f"training config: {', '.join(negative)} must be >= 0")
        if self.pillar_m <= 0 or self.z_min_m >= self.z_max_m:
            raise ConfigError(
                f"training config: pillar_m {self.pillar_m} must be above 0, and z_min_m "
                f"{self.z_min_m} below z_max_m {self.z_max_m}"
            )

    def _check_network(self) -> None:
        if self.network not in _NETWORKS:
            raise ConfigError(f"training config: network {self.network!r} is none of {_NETWORKS}")
        counts = (3,) if self.network == "histogram" else (3, 4)
        if len(self.channels) not in counts or min(self.channels) < 1:
            expected = "three" if counts == (3,) else "three or four"
            raise ConfigError(
                f"training config: channels {self.channels} must be {expected} numbers"
            )
        if self.output_stride not in _OUTPUT_STRIDES:
            raise ConfigError(
                f"training config: output_stride {self.output_stride} is none of {_OUTPUT_STRIDES}"
            )
        if not all(0.0 <= share < 1.0 for share in (self.iou_power, self.nms_iou, self.ema)):
            raise ConfigError(
                "training config: iou_power, nms_iou and ema must be at least 0 and below 1"
            )
        if self.network == "histogram" and self.output_stride != 2:
            raise ConfigError("training config: the histogram network has output_stride 2")

    def _check_categories(self) -> None:
        unknown = set(self.categories) - set(CATEGORY)
        if unknown or not self.categories or len(set(self.categories)) != len(self.categories):
            raise ConfigError(
                f"training config: categories {self.categories} must be distinct names of "
                f"{tuple(CATEGORY)}"
            )
        if missing := {name for name, _ in self.paste} - set(CATEGORY):
            raise ConfigError(f"training config: paste names no category: {sorted(missing)}")
        grouped = [name for group in self.groups for name in group]
        if self.groups and (sorted(grouped) != sorted(self.categories) or not all(self.groups)):
            raise ConfigError(
                f"training config: groups {self.groups} must hold every category of "
                f"{self.categories} exactly once"
            )

    @property
    def backbone_stride(self) -> int:
        """The grid must divide by this many pillars along each axis."""
        return 2 ** len(self.channels)

    @property
    def head_groups(self) -> tuple[tuple[str, ...], ...]:
        """Categories by centre head."""
        return self.groups or (self.categories,)

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Pillars along x and y."""
        return (
            round((self.x_max_m - self.x_min_m) / self.pillar_m),
            round((self.y_max_m - self.y_min_m) / self.pillar_m),
        )

    @property
    def output_shape(self) -> tuple[int, int]:
        """Cells of the heat map along x and y."""
        rows, columns = self.grid_shape
        return rows // self.output_stride, columns // self.output_stride

    @property
    def cell_m(self) -> float:
        """Side of a cell of the heat map."""
        return self.pillar_m * self.output_stride

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = asdict(self)
        values["categories"] = list(self.categories)
        values["channels"] = list(self.channels)
        values["paste"] = dict(self.paste)
        values["groups"] = [list(group) for group in self.groups]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Make a config from `to_dict`'s result; missing names take their default.

        Raises:
            ConfigError: if a name is unknown or a value cannot work.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ConfigError(f"training config: unknown settings {sorted(unknown)}")
        known = dict(values)
        try:
            for name in {"categories", "channels"} & set(known):
                known[name] = tuple(known[name])
            if "groups" in known:
                known["groups"] = tuple(tuple(group) for group in known["groups"])
            if "paste" in known:
                known["paste"] = tuple(sorted((k, int(v)) for k, v in dict(known["paste"]).items()))
            return cls(**known)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"training config: a value is of the wrong type: {error}") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the settings that decide which model comes out."""
        usual = {field.name: field.default for field in fields(self)}
        identity = {
            name: value
            for name, value in self.to_dict().items()
            if name not in _NOT_IDENTITY
            # Settings that came later count only where they are used: old names stay.
            and not (name in _LATER and getattr(self, name) == usual[name])
        }
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def demo() -> TrainConfig:
    """Return the recipe of `make demo`'s first model: learns on about 40 frames in a minute."""
    return TrainConfig()


def small() -> TrainConfig:
    """Return a recipe for tests: a third of the area, fewer channels, one thread."""
    return TrainConfig(
        x_min_m=0.0,
        x_max_m=32.0,
        y_min_m=-16.0,
        y_max_m=16.0,
        channels=(32, 48, 64),
        iterations=60,
        checkpoint_every=10,
        max_boxes=32,
        num_threads=1,
        precision="float32",
    )


def finetune(config: TrainConfig) -> TrainConfig:
    """Return the recipe of a turn: gentler steps, starting from the champion."""
    return replace(
        config,
        learning_rate=config.learning_rate * 0.7,
    )
