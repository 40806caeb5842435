"""Primitives of ROS messages read by hand: CDR (ROS 2) and the packed encoding of ROS 1."""

from __future__ import annotations

import struct

from scene.errors import FormatError


class Cursor:
    """Reads one message front to back.

    CDR (XCDR1) aligns numbers, counted from after its 4-byte header, and ends texts with a zero;
    ROS 1 does neither and is always little endian. Reading past the end raises struct.error,
    IndexError or FormatError.
    """

    def __init__(self, data: memoryview, encoding: str = "cdr") -> None:
        self._data = data
        self._aligned = encoding == "cdr"
        self._at = 0
        self.order = "<"
        if not self._aligned:
            return
        if len(data) < 8 or data[0] != 0 or data[1] not in (0, 1):
            raise FormatError("the message does not begin with a CDR header (00 00 or 00 01)")
        self.order = "<" if data[1] == 1 else ">"
        self._at = 4

    def u32(self) -> int:
        """Read an unsigned 32-bit number."""
        if self._aligned:
            self._at = (self._at + 3) & ~3
        (value,) = struct.unpack_from(self.order + "I", self._data, self._at)
        self._at += 4
        return value

    def u8(self) -> int:
        """Read a byte."""
        value = self._data[self._at]
        self._at += 1
        return value

    def raw(self) -> memoryview:
        """Read a sequence of bytes, as a view."""
        return self.take(self.u32())

    def take(self, size: int) -> memoryview:
        """Read so many bytes, as a view."""
        if self._at + size > len(self._data):
            raise FormatError(f"{size} bytes announced, {len(self._data) - self._at} left")
        value = self._data[self._at : self._at + size]
        self._at += size
        return value

    def text(self) -> str:
        """Read a text."""
        return bytes(self.raw()).rstrip(b"\0").decode("utf-8", "replace")

    def header(self) -> tuple[int, str]:
        """Read a std_msgs/Header: stamp in nanoseconds, frame without leading slash."""
        if not self._aligned:
            self.u32()  # seq
        seconds, nanoseconds = self.u32(), self.u32()
        if self._aligned and seconds >= 2**31:  # ROS 2 has signed seconds
            seconds -= 2**32
        return seconds * 1_000_000_000 + nanoseconds, self.text().lstrip("/")


def header_of(data: memoryview, encoding: str) -> tuple[int, str]:
    """Return stamp and frame of any message that begins with a std_msgs/Header.

    Raises:
        FormatError: if the bytes are too short for it or are not of the encoding.
    """
    try:
        return Cursor(data, encoding).header()
    except (struct.error, IndexError) as error:
        raise FormatError(f"message of {len(data)} bytes is too short for a header") from error
