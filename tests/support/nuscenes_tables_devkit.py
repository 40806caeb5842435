"""The official nuScenes devkit as an oracle for its tables, loaded without its plotting stack.

`nuscenes/nuscenes.py` imports matplotlib, scikit-learn and OpenCV for drawing only. Those of them
that are not installed are replaced by empty modules while it is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from typing import Any, NamedTuple

INSTALL = "make oracle"
_DRAWING = ("matplotlib", "sklearn", "cv2", "pycocotools", "descartes", "fire", "cachetools",
            "tqdm", "shapely")  # fmt: skip


class TablesDevkit(NamedTuple):
    """The devkit's loader of tables, its box, and its test for points inside a box."""

    NuScenes: Any
    Box: Any
    points_in_box: Any


class _Empty(types.ModuleType):
    """A module that has every name, as a class whose objects leave what they decorate alone."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = {"__init__": lambda *_, **__: None, "__call__": lambda _, decorated: decorated}
        return type(name, (), made)


class _Finder:
    """Finds empty modules in place of what is not installed."""

    def __init__(self, missing: set[str]) -> None:
        self.missing = missing

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> Any:
        return ModuleSpec(name, self) if name.partition(".")[0] in self.missing else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def load_tables_devkit() -> TablesDevkit | None:
    """Return the devkit, or None where it is not installed; leaves `sys.modules` as it was."""
    needed = ("nuscenes", "pyquaternion")
    if any(name not in sys.modules and importlib.util.find_spec(name) is None for name in needed):
        return None
    finder = _Finder({name for name in _DRAWING if importlib.util.find_spec(name) is None})
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if _ours(name, finder)}
    sys.meta_path.append(finder)  # type: ignore[arg-type]
    try:
        classes = importlib.import_module("nuscenes.utils.data_classes")
        return TablesDevkit(
            importlib.import_module("nuscenes.nuscenes").NuScenes,
            classes.Box,
            importlib.import_module("nuscenes.utils.geometry_utils").points_in_box,
        )
    finally:
        sys.meta_path.remove(finder)  # type: ignore[arg-type]
        for name in [name for name in sys.modules if _ours(name, finder)]:
            del sys.modules[name]
        sys.modules.update(before)


def _ours(name: str, finder: _Finder) -> bool:
    return name.partition(".")[0] in {"nuscenes", *finder.missing}
