"""Ports of this machine: free ones, and who has the others."""

from __future__ import annotations

import errno
import random
import shlex
import socket
from contextlib import suppress
from typing import Final

from scene.errors import ConfigError

_SHOWN: Final = 80
# Below what systems give to outgoing connections and to those who ask for any port: nobody gets
# one of these by chance before its server is up, or while it is away.
_FREE: Final = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Return ports that were free just now, for servers that are started with a number.

    Raises:
        ConfigError: if there are not so many.
    """
    found: list[int] = []
    for port in random.sample(_FREE, len(_FREE)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise ConfigError(f"no {count} free ports from {_FREE[0]} to {_FREE[-1]} of 127.0.0.1")


def listen(port: int, host: str = "127.0.0.1", instead: str = "--port") -> socket.socket:
    """Return an open socket that listens on a port; 0 takes a free one.

    Args:
        port: which one.
        host: on which address.
        instead: how to choose another one, for the message.

    Raises:
        ConfigError: if that is not possible, with who has the port and what to do.
    """
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise ConfigError(_explain(host, port, instead, error)) from error


def check_free(port: int, instead: str = "--port") -> None:
    """Check that somebody can listen on a port of 127.0.0.1.

    Raises:
        ConfigError: as `listen`.
    """
    listen(port, instead=instead).close()


def _explain(host: str, port: int, instead: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        who = owner_of(port)
        by = f" by {who}" if who else " by a process of somebody else"
        return f"port {port} of {host} is in use{by}: stop it, or choose another with {instead}"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"port {port} of {host} is not for everybody: choose one over 1023 with {instead}"
    return f"cannot listen on {host}, port {port} ({error.strerror or error})"


def owner_of(port: int) -> str:
    """Return the process that listens on a port, with its number; empty if it cannot be seen."""
    import psutil

    try:
        for one in psutil.net_connections("tcp"):
            if (
                one.status == psutil.CONN_LISTEN
                and one.laddr
                and one.laddr.port == port
                and one.pid
            ):
                command = shlex.join(psutil.Process(one.pid).cmdline())
                shown = command if len(command) <= _SHOWN else f"{command[:_SHOWN]}..."
                return f"process {one.pid} ({shown})"
    except psutil.Error:  # other users' processes are not shown on every system
        pass
    return ""
