"""What is done to any recording before it is stored: poses found, motion taken out."""

from __future__ import annotations

from typing import Final, Literal

from recordings.deskew import DeskewedRecording
from recordings.odometry import with_odometry
from recordings.recording import ASSUMED_POSES, Recording

DeskewMode = Literal["auto", "never", "always"]
OdometryMode = Literal["auto", "never"]

DESKEWED_BY_US: Final = "ingest"


def prepare(
    opened: Recording, deskew: DeskewMode = "auto", odometry: OdometryMode = "never"
) -> Recording:
    """Return the recording as it is to be stored.

    Args:
        opened: as the reader gives it.
        odometry: "auto" finds the ego poses from the points where the recording holds none.
        deskew: "auto" compensates where the source says that the points are raw, "always" also
            where it says nothing. Neither does without ego poses.
    """
    if odometry == "auto":
        opened = with_odometry(opened)
    wanted = {"auto": ("raw",), "always": ("raw", "unknown"), "never": ()}[deskew]
    if opened.motion in wanted and ASSUMED_POSES not in opened.calibration.assumed:
        opened = DeskewedRecording(opened)
    return opened


def compensated_by(opened: Recording) -> str:
    """Return who compensated the sweeps: "source", "ingest" or, if nobody did, nothing."""
    if isinstance(opened, DeskewedRecording):
        return DESKEWED_BY_US
    return "source" if opened.motion == "compensated" else ""
