"""A folder of LAS 1.4 files, one a sweep, with poses and boxes beside them.

`<nanoseconds>.las` holds points of format 6 in the ego frame at that time, in steps of 0.1 mm;
`intensity` fills 16 bits; `gps_time` is seconds after the time in the name; the extra dimensions
`offset_ns` and, where it is known, `ring` keep what gps_time rounds. See
`recordings.export.side_files` for the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import laspy
import numpy as np

from recordings.export.side_files import SideFiles
from recordings.export.writer import Frame, Writer
from recordings.recording import Recording
from scene.sweep import Sweep

STEP_M: Final = 1e-4
_POINT_FORMAT: Final = 6


class LasWriter(Writer):
    """Writes one recording. See `recordings.export.writer.Writer`."""

    def __init__(self, folder: Path, recording: Recording) -> None:
        super().__init__(folder, recording)
        self._side = SideFiles(folder, recording, has_poses=self.has_poses)
        self.lose_signals()

    def frame(self, frame: Frame) -> None:
        """Write one file."""
        path = self.folder / f"{frame.sweep.timestamp_ns:019d}.las"
        las_of(frame.sweep).write(str(path))
        self._side.frame(frame)

    def close(self) -> None:
        """Finish the files beside the points."""
        self._side.close()


def las_of(sweep: Sweep) -> laspy.LasData:
    """Return a sweep as LAS data in the ego frame."""
    header = laspy.LasHeader(point_format=_POINT_FORMAT, version="1.4")
    header.scales, header.offsets = np.full(3, STEP_M), np.zeros(3)
    header.generating_software = "starloop"
    header.add_extra_dim(laspy.ExtraBytesParams("offset_ns", "int32"))
    if sweep.ring is not None:
        header.add_extra_dim(laspy.ExtraBytesParams("ring", "uint16"))
    las = laspy.LasData(header)
    las.x, las.y, las.z = sweep.points_ego_m.astype(np.float64).T
    las.intensity = np.rint(sweep.intensity.astype(np.float64) * 65535).astype(np.uint16)
    las.gps_time = sweep.offset_ns / 1e9
    las["offset_ns"] = sweep.offset_ns
    if sweep.ring is not None:
        las["ring"] = sweep.ring
    return las
