"""Which errors end a training with which exit code, whoever started it."""

from __future__ import annotations

from typing import Final

from scene.errors import ConfigError, DataError, NotFoundError
from training.loop import NonFiniteError
from training.process import EXIT_CONFIG, EXIT_FAILED, EXIT_NON_FINITE, EXIT_PREEMPTED
from training.steps import Preempted

EXPECTED: Final = (Preempted, NonFiniteError, ConfigError, DataError, NotFoundError)
"""Errors that are told in a line; any other one is a fault, and shows its stack."""


def exit_code_of(error: BaseException) -> int:
    """Return the typed exit code of an error, see `training.train`."""
    match error:
        case Preempted():
            return EXIT_PREEMPTED
        case NonFiniteError():
            return EXIT_NON_FINITE
        case ConfigError() | DataError() | NotFoundError():
            return EXIT_CONFIG
        case _:
            return EXIT_FAILED
