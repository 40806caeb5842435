"""The envelope of an encoded sweep: header, directory of streams, zstd frames, checksum.

Believes no number in the bytes that does not fit the others, so that a forged or damaged file ends
in an error and takes no more memory than its number of points explains.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

import numpy as np
import zstandard
from isal.isal_zlib import crc32  # the checksum of zlib, three times as fast
from numpy.typing import NDArray

from scene.errors import FormatError

MAGIC: Final = b"SLPC"
VERSION: Final = 2
LOSSLESS, HAS_RING, HAS_TIME, TIME_TABLE = 1, 2, 4, 8
MAX_POINTS: Final = 1 << 26

_BLOCK_HOLDS: Final = 1 << 17  # bytes that a zstd block may become, and those it takes at least
_LEAST_BLOCK: Final = 4
_HEADER = struct.Struct("<4sBBHIdI")  # magic, version, flags, streams, points, step_m, time_step_ns
_STREAM = struct.Struct("<II")  # raw size, stored size
_CRC = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Header:
    """The fixed part of an encoded sweep.

    Attributes:
        flags: LOSSLESS, HAS_RING, HAS_TIME, TIME_TABLE.
        num_points: N.
        step_m: resolution of coordinates, meters.
        time_step_ns: usual time between neighbours; 0 where times are in a table.
        version: of the format.
    """

    flags: int
    num_points: int
    step_m: float
    time_step_ns: int
    version: int = VERSION

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
    def has_table(self) -> bool:
        """Whether times are numbers of rows in a table of distinct times."""
        return bool(self.flags & TIME_TABLE)

    @property
    def num_streams(self) -> int:
        """How many streams the flags ask for."""
        points = 16 if self.lossless else 10
        if self.version == 1:
            return points + 3 * self.has_ring + 6 * self.has_time
        return points + 7 * self.has_ring + (10 if self.has_table else 14) * self.has_time

    @property
    def known(self) -> bool:
        """Whether the flags are those of the version and make sense together."""
        known = LOSSLESS | HAS_RING | HAS_TIME | (TIME_TABLE if self.version > 1 else 0)
        return self.flags & ~known == 0 and self.has_time >= self.has_table


class _Contexts(threading.local):
    """One compressor and one decompressor a thread: making them costs more than a small stream.

    Matches shorter than 7 bytes are noise in these planes, not worth looking for.
    """

    def __init__(self) -> None:
        parameters = zstandard.ZstdCompressionParameters.from_level(1, min_match=7)
        self.compress = zstandard.ZstdCompressor(compression_params=parameters).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_contexts = _Contexts()


def seal(header: Header, planes: Sequence[NDArray[np.uint8]]) -> bytes:
    """Compress the planes and put header, directory, streams and checksum together."""
    compress = _contexts.compress
    stored = [compress(plane.data) if len(plane) else b"" for plane in planes]
    directory = b"".join(_STREAM.pack(len(p), len(s)) for p, s in zip(planes, stored, strict=True))
    head = _HEADER.pack(
        MAGIC,
        header.version,
        header.flags,
        len(planes),
        header.num_points,
        header.step_m,
        header.time_step_ns,
    )
    crc = crc32(directory, crc32(head))
    for stream in stored:
        crc = crc32(stream, crc)
    return b"".join([head, directory, *stored, _CRC.pack(crc)])


def unseal(data: bytes) -> tuple[Header, list[bytes]]:
    """Check the envelope; return the header and the raw streams.

    Raises:
        FormatError: if anything in it does not fit.
    """
    if len(data) < _HEADER.size + _CRC.size or data[:4] != MAGIC:
        raise FormatError(f"point codec: {len(data)} bytes that do not begin with {MAGIC!r}")
    _, version, flags, num_streams, *numbers = _HEADER.unpack_from(data)
    if not 1 <= version <= VERSION:
        raise FormatError(f"point codec: version {version}; this reader knows 1 to {VERSION}")
    if _CRC.unpack(data[-_CRC.size :])[0] != crc32(memoryview(data)[: -_CRC.size]):
        raise FormatError(f"point codec: checksum of {len(data)} bytes is wrong: damaged or cut")
    header = Header(flags, *numbers, version=version)
    known = header.known and num_streams == header.num_streams
    sane = header.num_points <= MAX_POINTS and isfinite(header.step_m) and header.step_m > 0
    start = _HEADER.size + num_streams * _STREAM.size
    if not (known and sane and start <= len(data) - _CRC.size):
        raise FormatError(f"point codec: a header that cannot be: {header}, {num_streams} streams")
    return header, _streams(data, header, start)


def _streams(data: bytes, header: Header, start: int) -> list[bytes]:
    """Decompress every stream whose size fits the number of points."""
    sizes = list(_STREAM.iter_unpack(memoryview(data)[_HEADER.size : start]))
    if start + sum(stored for _, stored in sizes) != len(data) - _CRC.size:
        raise FormatError("point codec: stream sizes do not add up to the length of the bytes")
    streams = []
    for raw, stored in sizes:
        if raw > 4 * max(header.num_points, 1):  # an empty sweep names a usual difference too
            raise FormatError(f"point codec: a stream of {raw} bytes at byte {start} is too large")
        streams.append(_decompress(data[start : start + stored], raw, start))
        start += stored
    return streams


def _decompress(stored: bytes, raw: int, at: int) -> bytes:
    """Return exactly `raw` bytes of one stream."""
    if not raw:
        return b""
    try:
        # The decompressor takes the announced memory before it looks at the first block.
        possible = len(stored) // _LEAST_BLOCK * _BLOCK_HOLDS
        if zstandard.frame_content_size(stored) == raw <= possible:
            return _contexts.decompress(stored)
    except zstandard.ZstdError as error:
        raise FormatError(f"point codec: stream at byte {at}: {error}") from error
    raise FormatError(f"point codec: stream at byte {at} does not hold the {raw} bytes it claims")
