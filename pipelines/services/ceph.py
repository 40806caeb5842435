"""A real S3 server: one-node Ceph with its RADOS gateway, in a folder, on 127.0.0.1.

The daemons are children of this process and die with it. Works as any user.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.services.ports import free_ports
from scene.errors import ConfigError

PACKAGES = "radosgw ceph-mon ceph-osd ceph-common"
_TOOLS = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "monmaptool")
_BOOT_S = 240.0
_STATE = "starloop.json"

_CONFIG = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_v2},v1:127.0.0.1:{mon_v1}]
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
keyring = {folder}/keyring
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
mon warn on pool no redundancy = false
osd crush chooseleaf type = 0
osd pool default pg num = 4
osd pool default pg autoscale mode = off
mon max pg per osd = 1000
mon data avail warn = 2
mon data avail crit = 1
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
log file = {folder}/log/$name.log
pid file = {folder}/run/$name.pid
[mon.a]
mon data = {folder}/mon
[osd.0]
osd data = {folder}/osd
osd objectstore = bluestore
bluestore block size = 8589934592
bluestore block create = true
osd memory target = 939524096
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {folder}/rgw
"""


@dataclass
class Rgw:
    """A running server: `endpoint` and the keys of its only user."""

    folder: Path
    port: int
    access_key: str = "starloop"
    secret_key: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Stop the gateway first: it hangs if its storage goes before it."""
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
        self.processes.clear()

    def kill(self) -> None:
        """Kill everything at once, as a power cut of the processes would."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait(20)
        self.processes.clear()

    def start(self) -> None:
        """Start the daemons in a prepared folder and wait for the first answer."""
        self._launch("ceph-mon", "-i", "a", "-f")
        if not (self.folder / "osd" / "ready").exists():
            self._make_osd()
        self._launch("ceph-osd", "-i", "0", "-f")
        self._launch("radosgw", "-n", "client.rgw", "-f")
        _wait_for_answer(self)

    def _launch(self, *command: str) -> None:
        death = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        log = (self.folder / "log" / f"{command[0]}.out").open("ab")
        with log:
            self.processes.append(
                subprocess.Popen(
                    [*death, *command],
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )

    def _make_osd(self) -> None:
        identity = str(uuid.uuid4())
        self.run("ceph", "--connect-timeout", "60", "osd", "new", identity)
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", identity)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "CEPH_CONF": str(self.folder / "ceph.conf")}

    def run(self, *command: str) -> str:
        """Run a tool of Ceph and return what it printed.

        Raises:
            RuntimeError: if it fails.
        """
        done = subprocess.run(
            command,
            env=self._environment(),
            check=False,
            capture_output=True,
            text=True,
            timeout=240,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
        return done.stdout


def start_rgw(folder: Path) -> Rgw:
    """Start the one-node cluster in `folder`, making it there the first time.

    Raises:
        ConfigError: if Ceph is not installed.
    """
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} not found: apt-get install -y --no-install-recommends {PACKAGES}"
        )
    state = folder / _STATE
    if state.exists():
        known = Rgw(folder, **json.loads(state.read_text()))
        known.start()
        return known
    for name in ("mon", "osd", "run", "log", "rgw"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    mon_v2, mon_v1, port = free_ports(3)
    fsid = str(uuid.uuid4())
    config = _CONFIG.format(fsid=fsid, folder=folder, mon_v2=mon_v2, mon_v1=mon_v1, port=port)
    (folder / "ceph.conf").write_text(config)
    server = Rgw(folder, port)
    _make_keys(server)
    address = f"[v2:127.0.0.1:{mon_v2},v1:127.0.0.1:{mon_v1}]"
    monmap = str(folder / "monmap")
    server.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, monmap)
    keyring = str(folder / "keyring")
    server.run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", keyring)
    try:
        server.start()
        server.run(
            "radosgw-admin", "-n", "client.rgw", "user", "create", "--uid", "test",
            "--display-name", "test", "--access-key", server.access_key,
            "--secret-key", server.secret_key,
        )  # fmt: skip
    except BaseException:
        server.stop()
        raise
    keys = {"access_key": server.access_key, "secret_key": server.secret_key}
    state.touch(mode=0o600)
    state.write_text(json.dumps({"port": port, **keys}))
    return server


def _make_keys(server: Rgw) -> None:
    keyring = str(server.folder / "keyring")
    any_ = "allow *"
    tool = ("ceph-authtool", keyring, "--gen-key", "-n")
    server.run("ceph-authtool", "--create-keyring", *tool[1:], "mon.", "--cap", "mon", any_)
    server.run(*tool, "client.admin", "--cap", "mon", any_, "--cap", "osd", any_)
    server.run(*tool, "client.rgw", "--cap", "mon", "allow rwx", "--cap", "osd", "allow rwx")
    server.run(*tool, "osd.0", "--cap", "mon", "allow profile osd", "--cap", "osd", any_)


def _wait_for_answer(server: Rgw) -> None:
    give_up = time.monotonic() + _BOOT_S
    while time.monotonic() < give_up:
        for process in server.processes:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args} ended: see {server.folder / 'log'}")
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        try:
            connection.request("GET", "/")
            connection.getresponse()
        except OSError:
            time.sleep(0.2)
        else:
            return
        finally:
            connection.close()
    raise RuntimeError(f"no answer at {server.endpoint} in {_BOOT_S:.0f} s")
