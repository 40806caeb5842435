"""Imports official devkits without the drawing libraries that they name but tests never use."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from typing import Any

_DRAWING = ("matplotlib", "sklearn", "cv2", "pycocotools", "descartes", "fire", "cachetools",
            "tqdm", "shapely", "av")  # fmt: skip


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


@contextmanager
def without_drawing(package: str) -> Iterator[None]:
    """Within this, a package imports although drawing libraries are not installed.

    Those that are missing are empty modules for that time; `sys.modules` is as before afterwards.
    """
    finder = _Finder({name for name in _DRAWING if importlib.util.find_spec(name) is None})
    before = {n: sys.modules.pop(n) for n in list(sys.modules) if _ours(n, package, finder)}
    sys.meta_path.append(finder)  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.meta_path.remove(finder)  # type: ignore[arg-type]
        for name in [name for name in sys.modules if _ours(name, package, finder)]:
            del sys.modules[name]
        sys.modules.update(before)


def _ours(name: str, package: str, finder: _Finder) -> bool:
    return name.partition(".")[0] in {package, *finder.missing}
