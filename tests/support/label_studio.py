"""A real Label Studio server for tests: own folder, own port, stopped by its process id."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXECUTABLE = ROOT / ".venv-label-studio" / "bin" / "label-studio"
CACHE = ROOT / ".starloop" / "cache" / "label-studio"
EMAIL = "labeler@example.com"
_BOOT_S = 420.0


@dataclass(frozen=True)
class LabelStudio:
    """A running server.

    Attributes:
        url: its address.
        api_key: legacy token of the only user.
        email, password: of the only user, for the browser.
        folder: its database and uploads.
    """

    url: str
    api_key: str
    email: str
    password: str
    folder: Path

    def client(self) -> httpx.Client:
        """Return a plain HTTP client with the token."""
        headers = {"Authorization": f"Token {self.api_key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)


def require() -> Path:
    """Return the server's executable, or skip the test with the command that installs it."""
    if not EXECUTABLE.exists():
        pytest.skip("Label Studio server is not installed: make label-studio")
    return EXECUTABLE


@contextmanager
def running(folder: Path) -> Iterator[LabelStudio]:
    """Run a server in an empty folder until the block ends.

    The first run ever spends about 80 s of CPU on migrations; a copy of the migrated, still empty
    database is kept under .starloop/cache and later runs start from it.
    """
    executable = require()
    folder.mkdir(parents=True, exist_ok=True)
    cached = CACHE / f"{_version(executable)}.sqlite3"
    database = folder / "label_studio.sqlite3"
    if cached.exists():
        shutil.copy(cached, database)
    server = LabelStudio(
        f"http://127.0.0.1:{_free_port()}", secrets.token_hex(20), EMAIL,
        secrets.token_hex(12), folder,
    )  # fmt: skip
    if not cached.exists():
        with _process(executable, server, LABEL_STUDIO_USERNAME=""):
            pass
        _save_cache(database, cached)
    with _process(
        executable, server, LABEL_STUDIO_USERNAME=EMAIL, LABEL_STUDIO_PASSWORD=server.password,
        LABEL_STUDIO_USER_TOKEN=server.api_key,
    ):  # fmt: skip
        yield server


@contextmanager
def _process(executable: Path, server: LabelStudio, **extra: str) -> Iterator[None]:
    """Run the server's process until the block ends."""
    environment = {
        **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}},
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "SECRET_KEY": secrets.token_hex(32),
        "SSRF_PROTECTION_ENABLED": "false",  # webhooks go to this machine
        "COLLECT_ANALYTICS": "0",
        "LATEST_VERSION_CHECK": "0",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        **{name: value for name, value in extra.items() if value},
    }
    port = server.url.rpartition(":")[2]
    command = [
        str(executable), "start", "--no-browser", "--internal-host", "127.0.0.1",
        "--port", port, "--data-dir", str(server.folder),
    ]  # fmt: skip
    with (server.folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=server.folder,
            start_new_session=True,
        )  # fmt: skip
        try:
            _wait_until_up(process, server)
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], server: LabelStudio) -> None:
    deadline = time.monotonic() + _BOOT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{server.url}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)  # the port is not open yet
    tail = (server.folder / "server.log").read_text(errors="replace")[-3000:]
    raise RuntimeError(f"Label Studio did not come up (exit {process.poll()}):\n{tail}")


def _save_cache(database: Path, cached: Path) -> None:
    """Copy the stopped server's database through SQLite, so that its journal is included."""
    cached.parent.mkdir(parents=True, exist_ok=True)
    partial = cached.with_suffix(f".{os.getpid()}.part")
    with sqlite3.connect(database) as source, sqlite3.connect(partial) as target:
        source.backup(target)
    partial.replace(cached)


def _version(executable: Path) -> str:
    """Return the installed version, from the environment's metadata (starting it takes seconds)."""
    found = sorted(executable.parents[1].glob("lib/python*/site-packages/label_studio-*.dist-info"))
    return found[-1].name.removesuffix(".dist-info") if found else "label_studio-unknown"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
