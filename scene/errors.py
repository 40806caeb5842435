"""Every error Starloop raises on purpose.

StarloopError
├── DataError            a recording, box or manifest is not what it claims to be
│   ├── FormatError      no reader recognises the bytes, or the bytes break their own format
│   │   └── CutShortError    a file ends before everything it announces is there
│   ├── FrameError       a coordinate frame is missing, disconnected or asked for outside its time
│   └── ShapeError       an array has the wrong shape or type
├── StoreError           the object store or a table could not do what was asked
│   ├── NotFoundError    no object under that key
│   └── ConflictError    somebody else wrote first (conditional write lost)
├── LabelError           the labelling backend refused or answered nonsense
├── TrainError           training or export could not produce a model
├── GateError            the registry was asked for something the gate refused
└── ConfigError          a setting is unknown or contradicts another
"""

from __future__ import annotations


class StarloopError(Exception):
    """Base of all errors with a message written for the person who must act on it."""


class DataError(StarloopError):
    """A recording, box or manifest is not what it claims to be."""


class FormatError(DataError):
    """No reader recognises the bytes, or the bytes break their own format."""


class CutShortError(FormatError):
    """A file ends before everything it announces is there; its beginning can be read.

    Attributes:
        num_found: how many whole points there are.
    """

    def __init__(self, message: str, num_found: int) -> None:
        super().__init__(message)
        self.num_found = num_found


class FrameError(DataError):
    """A coordinate frame is missing, disconnected or asked for outside its time span."""


class ShapeError(DataError):
    """An array has the wrong shape or type."""


class StoreError(StarloopError):
    """The object store or a table could not do what was asked."""


class NotFoundError(StoreError):
    """No object is stored under the key."""


class ConflictError(StoreError):
    """A conditional write lost: somebody else wrote first."""


class LabelError(StarloopError):
    """The labelling backend refused a request or returned something unusable."""


class TrainError(StarloopError):
    """Training or export could not produce a model."""


class GateError(StarloopError):
    """The registry was asked to release something the gate refused."""


class ConfigError(StarloopError):
    """A setting is unknown or contradicts another."""
