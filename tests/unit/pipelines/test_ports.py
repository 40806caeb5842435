import os
import socket

import pytest

from pipelines.services import ports
from pipelines.services.ports import check_free, free_ports, listen, owner_of
from scene.errors import ConfigError


def test_a_port_in_use_is_told_with_who_has_it_and_what_to_do():
    with listen(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as error:
            listen(port)
        assert str(error.value).startswith(f"port {port} of 127.0.0.1 is in use by process ")
        assert f"process {os.getpid()} " in str(error.value)
        assert "choose another with --port" in str(error.value)
        with pytest.raises(ConfigError, match=r"the file state\.json"):
            check_free(port, "the file state.json")
    check_free(port)


def test_an_address_that_is_not_ours_is_told():
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1, port 0"):
        listen(0, "192.0.2.1")


def test_nobody_listens_on_a_free_port():
    [port] = free_ports(1)
    assert owner_of(port) == ""
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def test_free_ports_differ_and_are_nobodys_by_chance():
    found = free_ports(50)
    assert len(set(found)) == 50
    with socket.create_server(("127.0.0.1", 0)) as anybody:
        assert max(found) < anybody.getsockname()[1]


def test_a_port_that_somebody_has_is_not_free(monkeypatch):
    taken, free = free_ports(2)
    monkeypatch.setattr(ports, "_FREE", [taken, free])
    with listen(taken):
        assert free_ports(1) == [free]
        with pytest.raises(ConfigError, match="no 2 free ports"):
            free_ports(2)
