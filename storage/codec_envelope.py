"""The envelope of an encoded sweep: header, directory of streams, zstd frames, checksum.

Believes no number in the bytes that does not fit the others, so that a forged or damaged file ends
in an error and takes no more memory than its number of points explains.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from scene.errors import FormatError

MAGIC: Final = b"SLPC"
VERSION: Final = 1
LOSSLESS, HAS_RING, HAS_TIME = 1, 2, 4
MAX_POINTS: Final = 1 << 26

_HEADER = struct.Struct("<4sBBHIdI")  # magic, version, flags, streams, points, step_m, time_step_ns
_STREAM = struct.Struct("<II")  # raw size, stored size
_CRC = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Header:
    """The fixed part of an encoded sweep.

    Attributes:
        flags: LOSSLESS, HAS_RING, HAS_TIME.
        num_points: N.
        step_m: resolution of coordinates, meters.
        time_step_ns: usual time between neighbours.
    """

    flags: int
    num_points: int
    step_m: float
    time_step_ns: int

    @property
    def lossless(self) -> bool:
        """Whether coordinates and intensity are float bits."""
        return bool(self.flags & LOSSLESS)

    @property
    def has_ring(self) -> bool:
        """Whether there are beam numbers."""
        return bool(self.flags & HAS_RING)

    @property
    def has_time(self) -> bool:
        """Whether there are times."""
        return bool(self.flags & HAS_TIME)

    @property
    def num_streams(self) -> int:
        """How many streams the flags ask for."""
        return (16 if self.lossless else 10) + 3 * self.has_ring + 6 * self.has_time


def seal(header: Header, planes: Sequence[NDArray[np.uint8]]) -> bytes:
    """Compress the planes and put header, directory, streams and checksum together."""
    compressor = zstandard.ZstdCompressor(level=1)
    stored = [compressor.compress(plane.data) if len(plane) else b"" for plane in planes]
    directory = b"".join(_STREAM.pack(len(p), len(s)) for p, s in zip(planes, stored, strict=True))
    head = _HEADER.pack(
        MAGIC,
        VERSION,
        header.flags,
        len(planes),
        header.num_points,
        header.step_m,
        header.time_step_ns,
    )
    body = b"".join([head, directory, *stored])
    return body + _CRC.pack(zlib.crc32(body))


def unseal(data: bytes) -> tuple[Header, list[bytes]]:
    """Check the envelope; return the header and the raw streams.

    Raises:
        FormatError: if anything in it does not fit.
    """
    if len(data) < _HEADER.size + _CRC.size or data[:4] != MAGIC:
        raise FormatError(f"point codec: {len(data)} bytes that do not begin with {MAGIC!r}")
    _, version, flags, num_streams, *numbers = _HEADER.unpack_from(data)
    if version != VERSION:
        raise FormatError(f"point codec: version {version}; this reader knows version {VERSION}")
    if _CRC.unpack(data[-_CRC.size :])[0] != zlib.crc32(memoryview(data)[: -_CRC.size]):
        raise FormatError(f"point codec: checksum of {len(data)} bytes is wrong: damaged or cut")
    header = Header(flags, *numbers)
    known = flags & ~(LOSSLESS | HAS_RING | HAS_TIME) == 0 and num_streams == header.num_streams
    sane = header.num_points <= MAX_POINTS and isfinite(header.step_m) and header.step_m > 0
    start = _HEADER.size + num_streams * _STREAM.size
    if not (known and sane and start <= len(data) - _CRC.size):
        raise FormatError(f"point codec: a header that cannot be: {header}, {num_streams} streams")
    return header, _streams(data, header, start)


def _streams(data: bytes, header: Header, start: int) -> list[bytes]:
    """Decompress every stream whose size fits the number of points."""
    decompressor = zstandard.ZstdDecompressor()
    sizes = list(_STREAM.iter_unpack(memoryview(data)[_HEADER.size : start]))
    if start + sum(stored for _, stored in sizes) != len(data) - _CRC.size:
        raise FormatError("point codec: stream sizes do not add up to the length of the bytes")
    streams = []
    for raw, stored in sizes:
        if raw > 4 * header.num_points:
            raise FormatError(f"point codec: a stream of {raw} bytes at byte {start} is too large")
        streams.append(_decompress(decompressor, data[start : start + stored], raw, start))
        start += stored
    return streams


def _decompress(
    decompressor: zstandard.ZstdDecompressor, stored: bytes, raw: int, at: int
) -> bytes:
    """Return exactly `raw` bytes of one stream."""
    if not raw:
        return b""
    try:
        if zstandard.frame_content_size(stored) == raw:
            return decompressor.decompress(stored)
    except zstandard.ZstdError as error:
        raise FormatError(f"point codec: stream at byte {at}: {error}") from error
    raise FormatError(f"point codec: stream at byte {at} does not hold the {raw} bytes it claims")
