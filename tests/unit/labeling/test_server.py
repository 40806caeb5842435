"""The HTTP client against a small server that misbehaves on purpose."""

import http.server
import json
import threading

import pytest

from labeling.server import GoneError, Server, UnavailableError
from scene.errors import LabelError


class Script:
    """Answers requests with scripted `(status, body)`; `None` closes the connection unanswered."""

    def __init__(self):
        script = self
        self.answers, self.seen = [], []

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_any(self):
                length = int(self.headers.get("content-length", 0))
                body = self.rfile.read(length)
                script.seen.append((self.command, self.path, self.headers["authorization"], body))
                answer = script.answers.pop(0)
                if answer is None:
                    self.connection.close()
                    return
                status, content = answer
                payload = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_POST = do_DELETE = do_PATCH = handle_any

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def script():
    running = Script()
    yield running
    running.http.shutdown()
    running.http.server_close()


def client(script, key="a" * 40):
    return Server(script.url, key, retry_delays_s=(0.001, 0.001))


def test_get_is_repeated(script):
    script.answers = [(502, {}), None, (200, {"x": 1})]
    assert client(script).get("/api/x") == {"x": 1}
    assert [seen[2] for seen in script.seen] == ["Token " + "a" * 40] * 3


@pytest.mark.parametrize("trouble", [None, (500, {}), (504, {})])
def test_post_with_unknown_outcome_is_not_repeated(script, trouble):
    script.answers = [trouble, (201, {})]
    with pytest.raises(UnavailableError) as caught:
        client(script).post("/api/x", json={})
    assert caught.value.maybe_done
    assert len(script.seen) == 1


def test_post_the_server_did_not_take_is_repeated(script):
    script.answers = [(503, {}), (429, {}), (201, {"id": 1})]
    assert client(script).post("/api/x", json={"a": 1}) == {"id": 1}
    assert {seen[3] for seen in script.seen} == {b'{"a":1}'}


def test_harmless_post_is_repeated(script):
    script.answers = [None, (201, {"id": 1})]
    assert client(script).post("/api/x", repeatable=True, files={"f": ("n", b"1")}) == {"id": 1}


def test_giving_up_says_what_failed(script):
    script.answers = [(502, {})] * 3
    with pytest.raises(UnavailableError, match=r"GET /api/x failed \(HTTP 502.*is the server up"):
        client(script).get("/api/x")


def test_refusals_are_not_repeated(script):
    script.answers = [(400, {"validation_errors": {"title": ["too short"]}})]
    with pytest.raises(LabelError, match="too short"):
        client(script).post("/api/x", json={})
    script.answers = [(403, {})]
    with pytest.raises(LabelError, match="API key"):
        client(script).get("/api/x")
    script.answers = [(404, {})]
    with pytest.raises(GoneError, match="deleted"):
        client(script).get("/api/x")


def test_deleting_what_is_gone_is_fine(script):
    script.answers = [(404, {}), (204, b"")]
    client(script).delete("/api/x")
    client(script).delete("/api/x")


def test_a_web_page_is_no_answer(script):
    script.answers = [(200, b"<html>")]
    with pytest.raises(LabelError, match="is it a Label Studio server"):
        client(script).get("/api/x")


def test_pages_are_followed(script):
    script.answers = [(200, {"total": 3, "tasks": [1, 2]}), (200, {"total": 3, "tasks": [3]})]
    assert list(client(script).pages("/api/tasks/", "tasks", {"project": 1})) == [1, 2, 3]
    assert "page=2" in script.seen[1][1]


def test_personal_tokens_are_traded_and_renewed(script):
    script.answers = [
        (200, {"access": "first"}), (200, 1), (200, 2),
        (401, {}), (200, {"access": "second"}), (200, 3),
    ]  # fmt: skip
    server = client(script, key="head.body.sign")
    assert [server.get("/api/x") for _ in range(3)] == [1, 2, 3]
    assert [seen[2] for seen in script.seen] == [
        None, "Bearer first", "Bearer first", "Bearer first", None, "Bearer second",
    ]  # fmt: skip
    assert json.loads(script.seen[0][3]) == {"refresh": "head.body.sign"}


def test_no_key_is_an_error_before_any_request(script):
    with pytest.raises(LabelError, match="no API key"):
        Server(script.url, "")


def test_the_key_stays_out_of_errors(script):
    script.answers = [(401, {}), (502, {}), (502, {}), (502, {})]
    for _ in range(2):
        with pytest.raises(LabelError) as caught:
            client(script, key="b" * 40).get("/api/x")
        assert "b" * 40 not in str(caught.value)
