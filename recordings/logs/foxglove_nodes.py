"""Messages of Foxglove's schemas, seen the same way in protobuf and in JSON.

A reader makes one `Node` of the bytes of a message; a decoder asks it for fields by name. A field
that is missing, as protobuf leaves out zeros and older schemas lack fields, reads as empty. JSON
may hold times and bytes as Foxglove writes them ({"sec", "nsec"}, base64) or as protobuf's own
JSON does (RFC 3339 text, names of enum values).
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from recordings.logs.foxglove_protobuf import message_class
from recordings.logs.log_file import Channel
from scene.errors import FormatError

_INT64: Final = 2**63
_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)"
)
_SECONDS: Final = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s")


class Node(Protocol):
    """One message, or a message inside one. Every reading raises FormatError on a wrong type."""

    def number(self, name: str) -> float:
        """Return a number, 0 if it is missing."""
        ...

    def integer(self, name: str) -> int:
        """Return a whole number, 0 if it is missing."""
        ...

    def numbers(self, name: str) -> list[float]:
        """Return a list of numbers."""
        ...

    def text(self, name: str) -> str:
        """Return a text."""
        ...

    def flag(self, name: str) -> bool:
        """Return a truth value."""
        ...

    def choice(self, name: str, names: Sequence[str]) -> int:
        """Return the number of an enum value, which JSON may hold by its name."""
        ...

    def blob(self, name: str) -> bytes:
        """Return bytes."""
        ...

    def time_ns(self, name: str) -> int:
        """Return nanoseconds of a time or a duration, 0 if it is missing."""
        ...

    def child(self, name: str) -> Node:
        """Return a message inside this one, an empty one if it is missing."""
        ...

    def children(self, name: str) -> list[Node]:
        """Return a list of messages."""
        ...


class _Common:
    """What both kinds share: everything that needs only the raw value of a field."""

    _value: Callable[[str], Any]

    def number(self, name: str) -> float:
        value = self._value(name)
        return 0.0 if value is None else _float(value, name)

    def integer(self, name: str) -> int:
        value = self.number(name)
        if not value.is_integer():
            raise FormatError(f"field {name!r} is no whole number but {value}")
        return int(value)

    def numbers(self, name: str) -> list[float]:
        return [_float(value, name) for value in _sequence(self._value(name), name)]

    def text(self, name: str) -> str:
        value = self._value(name)
        if value is not None and not isinstance(value, str):
            raise FormatError(f"field {name!r} is no text but {_short(value)}")
        return value or ""

    def flag(self, name: str) -> bool:
        return bool(self._value(name))

    def choice(self, name: str, names: Sequence[str]) -> int:
        value = self._value(name)
        is_name = isinstance(value, str) and value in names
        return names.index(value) if is_name else self.integer(name)


class JsonNode(_Common):
    """A JSON object."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self._value = value.get

    def blob(self, name: str) -> bytes:
        """Return bytes; JSON holds them as base64 or as a list of numbers."""
        value = self._value(name)
        if value is None:
            return b""
        if not isinstance(value, (str, list)):
            raise FormatError(f"field {name!r} is not base64 but {_short(value)}")
        try:
            return base64.b64decode(value) if isinstance(value, str) else bytes(value)
        except (ValueError, TypeError) as error:
            raise FormatError(f"field {name!r} is not base64: {error}") from error

    def time_ns(self, name: str) -> int:
        """Return nanoseconds of a time or a duration, 0 if it is missing."""
        value = self._value(name)
        if value is None:
            return 0
        if isinstance(value, str):
            return _checked(_text_ns(value, name), name)
        if not isinstance(value, dict):
            raise FormatError(f"field {name!r} is no time but {_short(value)}")
        parts = JsonNode(value)
        seconds = parts.number("sec") or parts.number("seconds")
        rest = parts.number("nsec") or parts.number("nanosec") or parts.number("nanos")
        if not (math.isfinite(seconds) and math.isfinite(rest)):
            raise FormatError(f"field {name!r} is no time but {_short(value)}")
        whole = math.floor(seconds)
        rest_ns = round(rest) + round((seconds - whole) * 1e9)
        return _checked(whole * 1_000_000_000 + rest_ns, name)

    def child(self, name: str) -> JsonNode:
        """Return a message inside this one, an empty one if it is missing."""
        value = self._value(name)
        return JsonNode(_object({} if value is None else value, name))

    def children(self, name: str) -> list[Node]:
        """Return a list of messages."""
        items = _sequence(self._value(name), name)
        return [JsonNode(_object(item, name)) for item in items]


class ProtobufNode(_Common):
    """A protobuf message."""

    def __init__(self, message: Any) -> None:
        self._message = message

    def _value(self, name: str) -> Any:
        return getattr(self._message, name, None)

    def blob(self, name: str) -> bytes:
        """Return bytes."""
        value = self._value(name)
        if value is not None and not isinstance(value, bytes):
            raise FormatError(f"field {name!r} holds no bytes but {_short(value)}")
        return value or b""

    def time_ns(self, name: str) -> int:
        """Return nanoseconds of a time or a duration, 0 if it is missing."""
        parts = self.child(name)
        seconds, rest = parts.number("seconds"), parts.number("nanos")
        return _checked(int(seconds) * 1_000_000_000 + int(rest), name)

    def child(self, name: str) -> ProtobufNode:
        """Return a message inside this one, an empty one if it is missing."""
        value = self._value(name)
        if value is not None and not hasattr(value, "DESCRIPTOR"):
            raise FormatError(f"field {name!r} is no message but {_short(value)}")
        return ProtobufNode(value)

    def children(self, name: str) -> list[Node]:
        """Return a list of messages."""
        items = _sequence(self._value(name), name)
        if any(not hasattr(item, "DESCRIPTOR") for item in items):
            raise FormatError(f"field {name!r} is no list of messages")
        return [ProtobufNode(item) for item in items]


def node_reader(channel: Channel) -> Callable[[memoryview], Node]:
    """Return a function that makes a node of the bytes of a message of a channel.

    Raises:
        FormatError: if the channel's protobuf definition cannot be understood. So does the
            function, if the bytes are not a message of it.
    """
    if channel.encoding == "json":
        return _read_json
    return _protobuf_reader(channel)


def _read_json(data: memoryview) -> Node:
    try:
        value = json.loads(bytes(data))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not JSON: {error}") from error
    return JsonNode(_object(value, "message"))


def _protobuf_reader(channel: Channel) -> Callable[[memoryview], Node]:
    from google.protobuf.message import DecodeError

    kind = message_class(channel.schema)

    def read(data: memoryview) -> Node:
        try:
            return ProtobufNode(kind.FromString(bytes(data)))
        except DecodeError as error:
            what = f"{len(data)} bytes are no {channel.schema.name}: {error}"
            raise FormatError(what) from error

    return read


def _text_ns(text: str, name: str) -> int:
    """Return nanoseconds of RFC 3339 text, or of a duration such as "1.5s"."""
    match = _RFC3339.fullmatch(text)
    if match:
        zone = "+00:00" if match[3] in "zZ" else match[3]
        try:
            whole = datetime.fromisoformat(match[1].upper().replace(" ", "T") + zone)
        except ValueError as error:
            raise FormatError(f"field {name!r} is no time but {text!r}") from error
        return round((whole - _EPOCH).total_seconds()) * 1_000_000_000 + _fraction(match[2])
    match = _SECONDS.fullmatch(text)
    if not match:
        raise FormatError(f"field {name!r} is no time but {_short(text)}")
    value = int(match[2]) * 1_000_000_000 + _fraction(match[3])
    return -value if match[1] else value


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _fraction(digits: str | None) -> int:
    return int(((digits or "") + "0" * 9)[:9])


def _checked(time_ns: int, name: str) -> int:
    if not -_INT64 <= time_ns < _INT64:
        raise FormatError(f"field {name!r} is a time beyond all clocks: {time_ns} ns")
    return time_ns


def _float(value: Any, name: str) -> float:
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FormatError(f"field {name!r} is no number but {_short(value)}")
    try:
        return float(value)
    except OverflowError as error:
        raise FormatError(f"field {name!r} is too large a number") from error


def _sequence(value: Any, name: str) -> Sequence[Any]:
    if value is None:
        return ()
    if isinstance(value, (str, bytes, dict)) or not hasattr(value, "__len__"):
        raise FormatError(f"field {name!r} is no list but {_short(value)}")
    return value


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"{name!r} is no JSON object but {_short(value)}")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
