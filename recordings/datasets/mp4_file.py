"""How many frames an MP4 video holds and in which codec, without decoding it.

Source: ISO/IEC 14496-12, boxes `moov.trak.mdia.hdlr` and `moov.trak.mdia.minf.stbl.{stsd,stsz}`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from scene.errors import FormatError

_CODECS: Final = {
    "avc1": "h264", "avc3": "h264", "hvc1": "h265", "hev1": "h265", "av01": "av1", "vp09": "vp9",
    "mp4v": "mpeg4",
}  # fmt: skip
_INSIDE: Final = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_MAX_BOXES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Video:
    """What the index of a video says.

    Attributes:
        codec: "h264", "h265", "av1" and so on, else the four letters of the file.
        num_frames: frames of the first video track.
    """

    codec: str
    num_frames: int


def read_video(path: Path) -> Video:
    """Read the index of a video.

    Raises:
        FormatError: if the file is no MP4, is cut off, or has no video track.
    """
    size = path.stat().st_size
    handler, codec, kinds = b"", "", 0
    found: Video | None = None
    with path.open("rb") as stream:
        for kind, start, end in _boxes(stream, 0, size, path.name):
            kinds += 1
            if kinds == 1 and kind not in (b"ftyp", b"moov", b"styp", b"wide", b"free"):
                raise FormatError(f"{path.name}: not an MP4 video")
            if kinds > _MAX_BOXES:
                raise FormatError(f"{path.name}: over {_MAX_BOXES} boxes in its index")
            if kind == b"trak":
                handler, codec = b"", ""
            elif kind == b"hdlr":
                handler = _at(stream, start + 8, 4)
            elif kind == b"stsd" and end - start >= 16:
                codec = _at(stream, start + 12, 4).decode("latin-1")
            elif kind == b"stsz" and handler == b"vide" and end - start >= 12 and found is None:
                count = struct.unpack(">I", _at(stream, start + 8, 4))[0]
                found = Video(_CODECS.get(codec, codec), count)
    if found is not None:  # the walk went on: the pictures may be cut off behind the index
        return found
    raise FormatError(f"{path.name}: {size} bytes without the index of a video; is it cut off?")


def _boxes(stream: BinaryIO, at: int, end: int, name: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the content of each box, and of those inside containers."""
    stack = [(at, end)]
    while stack:
        at, end = stack.pop()
        if at + 8 > end:
            continue
        size, kind = struct.unpack(">I4s", _at(stream, at, 8).ljust(8, b"\0"))
        start = at + 8
        if size == 1:
            size, start = struct.unpack(">Q", _at(stream, at + 8, 8).ljust(8, b"\0"))[0], at + 16
        stop = end if size == 0 else at + size
        if stop < start or stop > end:
            raise FormatError(
                f"{name}: the box at byte {at} goes to byte {stop}, its room ends at {end}; "
                "the file is cut off or damaged"
            )
        yield kind, start, stop
        stack.append((stop, end))
        if kind in _INSIDE:
            stack.append((start, stop))


def _at(stream: BinaryIO, offset: int, count: int) -> bytes:
    stream.seek(offset)
    return stream.read(count)
