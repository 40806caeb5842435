"""Categories, their borders with other data sets, and what is usual about their size.

The detection categories and evaluation ranges are those of the nuScenes detection task, so that
metrics can be compared with published ones.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Category(NamedTuple):
    """One detection category.

    Attributes:
        name: nuScenes detection name.
        max_range_m: evaluation range from the ego origin, in the ground plane.
        size_lwh_m: usual length, width, height.
        color_rgb: colour in pictures.
    """

    name: str
    max_range_m: float
    size_lwh_m: tuple[float, float, float]
    color_rgb: tuple[int, int, int]


CATEGORIES: Final[tuple[Category, ...]] = (
    Category("car", 50.0, (4.6, 1.9, 1.7), (86, 180, 233)),
    Category("truck", 50.0, (7.5, 2.5, 3.0), (0, 114, 178)),
    Category("bus", 50.0, (11.0, 2.9, 3.4), (0, 158, 115)),
    Category("trailer", 50.0, (12.0, 2.9, 3.9), (102, 166, 30)),
    Category("construction_vehicle", 50.0, (6.5, 2.8, 3.2), (166, 118, 29)),
    Category("pedestrian", 40.0, (0.7, 0.7, 1.75), (230, 159, 0)),
    Category("motorcycle", 40.0, (2.1, 0.8, 1.5), (213, 94, 0)),
    Category("bicycle", 40.0, (1.8, 0.6, 1.6), (204, 121, 167)),
    Category("traffic_cone", 30.0, (0.4, 0.4, 1.0), (240, 228, 66)),
    Category("barrier", 30.0, (0.5, 2.5, 1.0), (153, 153, 153)),
)
CATEGORY: Final[dict[str, Category]] = {category.name: category for category in CATEGORIES}
CATEGORY_NAMES: Final[tuple[str, ...]] = tuple(CATEGORY)
VEHICLES: Final[frozenset[str]] = frozenset(
    {"car", "truck", "bus", "trailer", "construction_vehicle"}
)

_KITTI: Final = {
    "Car": "car", "Van": "car", "Truck": "truck", "Tram": "bus", "Pedestrian": "pedestrian",
    "Person_sitting": "pedestrian", "Person (sitting)": "pedestrian", "Cyclist": "bicycle",
}  # fmt: skip
_AV2: Final = {
    "REGULAR_VEHICLE": "car", "LARGE_VEHICLE": "truck", "BOX_TRUCK": "truck", "TRUCK": "truck",
    "TRUCK_CAB": "truck", "BUS": "bus", "SCHOOL_BUS": "bus", "ARTICULATED_BUS": "bus",
    "VEHICULAR_TRAILER": "trailer", "PEDESTRIAN": "pedestrian", "WHEELED_RIDER": "bicycle",
    "BICYCLE": "bicycle", "BICYCLIST": "bicycle", "MOTORCYCLE": "motorcycle",
    "MOTORCYCLIST": "motorcycle", "CONSTRUCTION_CONE": "traffic_cone",
    "OFFICIAL_SIGNALER": "pedestrian", "STROLLER": "pedestrian", "WHEELCHAIR": "pedestrian",
    "CONSTRUCTION_BARREL": "traffic_cone",
}  # fmt: skip
_PANDASET: Final = {
    "Car": "car", "Pickup Truck": "car", "Medium-sized Truck": "truck", "Semi-truck": "truck",
    "Towed Object": "trailer", "Motorcycle": "motorcycle", "Other Vehicle - Uncommon": "car",
    "Other Vehicle - Construction Vehicle": "construction_vehicle", "Bus": "bus",
    "Other Vehicle - Pedicab": "bicycle", "Emergency Vehicle": "truck", "Bicycle": "bicycle",
    "Motorized Scooter": "motorcycle", "Personal Mobility Device": "pedestrian",
    "Pedestrian": "pedestrian", "Pedestrian with Object": "pedestrian", "Cones": "traffic_cone",
    "Pylons": "traffic_cone", "Road Barriers": "barrier", "Construction Signs": "barrier",
    "Temporary Construction Barriers": "barrier",
}  # fmt: skip
_NUSCENES: Final = {
    "vehicle.car": "car", "vehicle.truck": "truck", "vehicle.bus.bendy": "bus",
    "vehicle.bus.rigid": "bus", "vehicle.trailer": "trailer",
    "vehicle.construction": "construction_vehicle", "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian", "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.police_officer": "pedestrian", "vehicle.motorcycle": "motorcycle",
    "vehicle.bicycle": "bicycle", "movable_object.trafficcone": "traffic_cone",
    "movable_object.barrier": "barrier",
}  # fmt: skip
_ANY: Final[dict[str, str]] = {
    **{name.lower(): name for name in CATEGORY_NAMES},
    **{
        source.lower(): name
        for table in (_NUSCENES, _AV2, _PANDASET, _KITTI)
        for source, name in table.items()
    },
}


def to_category(source_name: str) -> str | None:
    """Return our category for a name used by KITTI, Argoverse 2, PandaSet or nuScenes.

    `None` means the object is real but not a detection category (an animal, a sign).
    """
    return _ANY.get(source_name.strip().lower())
