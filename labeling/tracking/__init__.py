"""Offline tracking of detections, which makes prelabels of them. It knows past and future."""

from labeling.tracking.offline import TrackedFrames, track_offline

__all__ = ["TrackedFrames", "track_offline"]
