"""`starloop check`: what is in a recording and what is wrong with it, without writing anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipelines.cli import main
from tests.support.workspaces import small_fleet


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    small_fleet(folder, num_early=2, num_late=0, sweeps=6)
    return folder


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STARLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(main, ["check", *map(str, arguments)])
        assert not (tmp_path / "home").exists()
        return result

    return run


def test_clean_drives_and_what_they_hold(check, fleet: Path) -> None:
    result = check(fleet)
    assert result.exit_code == 0, result.output
    assert "2 recordings, 12 sweeps" in result.output
    assert "2 clean" in result.output
    one = check(next(fleet.glob("*.mcap")))
    assert "from 2026-03-02 08:15:00 UTC" in one.output
    assert "/lidar/points" in one.output
    assert "/odom" in one.output


def test_a_cut_file_says_what_is_lost(check, fleet: Path, tmp_path: Path) -> None:
    data = next(fleet.glob("*.mcap")).read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(data[: int(len(data) * 0.6)])
    result = check(cut)
    assert result.exit_code == 1
    assert "the file ends inside a record" in result.output
    (found,) = json.loads(check("--json", cut).stdout)
    assert found["verdict"] == "error"
    assert found["damage"][0]["where"].startswith("cut.mcap at byte")
    assert 0 < found["num_sweeps"] < 6


def test_what_cannot_be_read_says_why(check, tmp_path: Path) -> None:
    (tmp_path / "note.mcap").write_text("no recording")
    result = check(tmp_path / "note.mcap")
    assert result.exit_code == 2
    assert "this is text" in result.output


def test_copies_in_one_upload_are_told(check, fleet: Path, tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    data = sorted(fleet.glob("*.mcap"))[0].read_bytes()
    for name in ("one", "two"):
        (tmp_path / "up" / f"{name}.mcap").write_bytes(data)
    one, two = json.loads(check("--json", tmp_path / "up").stdout)
    assert (one["verdict"], two["verdict"]) == ("clean", "warning")
    assert [finding["code"] for finding in two["findings"]] == ["REC052"]
    assert two["findings"][0]["message"] == "its sweeps are those of one"


def test_the_rules_are_listed(check) -> None:
    result = check("--rules")
    assert result.exit_code == 0
    assert "REC001" in result.output
    assert "REC079" in result.output
    assert len(json.loads(check("--rules", "--json").stdout)) >= 60
    assert check().exit_code == 2
