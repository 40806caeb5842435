"""A Label Studio server of our own: its folder, its port, stopped by its process id.

The environment variables were found by running version 1.23.2: a fixed secret keeps sessions over
a restart, nothing is sent to anybody, and webhooks may go to this machine.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import httpx

from pipelines.services.ports import check_free, free_ports
from scene.errors import ConfigError

ROOT: Final = Path(__file__).resolve().parents[2]
EXECUTABLE: Final = ROOT / ".venv-label-studio" / "bin" / "label-studio"
CACHE: Final = ROOT / ".starloop" / "cache" / "label-studio"
EMAIL: Final = "labeler@example.com"
_BOOT_S: Final = 420.0
_STATE: Final = "starloop.json"


@dataclass(frozen=True)
class Credentials:
    """What a server is asked with; kept in its folder, readable by its owner only.

    Attributes:
        port: on 127.0.0.1.
        api_key: legacy token of the only user.
        email: of the only user.
        password: of the only user.
        secret_key: signs sessions.
    """

    port: int
    api_key: str = field(repr=False)
    email: str
    password: str = field(repr=False)
    secret_key: str = field(repr=False)


class LabelStudio:
    """A server in a folder.

    The first server ever spends about 80 s of CPU on migrations; a copy of the migrated, still
    empty database is kept under `CACHE` and later ones start from it.

    Args:
        folder: its database and uploads; empty, or of an earlier server.
        executable: `label-studio` in its environment.

    Raises:
        ConfigError: if it is not installed.
    """

    def __init__(self, folder: Path, executable: Path = EXECUTABLE) -> None:
        if not executable.exists():
            raise ConfigError("the Label Studio server is not installed: make label-studio")
        self._executable = executable
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        state = folder / _STATE
        if state.exists():
            known = Credentials(**json.loads(state.read_text()))
        else:
            known = Credentials(
                free_ports(1)[0], secrets.token_hex(20), EMAIL, secrets.token_hex(12),
                secrets.token_hex(32),
            )  # fmt: skip
            state.touch(mode=0o600)
            state.write_text(json.dumps(asdict(known)))
        self._known = known
        self.url = f"http://127.0.0.1:{known.port}"
        self.api_key, self.email, self.password = known.api_key, known.email, known.password

    def client(self) -> httpx.Client:
        """Return a plain HTTP client with the token."""
        headers = {"Authorization": f"Token {self.api_key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            ConfigError: if it does not come up, with the end of its log, or if a server that was
                not stopped still has its port.
        """
        check_free(self._known.port, f"the file {self.folder / _STATE}")
        database = self.folder / "label_studio.sqlite3"
        cached = CACHE / f"{_version(self._executable)}.sqlite3"
        if not database.exists():
            if not cached.exists():
                self._launch({})
                self.stop()
                _save_cache(database, cached)
            else:
                shutil.copy(cached, database)
        self._launch(
            {
                "LABEL_STUDIO_USERNAME": self.email,
                "LABEL_STUDIO_PASSWORD": self.password,
                "LABEL_STUDIO_USER_TOKEN": self.api_key,
            }
        )

    def stop(self) -> None:
        """Stop it and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def _launch(self, extra: dict[str, str]) -> None:
        """Run the server's process."""
        kept = {name: value for name, value in os.environ.items() if name in _PASSED}
        environment = kept | _ENVIRONMENT | {"SECRET_KEY": self._known.secret_key} | extra
        command = [
            str(self._executable), "start", "--no-browser", "--internal-host", "127.0.0.1",
            "--port", str(self._known.port), "--data-dir", str(self.folder),
        ]  # fmt: skip
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        try:
            self._wait_until_up(self._process)
        except BaseException:
            self.kill()
            raise

    def _wait_until_up(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _BOOT_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health", timeout=5, trust_env=False).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.2)  # the port is not open yet
        tail = (self.folder / "server.log").read_text(errors="replace")[-3000:]
        raise ConfigError(f"Label Studio did not come up (exit {process.poll()}):\n{tail}")

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        os.killpg(process.pid, how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


_PASSED: Final = frozenset({"PATH", "HOME", "LANG"})
_ENVIRONMENT: Final = {
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
    "SSRF_PROTECTION_ENABLED": "false",
    "COLLECT_ANALYTICS": "0",
    "LATEST_VERSION_CHECK": "0",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
}


def _save_cache(database: Path, cached: Path) -> None:
    """Copy the stopped server's database through SQLite, so that its journal is included."""
    cached.parent.mkdir(parents=True, exist_ok=True)
    partial = cached.with_suffix(f".{os.getpid()}.part")
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(partial)) as target:
        source.backup(target)
    partial.replace(cached)


def _version(executable: Path) -> str:
    """Return the installed version, from the environment's metadata (starting it takes seconds)."""
    found = sorted(executable.parents[1].glob("lib/python*/site-packages/label_studio-*.dist-info"))
    return found[-1].name.removesuffix(".dist-info") if found else "label_studio-unknown"
