from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.demo import settings_for
from pipelines.settings import Settings, load_settings
from scene.errors import ConfigError


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no .env of the developer


def test_nested_names_and_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARLOOP_STORE__URL", "s3://fleet/prod")
    monkeypatch.setenv("STARLOOP_LOOP__LABEL_BUDGET", "5")
    settings = load_settings()
    assert settings.store.url == "s3://fleet/prod"
    assert settings.loop.label_budget == 5
    assert settings.labeling.backend == "embedded"


@pytest.mark.parametrize("name", ["STARLOOP_STOR__URL", "STARLOOP_HOEM"])
def test_a_misspelt_variable_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(ConfigError, match=name):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STARLOOP_LOOP__LABEL_BUDGET", "0"),
        ("STARLOOP_LOOP__BUDGET", "3"),
        ("STARLOOP_LABELING__BACKEND", "cvat"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name):
        load_settings()


def test_secrets_do_not_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARLOOP_STORE__SECRET_KEY", "hunter2")
    settings = load_settings()
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in repr(settings.store.to_config(Path("x")))


def test_own_recordings_are_read_in_place(tmp_path: Path) -> None:
    (tmp_path / "my drives").mkdir()
    settings = settings_for(
        Settings(home=tmp_path / "home", _env_file=None), tmp_path / "my drives"
    )
    assert settings.landing.url == tmp_path.resolve().as_uri()
    assert settings.landing_prefix == "my drives/"
    assert settings.home == tmp_path / "home" / "data" / "my_drives"
