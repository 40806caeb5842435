"""A TCP relay on 127.0.0.1 that counts the bytes which cross it, in both directions."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_CHUNK_BYTES = 1 << 16


@dataclass
class ByteCounter:
    """A running relay; make it with `counting_relay`.

    Attributes:
        port: to connect to.
        sent: bytes from clients to the server so far.
        received: bytes from the server to clients so far.
    """

    port: int
    sent: int = 0
    received: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def total(self) -> int:
        """All bytes, headers of HTTP included, those of TCP not."""
        with self._lock:
            return self.sent + self.received

    def count(self, sent: int = 0, received: int = 0) -> None:
        with self._lock:
            self.sent += sent
            self.received += received


@contextmanager
def counting_relay(target_port: int) -> Iterator[ByteCounter]:
    """Relay connections to a port of this machine until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        counter = ByteCounter(listener.getsockname()[1])
        threading.Thread(target=_accept, args=(listener, target_port, counter), daemon=True).start()
        try:
            yield counter
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, target_port: int, counter: ByteCounter) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # closed: the end
            return
        server = socket.create_connection(("127.0.0.1", target_port))
        for source, target, sends in ((client, server, True), (server, client, False)):
            threading.Thread(
                target=_pump, args=(source, target, counter, sends), daemon=True
            ).start()


def _pump(source: socket.socket, target: socket.socket, counter: ByteCounter, sends: bool) -> None:
    """Pass bytes on, counted before anyone can have them."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            counter.count(len(data), 0) if sends else counter.count(0, len(data))
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
