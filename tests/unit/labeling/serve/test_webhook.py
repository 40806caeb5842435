import json

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from labeling.serve import webhook
from storage import layout
from storage.local import LocalStore

SECRET = "open sesame"


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path)


def send(store, body, secret=SECRET):
    app = FastAPI()
    app.include_router(webhook.make_router(store, SECRET))
    headers = {webhook.HOOK_HEADER.encode(): secret.encode("latin-1")}
    return TestClient(app).post(webhook.PATH, content=body, headers=headers)


def test_a_report_is_noted_once_however_often_it_comes(store):
    body = json.dumps({"project": {"id": 3}, "annotation": {"task": 7}}).encode()
    for _ in range(2):
        assert send(store, body).json() == {"tasks": [7]}
    assert len(list(store.list(layout.label_inbox()))) == 1


@pytest.mark.parametrize("secret", ["", "wrong", "öffne dich"])
def test_a_wrong_secret_is_refused(store, secret):
    assert send(store, b"{}", secret).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b'{"project": {"id": 1}, "task": 5}',
        b'{"project": {"id": 1}, "annotations": ["x"]}',
    ],
)
def test_what_is_no_webhook_is_refused(store, body):
    assert send(store, body).status_code == 400
