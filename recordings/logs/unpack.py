"""Decompression of parts of a recording: everything, or what a broken part still gives.

Sizes in a file are never trusted: nothing larger than `MAX_BYTES` comes out.
"""

from __future__ import annotations

import bz2
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeVar

from recordings.logs import slabs
from scene.errors import FormatError

MAX_BYTES: Final = 2**31
_PIECE: Final = 4096
_Bytes = bytes | memoryview
_T = TypeVar("_T")


class _Stream(Protocol):
    def decompress(self, data: _Bytes, /) -> bytes: ...


def unpack_all(compression: str, packed: memoryview, size: int) -> _Bytes:
    """Return the `size` bytes that were packed.

    Args:
        compression: "zstd", "lz4", "bz2", or empty for none.
        packed: the bytes as they are in the file.
        size: how many bytes must come out.

    Raises:
        FormatError: if the compression is unknown, or other bytes come out.
    """
    if size > MAX_BYTES:
        raise FormatError(f"chunk announces {size} bytes, at most {MAX_BYTES}")
    if not compression:
        found: _Bytes = packed
    else:
        found = _of(_ALL, compression)(packed, size)
    if len(found) != size:
        raise FormatError(f"{len(found)} bytes came out, {size} were announced")
    return found


def unpack_part(compression: str, packed: memoryview, limit: int = MAX_BYTES) -> _Bytes:
    """Return what comes out before the packed bytes break off or break; at most about `limit`.

    Raises:
        FormatError: if the compression is unknown.
    """
    if not compression:
        return packed
    stream = _of(_STREAMS, compression)()
    found = bytearray()
    try:
        for start in range(0, len(packed), _PIECE):  # a broken block costs no more than itself
            found += stream.decompress(packed[start : start + _PIECE])
            if len(found) > limit:
                break
    except Exception:  # three libraries, each with errors of its own
        return bytes(found)
    return bytes(found)


def unpack_message(packed: memoryview) -> memoryview:
    """Return the bytes of a message that rosbag2 has compressed by itself, with zstd.

    Raises:
        FormatError: if it cannot be decompressed.
    """
    import zstandard

    try:
        size = zstandard.frame_content_size(packed)
    except zstandard.ZstdError as error:
        raise FormatError(f"zstd: {error}") from error
    if 0 <= size <= MAX_BYTES:
        return memoryview(unpack_all("zstd", packed, size))
    if size > MAX_BYTES:
        raise FormatError(f"message announces {size} bytes, at most {MAX_BYTES}")
    return memoryview(unpack_part("zstd", packed))


def _of(table: Mapping[str, _T], compression: str) -> _T:
    if compression not in table:
        raise FormatError(f"unknown compression {compression!r}; supported: {', '.join(table)}")
    return table[compression]


def _zstd_all(packed: memoryview, size: int) -> _Bytes:
    import zstandard

    try:
        # A frame that announces more would be allocated before it is looked at.
        if zstandard.frame_content_size(packed) > size:
            raise FormatError(f"zstd: the frame announces more than {size} bytes")
        if size < slabs.LEAST_BYTES:
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
        room = slabs.room(size)
        with zstandard.ZstdDecompressor().stream_reader(packed) as stream:
            found = stream.readinto(room)
            if found == size and stream.read(1):
                raise FormatError(f"zstd: more than {size} bytes come out")
    except zstandard.ZstdError as error:
        raise FormatError(f"zstd: {error}") from error
    room.flags.writeable = False
    return room.data[:found]


def _lz4_all(packed: memoryview, size: int) -> bytes:
    import lz4.frame

    try:
        return lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=size)
    except (RuntimeError, EOFError) as error:
        raise FormatError(f"lz4: {error}") from error


def _bz2_all(packed: memoryview, size: int) -> bytes:
    try:
        return bz2.BZ2Decompressor().decompress(packed, max_length=size)
    except (OSError, EOFError, ValueError) as error:
        raise FormatError(f"bz2: {error}") from error


def _zstd_stream() -> _Stream:
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj()


def _lz4_stream() -> _Stream:
    import lz4.frame

    return lz4.frame.LZ4FrameDecompressor()


_ALL: Final[dict[str, Callable[[memoryview, int], _Bytes]]] = {
    "zstd": _zstd_all, "lz4": _lz4_all, "bz2": _bz2_all,
}  # fmt: skip
_STREAMS: Final[dict[str, Callable[[], _Stream]]] = {
    "zstd": _zstd_stream, "lz4": _lz4_stream, "bz2": bz2.BZ2Decompressor,
}  # fmt: skip
