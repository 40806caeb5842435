"""The official nuScenes devkit as an oracle for its tables."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any, NamedTuple

from tests.support.drawing import without_drawing

INSTALL = "make oracle"


class TablesDevkit(NamedTuple):
    """The devkit's loader of tables, its box, and its test for points inside a box."""

    NuScenes: Any
    Box: Any
    points_in_box: Any


def load_tables_devkit() -> TablesDevkit | None:
    """Return the devkit, or None where it is not installed."""
    needed = ("nuscenes", "pyquaternion")
    if any(name not in sys.modules and importlib.util.find_spec(name) is None for name in needed):
        return None
    with without_drawing("nuscenes"):
        classes = importlib.import_module("nuscenes.utils.data_classes")
        return TablesDevkit(
            importlib.import_module("nuscenes.nuscenes").NuScenes,
            classes.Box,
            importlib.import_module("nuscenes.utils.geometry_utils").points_in_box,
        )
