"""The network breaks after the server has written: a repeated request must not lose to itself."""

from __future__ import annotations

import http.client
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pytest

from scene.errors import ConflictError
from storage.open import StoreConfig, open_store
from storage.schemas import AUDIT
from storage.tables import Tables
from tests.support.rgw import shared_rgw

pytestmark = pytest.mark.integration


class _Proxy(ThreadingHTTPServer):
    """Forwards everything; answers of requests that `loses` picks are thrown away."""

    daemon_threads = True

    def __init__(self, target_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target_port = target_port
        self.loses: Callable[[str, str], bool] = lambda _method, _path: False
        self.lost: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def lose_first(self, method: str, part: str) -> None:
        """Lose the answer to the first such request from now on."""
        self.lost.clear()
        self.loses = lambda m, path: m == method and part in path and not self.lost

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are the purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.target_port)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("connection", "expect"):
                upstream.putheader(name, value)
        upstream.endheaders(body)
        answer = upstream.getresponse()
        content = answer.read()
        if self.server.loses(self.command, self.path):
            self.server.lost.append(f"{self.path} {answer.status}")
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def proxy() -> Iterator[_Proxy]:
    server = _Proxy(shared_rgw().port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def config(proxy: _Proxy) -> StoreConfig:
    keys = shared_rgw()
    return StoreConfig(
        f"s3://lost/{uuid.uuid4()}", proxy.endpoint, keys.access_key, keys.secret_key
    )


def test_conditional_puts(proxy: _Proxy, config: StoreConfig) -> None:
    store = open_store(config)
    proxy.lose_first("PUT", "/k")
    first = store.put("k", b"1", if_absent=True)
    assert proxy.lost[0].endswith("200")
    with pytest.raises(ConflictError):
        store.put("k", b"1", if_absent=True)
    proxy.lose_first("PUT", "/k")
    second = store.put("k", b"2", if_match=first.etag)
    assert proxy.lost[0].endswith("200")
    assert store.stat("k") == second
    proxy.lose_first("PUT", "/k")
    with pytest.raises(ConflictError):
        store.put("k", b"3", if_match=first.etag)
    assert proxy.lost[0].endswith("412")
    assert store.get("k") == b"2"


@pytest.mark.parametrize("verb", ["append", "replace"])
def test_table_commits(proxy: _Proxy, config: StoreConfig, verb: str) -> None:
    """Delta's client takes the repeated commit for a rival's; the rows must not come twice."""
    tables = Tables(open_store(config))
    for turn in range(3):
        rows = pa.table([[turn], ["me"], [f"{turn}"], ["s"], [""]], schema=AUDIT)
        proxy.lose_first("PUT", "_delta_log/")
        if verb == "append":
            tables.append("audit", rows)
        else:
            tables.replace("audit", rows, {"action": f"{turn}"})
        assert proxy.lost[0].endswith("200")
    assert tables.read("audit")["at_ns"].to_pylist() == [0, 1, 2]
