"""Sweeps of every layout of fields, encoded in every version and mode of the point codec."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from scene.errors import FormatError
from scene.sweep import Sweep
from storage import codec
from storage.codec_envelope import HAS_RING, HAS_TIME, LOSSLESS, Header, seal
from storage.codec_fields import byte_planes, difference_planes


class Layout(NamedTuple):
    """Which version, mode and fields."""

    version: int
    lossless: bool
    ring: bool
    time: str
    num_points: int

    def __str__(self) -> str:
        mode = "lossless" if self.lossless else "lossy"
        ring = "ring" if self.ring else "no-ring"
        return f"v{self.version}-{mode}-{ring}-{self.time}-{self.num_points}"

    def sweep(self, seed: int = 0) -> Sweep:
        """Return some points, with a jump that needs escapes."""
        random = np.random.default_rng(seed)
        count = self.num_points
        xyz = random.normal(0, 15, (count, 3)).astype(np.float32)
        xyz[count // 2 :] += 300
        time = {
            "no-time": np.zeros(count),
            "times": random.integers(-(10**8), 10**8, count),
            "table": np.arange(count) // 8 * 55_555 + 1,
        }[self.time]
        return Sweep(
            0,
            xyz,
            random.integers(0, 256, count).astype(np.float32) / np.float32(255),
            time.astype(np.int32),
            random.integers(0, 64, count).astype(np.uint16) if self.ring else None,
        )

    def encode(self, sweep: Sweep) -> bytes:
        if self.version == 1:
            return encode_version_1(sweep, lossless=self.lossless)
        return codec.encode(sweep, lossless=self.lossless)


def encode_version_1(sweep: Sweep, *, lossless: bool) -> bytes:
    """Write what the first version wrote: all integers as plain differences, no table of times."""
    if lossless:
        flags = LOSSLESS
        columns = (*sweep.points_ego_m.T, sweep.intensity)
        planes = [p for c in columns for p in byte_planes(np.ascontiguousarray(c).view(np.uint32))]
    else:
        flags = 0
        steps = np.rint(sweep.points_ego_m.astype(np.float64) / 0.001).astype(np.int32)
        planes = [p for axis in steps.T for p in difference_planes(np.ascontiguousarray(axis))]
        planes.append(np.rint(sweep.intensity * 255).astype(np.uint8))
    if sweep.ring is not None:
        flags |= HAS_RING
        planes += difference_planes(sweep.ring.astype(np.int32))
    if sweep.offset_ns.any():
        flags |= HAS_TIME
        for part in np.divmod(sweep.offset_ns, np.int32(2304)):
            planes += difference_planes(part)
    return seal(Header(flags, len(sweep), 0.001, 2304, version=1), planes)


EVERY = [
    Layout(version, lossless, ring, time, count)
    for version in (1, 2)
    for lossless in (False, True)
    for ring in (False, True)
    for time in ("no-time", "times", "table")
    for count in (0, 1, 24)
]
layouts = st.builds(
    Layout,
    st.sampled_from([1, 2]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["no-time", "times", "table"]),
    st.integers(0, 60),
)


def with_checksum(body: bytes) -> bytes:
    """Return the bytes with a right checksum, as a forger would."""
    return body + struct.pack("<I", zlib.crc32(body))


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Some bytes overwritten, cut out, doubled or put in, anywhere."""
    kind = draw(st.sampled_from(["overwrite", "cut", "remove", "double", "insert"]))
    place, length = draw(st.floats(0, 1)), draw(st.integers(1, 12))
    filling = draw(st.binary(min_size=length, max_size=length))

    def damage(data: bytes) -> bytes:
        at = round(place * max(len(data) - 1, 0))
        before, after = data[:at], data[at + length :]
        middle = {
            "overwrite": filling,
            "cut": None,
            "remove": b"",
            "double": data[at : at + length] * 2,
            "insert": filling + data[at : at + length],
        }[kind]
        return before if middle is None else before + middle + after

    return damage


def is_refused(data: bytes) -> bool:
    """Return whether decoding ends in our error."""
    try:
        codec.decode(data, 0)
    except FormatError:
        return True
    return False


def decodes_or_refuses(data: bytes, peak_bytes: int = 8 << 20) -> None:
    """Only a whole sweep or our error may come out of a small file, with little memory taken."""
    tracemalloc.start()
    try:
        back = codec.decode(data, 0)
    except FormatError:
        back = None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < peak_bytes
    if back is not None:
        assert len(back) == struct.unpack_from("<I", data, 8)[0]
        assert back.points_ego_m.shape == (len(back), 3)
        assert len(back.offset_ns) == len(back.intensity) == len(back)
