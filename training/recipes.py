"""Named settings for data sets: `recipe("kitti")`. `docs/detector.md` shows them as a table.

Areas, pillars, groups, sampling counts and schedules follow the public CenterPoint recipes
(OpenPCDet's cbgs_dyn_pp_centerpoint, CenterPoint's own nuScenes and Waymo configurations); what
differs was measured here or is forced by the ego frame, whose ground is at z 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from scene.errors import ConfigError
from training.config import TrainConfig, demo

_CENTERPOINT: Final = TrainConfig(
    network="centerpoint",
    categories=("car", "truck", "bus", "pedestrian", "bicycle", "motorcycle"),
    groups=(("car",), ("truck", "bus"), ("pedestrian",), ("bicycle", "motorcycle")),
    x_min_m=-51.2, x_max_m=51.2, y_min_m=-51.2, y_max_m=51.2, z_min_m=-1.5, z_max_m=4.5,
    pillar_m=0.2,
    channels=(64, 128, 256, 256),
    point_channels=64,
    head_channels=64,
    output_stride=2,
    least_radius=2,
    batch_size=8,
    learning_rate=1e-3,
    weight_decay=0.01,
    flip=0.5, reverse=0.5, rotation_rad=0.3925, scale=0.05, translation_m=0.2, brightness=0.2,
    object_turn_rad=0.1, object_shift_m=0.2,
    order="epochs",
    rare_boost=1.0,
    iou_power=0.5,
    nms_iou=0.2,
    velocity_weight=0.2,
    ema=0.999,
    max_boxes=300,
    checkpoint_every=500,
)  # fmt: skip


def fleet() -> TrainConfig:
    """Return the one for the generated fleet: 20 minutes on a processor, less on an accelerator."""
    return replace(
        _CENTERPOINT,
        categories=("car", "truck", "pedestrian", "bicycle"),
        groups=(("car", "truck"), ("pedestrian", "bicycle")),
        x_min_m=-12.8, x_max_m=51.2, y_min_m=-25.6, y_max_m=25.6, z_min_m=-0.6, z_max_m=3.8,
        channels=(32, 48, 96),
        point_channels=16,
        head_channels=32,
        batch_size=4,
        iterations=500,
        learning_rate=2e-3,
        paste=(("bicycle", 2), ("pedestrian", 4)),
        velocity_weight=0.05,
        ema=0.99,
        checkpoint_every=50,
        max_boxes=128,
    )  # fmt: skip


def kitti() -> TrainConfig:
    """Return the one for KITTI: the front of the car, in fine pillars; 80 epochs of 3,712."""
    return replace(
        _CENTERPOINT,
        categories=("car", "truck", "bus", "pedestrian", "bicycle"),
        groups=(("car", "truck", "bus"), ("pedestrian", "bicycle")),
        x_min_m=0.0, x_max_m=69.12, y_min_m=-39.68, y_max_m=39.68, z_min_m=-1.0, z_max_m=4.0,
        pillar_m=0.16,
        iterations=37_000,
        reverse=0.0,
        rotation_rad=0.785,
        paste=(("bicycle", 8), ("car", 15), ("pedestrian", 8)),
        paste_turn_rad=0.0,
        velocity_weight=0.0,
    )  # fmt: skip


def nuscenes() -> TrainConfig:
    """Return the one for nuScenes: ten categories, ten sweeps; 20 epochs of 28,130, batch 16."""
    return replace(
        _CENTERPOINT,
        categories=(
            "car", "truck", "construction_vehicle", "bus", "trailer", "barrier", "motorcycle",
            "bicycle", "pedestrian", "traffic_cone",
        ),
        groups=(
            ("car",), ("truck", "construction_vehicle"), ("bus", "trailer"), ("barrier",),
            ("motorcycle", "bicycle"), ("pedestrian", "traffic_cone"),
        ),
        num_sweeps=10,
        max_points=400_000,
        output_stride=4,
        batch_size=16,
        iterations=35_000,
        paste=(
            ("barrier", 2), ("bicycle", 6), ("bus", 4), ("car", 2), ("construction_vehicle", 7),
            ("motorcycle", 6), ("pedestrian", 2), ("traffic_cone", 2), ("trailer", 6),
            ("truck", 3),
        ),
        max_boxes=500,
    )  # fmt: skip


def argoverse2() -> TrainConfig:
    """Return the one for Argoverse 2: 77 m each way, five sweeps; 6 epochs of 110,000, batch 16."""
    return replace(
        _CENTERPOINT,
        categories=(
            "car", "truck", "bus", "trailer", "pedestrian", "bicycle", "motorcycle",
            "traffic_cone",
        ),
        groups=(
            ("car",), ("truck", "bus", "trailer"), ("pedestrian", "traffic_cone"),
            ("bicycle", "motorcycle"),
        ),
        x_min_m=-76.8, x_max_m=76.8, y_min_m=-76.8, y_max_m=76.8,
        num_sweeps=5,
        max_points=400_000,
        output_stride=4,
        batch_size=16,
        iterations=41_000,
        paste=(
            ("bicycle", 4), ("bus", 2), ("motorcycle", 4), ("pedestrian", 2),
            ("traffic_cone", 2), ("trailer", 3), ("truck", 2),
        ),
        max_boxes=500,
    )  # fmt: skip


def pandaset() -> TrainConfig:
    """Return the one for PandaSet: 0.4 m cells all around, three sweeps; 20 epochs, batch 8."""
    return replace(
        _CENTERPOINT,
        num_sweeps=3,
        max_points=350_000,
        iterations=16_000,
        paste=(
            ("bicycle", 4), ("bus", 2), ("car", 3), ("motorcycle", 4), ("pedestrian", 4),
            ("truck", 3),
        ),
    )  # fmt: skip


RECIPES: Final[dict[str, Callable[[], TrainConfig]]] = {
    "small": demo,  # for processors: learns on some 40 frames in a minute or two
    "fleet": fleet,
    "kitti": kitti,
    "nuscenes": nuscenes,
    "argoverse2": argoverse2,
    "pandaset": pandaset,
}


def recipe(name: str) -> TrainConfig:
    """Return the settings of a recipe.

    Raises:
        ConfigError: if there is none of that name.
    """
    try:
        return RECIPES[name]()
    except KeyError:
        raise ConfigError(f"no recipe is called {name!r}; there are {', '.join(RECIPES)}") from None
