"""What road users look like to a lidar: exact outer size and the solids inside it.

Local frame: x forward, y left, origin on the ground under the middle of the box.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulation.primitives import GLASS, PrimitiveList, Primitives


@dataclass(frozen=True, slots=True)
class Shape:
    """One body.

    Attributes:
        category: name of `scene.taxonomy`.
        size_lwh_m: length, width, height of the box around it.
        parts: its solids, local frame.
        stride_m: ground covered in one gait cycle; 0 for what rolls.
    """

    category: str
    size_lwh_m: tuple[float, float, float]
    parts: Primitives
    stride_m: float = 0.0


_CAR_STYLES: dict[str, tuple[tuple[float, float, float], float, float, float]] = {
    # mean size, height of the bonnet and the cabin's rear and front end as shares of the length
    "hatchback": ((4.05, 1.76, 1.48), 0.62, 0.03, 0.70),
    "sedan": ((4.75, 1.85, 1.46), 0.62, 0.16, 0.70),
    "suv": ((4.65, 1.92, 1.70), 0.62, 0.02, 0.72),
    "van": ((5.15, 2.00, 1.98), 0.58, 0.01, 0.82),
}


def car(rng: np.random.Generator, style: str = "") -> Shape:
    """Make a passenger car: chassis with bonnet, cabin of glass and roof, wheels."""
    names = list(_CAR_STYLES)
    style = style or str(rng.choice(names, p=[0.32, 0.3, 0.28, 0.1]))
    mean, bonnet, rear, front = _CAR_STYLES[style]
    length, width, height = (float(m * rng.normal(1.0, 0.04)) for m in mean)
    paint = float(rng.choice([0.12, 0.3, 0.5, 0.7])) * float(rng.uniform(0.85, 1.15))
    parts = PrimitiveList()
    sill, waist = 0.24, height * bonnet
    parts.box((0, 0), (length, width), (sill, waist), paint)
    cabin = ((rear + front) / 2 - 0.5) * length
    cabin_length, cabin_width = (front - rear) * length, width * 0.88
    parts.box((cabin, 0), (cabin_length, cabin_width), (waist, height - 0.12), 0.25, surface=GLASS)
    parts.box((cabin, 0), (cabin_length * 0.8, cabin_width * 0.95), (height - 0.12, height), paint)
    parts.box((cabin, 0), (0.15, cabin_width + 0.02), (waist, height - 0.1), paint)  # B pillars
    _axles(parts, (0.31 * length, -0.29 * length), width, 0.33)
    return Shape("car", (length, width, height), parts.build())


def truck(rng: np.random.Generator) -> Shape:
    """Make a lorry: cab, cargo box, wheels."""
    length, width = float(rng.uniform(6.2, 9.5)), float(rng.uniform(2.2, 2.5))
    height = float(rng.uniform(2.7, 3.6))
    paint = float(rng.uniform(0.3, 0.75))
    parts = PrimitiveList()
    cab = float(rng.uniform(1.7, 2.2))
    parts.box(((length - cab) / 2, 0), (cab, width * 0.96), (0.45, height * 0.8), paint * 0.8)
    parts.box((-cab / 2 - 0.1, 0), (length - cab - 0.2, width), (0.95, height), paint)
    parts.box((0, 0), (length * 0.96, width * 0.7), (0.55, 0.95), 0.2)
    _axles(parts, (0.36 * length, -0.28 * length), width, 0.5)
    return Shape("truck", (length, width, height), parts.build())


def bus(rng: np.random.Generator) -> Shape:
    """Make a city bus."""
    length, width = float(rng.uniform(10.5, 12.2)), float(rng.uniform(2.5, 2.65))
    height = float(rng.uniform(3.0, 3.3))
    paint = float(rng.uniform(0.4, 0.75))
    parts = PrimitiveList()
    parts.box((0, 0), (length, width), (0.3, 1.25), paint)
    parts.box((0, 0), (length * 0.995, width * 0.98), (1.25, 2.4), 0.25, surface=GLASS)
    for x in np.linspace(-0.46, 0.46, 6) * length:
        parts.box((float(x), 0), (0.18, width), (1.25, 2.4), paint)
    parts.box((0, 0), (length, width), (2.4, height), paint)
    _axles(parts, (0.28 * length, -0.24 * length), width, 0.48)
    return Shape("bus", (length, width, height), parts.build())


def pedestrian(rng: np.random.Generator, child: bool = False) -> Shape:
    """Make a walking person: head, torso, swinging arms and legs."""
    height = float(np.clip(rng.normal(1.24, 0.07) if child else rng.normal(1.73, 0.08), 1.05, 1.98))
    scale = height / 1.75
    shoulder = 0.46 * scale * float(rng.uniform(0.95, 1.2))
    depth = 0.25 * scale * float(rng.uniform(0.95, 1.25))
    coat, trousers, skin = (float(rng.uniform(*r)) for r in ((0.2, 0.75), (0.12, 0.55), (0.4, 0.6)))
    hip, neck = 0.48 * height, 0.84 * height
    step = 0.2 * scale
    leg, arm = 0.085 * scale, 0.055 * scale
    parts = PrimitiveList()
    parts.box((0, 0), (depth, shoulder), (hip, neck), coat)
    parts.cylinder((0.02, 0), 0.105 * scale, (neck, height), skin)
    for side in (-1.0, 1.0):
        parts.cylinder((0, side * 0.1 * scale), leg, (0.0, hip), trousers, swing_m=side * step)
        reach = side * (shoulder / 2 + arm)
        parts.cylinder((0, reach), arm, (hip, neck - 0.05), coat, swing_m=-side * step * 0.7)
    width = shoulder + 4 * arm + 0.02
    length = max(2 * (step + leg), depth) + 0.04
    return Shape("pedestrian", (length, width, height), parts.build(), stride_m=1.4 * scale)


def bicycle(rng: np.random.Generator) -> Shape:
    """Make a bicycle with its rider."""
    length = float(rng.uniform(1.65, 1.85))
    height = float(rng.uniform(1.62, 1.82))
    width = float(rng.uniform(0.56, 0.68))
    coat = float(rng.uniform(0.2, 0.8))
    parts = PrimitiveList()
    for x in (-0.5, 0.5):
        parts.box((x * (length - 0.66), 0), (0.66, 0.05), (0.0, 0.66), 0.25)
    parts.box((0, 0), (length - 0.7, 0.06), (0.45, 0.85), 0.4)
    parts.box((0.4, 0), (0.08, width), (0.95, 1.05), 0.3)
    parts.box((-0.05, 0), (0.34, 0.42), (0.95, height - 0.27), coat)
    parts.cylinder((0.1, 0), 0.11, (height - 0.27, height), 0.5)
    for side in (-1.0, 1.0):
        parts.cylinder((0.05, side * 0.13), 0.08, (0.3, 0.95), 0.3, swing_m=side * 0.09)
    return Shape("bicycle", (length, width, height), parts.build(), stride_m=4.5)


def _axles(
    parts: PrimitiveList, places_m: tuple[float, ...], width_m: float, radius_m: float
) -> None:
    """Add wheels at the given distances ahead of the middle."""
    for x in places_m:
        for side in (-1.0, 1.0):
            y = side * (width_m / 2 - 0.13)
            parts.box((x, y), (radius_m * 1.7, 0.22), (0.0, radius_m * 1.6), 0.08)
