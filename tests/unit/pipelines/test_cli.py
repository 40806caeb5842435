from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.cli import main

COMMANDS = {
    "check", "demo", "dev", "export", "fleet", "ingest", "label", "lineage", "loop", "release",
    "resync", "serve", "simulate", "status", "train",
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STARLOOP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_list_of_commands() -> None:
    assert set(main.commands) == COMMANDS


def test_every_command_explains_itself(home: Path) -> None:
    for name in sorted(COMMANDS):
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0, result.output
        assert len(result.output) > 80


def test_status_of_nothing(home: Path) -> None:
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 0, result.output
    assert "0 recordings usable, 0 quarantined" in result.output
    assert "champion none yet" in result.output


@pytest.mark.slow
def test_a_stage_too_early_says_what_to_do(home: Path) -> None:
    result = CliRunner().invoke(main, ["train"])
    assert result.exit_code == 1
    assert "no annotated frame to train on" in result.output


@pytest.mark.slow
def test_the_loop_without_recordings_says_where_they_belong(home: Path) -> None:
    result = CliRunner().invoke(main, ["loop"])
    assert result.exit_code == 1
    assert "no usable recording" in result.output


def test_lineage_of_nothing(home: Path) -> None:
    result = CliRunner().invoke(main, ["lineage", "unknown-thing"])
    assert result.exit_code == 1
