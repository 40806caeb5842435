"""Random KITTI labels with imperfect detections, for evaluation tests and figures."""

from __future__ import annotations

import numpy as np

from scene.box import Boxes
from training.evaluation.kitti import KittiObjects

KINDS = ("Car", "Van", "Pedestrian", "Person_sitting", "Cyclist", "Truck", "DontCare")
SIZE = {"Car": (3.9, 1.6, 1.5), "Van": (5, 1.9, 2.2), "Truck": (8, 2.5, 3.2),
        "Cyclist": (1.8, 0.6, 1.7), "DontCare": (-1, -1, -1)}  # fmt: skip


def labels(rng, count, kinds=KINDS):
    """Return labels of all kinds, sizes in the image, occlusions and truncations."""
    names = rng.choice(list(kinds), count)
    size = np.array([SIZE.get(str(n), (0.8, 0.6, 1.75)) for n in names]).reshape(count, 3)
    center = np.stack([rng.uniform(5, 40, count), rng.uniform(-15, 15, count), size[:, 2] / 2], 1)
    center[names == "DontCare"] = -1000
    corner, side = rng.uniform(0, 1000, (count, 2)), rng.uniform(20, 120, (count, 2))
    return KittiObjects(
        Boxes.make(center, size, rng.uniform(-np.pi, np.pi, count), names),
        np.concatenate([corner, corner + side], axis=1),
        rng.uniform(-np.pi, np.pi, count),
        rng.choice([0.0, 0.1, 0.2, 0.4, 0.8], count),
        rng.choice([0.0, 0.0, 1.0, 2.0, 3.0], count),
    )


def chosen(objects, index):
    return KittiObjects(
        objects.boxes.take(index), *(
            getattr(objects, name)[index]
            for name in ("rectangle_px", "alpha_rad", "truncation", "occlusion")
        )
    )  # fmt: skip


def detected(rng, truth, noise=1.0, miss=0.15, clutter=3, levels=None):
    """Return the labels moved, some missing, some of another class, some invented."""
    solid = np.flatnonzero(truth.boxes.category != "DontCare")
    kept = chosen(truth, solid[rng.random(len(solid)) > miss])
    extra = labels(rng, clutter, KINDS[:-1])
    count = len(kept) + clutter
    boxes = Boxes.concatenate([kept.boxes, extra.boxes])
    other = rng.random(count) < 0.1
    category = np.where(other, rng.choice(["Car", "Pedestrian", "Cyclist"], count), boxes.category)
    score = rng.random(count)
    score = score if levels is None else np.round(score * levels) / levels
    moved = Boxes.make(
        boxes.center_xyz_m + rng.normal(0, 0.12 * noise, (count, 3)),
        boxes.size_lwh_m * rng.uniform(0.93, 1.07, (count, 3)),
        boxes.yaw_rad + rng.normal(0, 0.06 * noise, count),
        category,
        score=score,
    )
    rectangle = np.concatenate([kept.rectangle_px, extra.rectangle_px])
    return KittiObjects(
        moved,
        rectangle + rng.normal(0, 2.0 * noise, (count, 4)),
        np.concatenate([kept.alpha_rad, extra.alpha_rad]) + rng.normal(0, 0.2, count),
        np.zeros(count),
        np.zeros(count),
    )


def images(seed, number, **how):
    rng = np.random.default_rng(seed)
    truth = [labels(rng, int(rng.integers(0, 14))) for _ in range(number)]
    return truth, [detected(rng, objects, **how) for objects in truth]
