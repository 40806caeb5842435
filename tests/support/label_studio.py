"""A real Label Studio server for tests; those that only use it share one."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.services.label_studio import LabelStudio
from scene.errors import ConfigError


@contextmanager
def running(folder: Path) -> Iterator[LabelStudio]:
    """Run a server in a folder until the block ends; skip if none is installed."""
    server = make(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def make(folder: Path) -> LabelStudio:
    """Return a server that does not run yet; skip if none is installed."""
    try:
        return LabelStudio(folder)
    except ConfigError as error:
        pytest.skip(str(error))


@functools.cache
def shared() -> LabelStudio:
    """Return one server for all tests of this process, stopped when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="label-studio-"))
    server = make(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server.start()
    atexit.register(server.stop)
    return server
