"""A folder of binary PCD files, with poses and boxes beside them.

`<nanoseconds>.pcd` holds x, y, z, intensity, offset_ns and, where it is known, ring, in the ego
frame at that time, which the VIEWPOINT line places in the map. See `recordings.export.side_files`
for the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recordings.export.side_files import SideFiles
from recordings.export.writer import Frame, Writer
from recordings.recording import Recording
from scene.pose import SE3
from scene.sweep import Sweep

_KINDS: Final = {"f": "F", "i": "I", "u": "U"}


class PcdWriter(Writer):
    """Writes one recording. See `recordings.export.writer.Writer`."""

    def __init__(self, folder: Path, recording: Recording) -> None:
        super().__init__(folder, recording)
        self._side = SideFiles(folder, recording, has_poses=self.has_poses)
        self.lose_signals()

    def frame(self, frame: Frame) -> None:
        """Write one file."""
        pose = frame.map_SE3_ego if self.has_poses else SE3.identity()
        path = self.folder / pcd_name(frame.sweep.timestamp_ns)
        write_pcd(path, point_table(frame.sweep), pose)
        self._side.frame(frame)

    def close(self) -> None:
        """Finish the files beside the points."""
        self._side.close()


def pcd_name(timestamp_ns: int) -> str:
    """Return the file name of a sweep: 19 digits, so that names sort and read as nanoseconds."""
    return f"{timestamp_ns:019d}.pcd"


def point_table(sweep: Sweep) -> NDArray[Any]:
    """Return (N,) records of x, y, z, intensity, offset_ns and, where it is known, ring."""
    fields = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("offset_ns", "<i4")]
    if sweep.ring is not None:
        fields.append(("ring", "<u2"))
    table = np.empty(len(sweep), dtype=np.dtype(fields))
    table["x"], table["y"], table["z"] = sweep.points_ego_m.T
    table["intensity"], table["offset_ns"] = sweep.intensity, sweep.offset_ns
    if sweep.ring is not None:
        table["ring"] = sweep.ring
    return table


def write_pcd(path: Path, table: NDArray[Any], viewpoint: SE3) -> None:
    """Write records of plain numbers as a binary PCD file, version 0.7."""
    names = table.dtype.names or ()
    kinds = [table.dtype[name] for name in names]
    view = [*viewpoint.translation_m.tolist(), *viewpoint.quat_wxyz.tolist()]
    lines = [
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        f"FIELDS {' '.join(names)}",
        f"SIZE {' '.join(str(kind.itemsize) for kind in kinds)}",
        f"TYPE {' '.join(_KINDS[kind.kind] for kind in kinds)}",
        f"COUNT {' '.join('1' for _ in kinds)}",
        f"WIDTH {len(table)}",
        "HEIGHT 1",
        f"VIEWPOINT {' '.join(repr(value) for value in view)}",
        f"POINTS {len(table)}",
        "DATA binary",
    ]
    with path.open("wb") as stream:
        stream.write(("\n".join(lines) + "\n").encode())
        stream.write(table.tobytes())
