"""The editor's application on a free port, in a thread of the test."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from pipelines.services.ports import free_ports


@contextmanager
def serving(app: FastAPI, port: int = 0) -> Iterator[str]:
    """Serve until the block ends; gives the address."""
    listener = socket.create_server(("127.0.0.1", port or free_ports(1)[0]))
    config = uvicorn.Config(app, log_level="warning", date_header=False, server_header=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the application did not start")
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
