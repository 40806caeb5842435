"""A real S3 server for tests: all tests of a process share one."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import pytest

from pipelines.services.ceph import Rgw
from pipelines.services.ceph import start_rgw as start
from scene.errors import ConfigError

__all__ = ["Rgw", "shared_rgw", "start_rgw"]


def start_rgw(folder: Path) -> Rgw:
    """Make a new one-node cluster in `folder` and start it; skip if Ceph is not installed."""
    try:
        return start(folder)
    except ConfigError as error:
        pytest.skip(str(error))


@functools.cache
def shared_rgw() -> Rgw:
    """Return one server for all tests of this process, stopped when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="rgw-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = start_rgw(folder)
    atexit.register(server.stop)
    return server
