"""Frozen dataclasses to JSON values and back, by their declared types."""

from __future__ import annotations

import base64
import math
import types
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

_T = TypeVar("_T")


def to_plain(value: Any) -> Any:
    """Return a JSON value of dataclasses, tuples, bytes, numbers and texts."""
    if is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple | list):
        return [to_plain(v) for v in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def from_plain(kind: Any, value: Any) -> Any:
    """Make a value of a declared type from JSON."""
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        if value is None:
            return None
        return from_plain(next(a for a in get_args(kind) if a is not type(None)), value)
    if origin is tuple:
        inner = get_args(kind)
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(from_plain(inner[0], v) for v in value)
        return tuple(from_plain(k, v) for k, v in zip(inner, value, strict=True))
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        unknown = set(value) - set(hints)
        if unknown:
            raise KeyError(f"{kind.__name__} has no field {min(unknown)!r}")  # type: ignore[union-attr]
        return kind(**{name: from_plain(hints[name], v) for name, v in value.items()})  # type: ignore[operator]
    if kind is bytes:
        return base64.b64decode(value, validate=True)
    return float(value) if kind is float else _same(kind, value)


def _same(kind: type[_T], value: Any) -> _T:
    """Return the value if it is of the kind."""
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {value!r}")
    return value
