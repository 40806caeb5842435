from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipelines.cli import _EXPORTS, main
from pipelines.export import frames_range
from recordings.export.formats import EXPORT_FORMATS
from recordings.export.run import export_recording
from tests.support.tiny_recording import TinyRecording


def test_the_command_offers_every_format_and_explains_it() -> None:
    assert tuple(EXPORT_FORMATS) == _EXPORTS
    text = CliRunner().invoke(main, ["export", "--help"]).output
    assert all(f"\n    {name} " in text for name in EXPORT_FORMATS)


@pytest.mark.slow
def test_a_path_becomes_another_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STARLOOP_HOME", str(tmp_path / "home"))
    export_recording(TinyRecording(), "mcap", tmp_path / "drive")
    result = CliRunner().invoke(main, ["export", "drive", "--to", "av2", "--frames", "1:4"])
    assert result.exit_code == 0, result.output
    assert "drive as av2: 3 sweeps, 1,800 points, 8 boxes, 2 images" in result.output
    assert f"written to {tmp_path / 'drive.av2'}" in result.output
    assert "! not kept: the name of the lidar" in result.output
    assert len(list((tmp_path / "drive.av2/sensors/lidar").iterdir())) == 3
    own = CliRunner().invoke(main, ["export", "drive", "--to", "pcd", "--out", "drive"])
    assert own.exit_code == 1
    assert "the recording itself lies there" in own.output
    assert list((tmp_path / "drive").glob("*.mcap"))
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "thesis.tex").touch()
    refused = CliRunner().invoke(main, ["export", "drive", "--to", "pcd", "--out", "home"])
    assert refused.exit_code == 1
    assert "a folder that no export wrote" in refused.output


def test_frames() -> None:
    assert frames_range(None) == (0, None)
    assert frames_range("3:7") == (3, 7)
    assert frames_range(":7") == (0, 7)
    assert frames_range("3:") == (3, None)
    for text in ("3", "a:b", "7:3", "-1:3"):
        with pytest.raises(click.BadParameter):
            frames_range(text)
