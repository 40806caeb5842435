"""What is done to any recording before it is stored: poses found, motion taken out."""

from __future__ import annotations

from itertools import islice
from typing import Final, Literal

from recordings.geometry.deskew import DeskewedRecording
from recordings.geometry.odometry import with_odometry
from recordings.recording import ASSUMED_POSES, Recording

DeskewMode = Literal["auto", "never", "always"]
OdometryMode = Literal["auto", "never"]

DESKEWED_BY_US: Final = "ingest"
_LOOKED_AT: Final = 3


def prepare(
    opened: Recording, deskew: DeskewMode = "auto", odometry: OdometryMode = "never"
) -> Recording:
    """Return the recording as it is to be stored.

    Args:
        opened: as the reader gives it.
        odometry: "auto" finds the ego poses from the points where the recording holds none.
        deskew: "auto" compensates where the source says that the points are raw, "always" also
            where it says nothing. Neither does without ego poses and per-point times.
    """
    if odometry == "auto":
        opened = with_odometry(opened)
    wanted = {"auto": ("raw",), "always": ("raw", "unknown"), "never": ()}[deskew]
    posed = bool(opened.sensor) and ASSUMED_POSES not in opened.calibration.assumed
    if opened.motion in wanted and posed and _has_point_times(opened):
        opened = DeskewedRecording(opened)
    return opened


def _has_point_times(opened: Recording) -> bool:
    """Return whether one of the first sweeps tells when its points were measured."""
    known = len(opened.damage)
    timed = any(sweep.offset_ns.any() for sweep in islice(opened.sweeps(), _LOOKED_AT))
    del opened.damage[known:]  # it will be found again when the sweeps are stored
    return timed


def compensated_by(opened: Recording) -> str:
    """Return who compensated the sweeps: "source", "ingest" or, if nobody did, nothing."""
    if isinstance(opened, DeskewedRecording):
        return DESKEWED_BY_US
    return "source" if opened.motion == "compensated" else ""
