"""All or nothing, one sweep in memory, nobody else's files touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recordings.export.clip import Clip
from recordings.export.formats import EXPORT_FORMATS
from recordings.export.run import MARKER, export_recording
from recordings.export.writer import safe_name
from recordings.open import open_recording
from recordings.recording import Damage
from scene.errors import ConfigError, ConflictError, DataError, FormatError
from scene.image import Image
from scene.sweep import Sweep
from tests.support.tiny_recording import CAMERA, TinyRecording, jpeg


class Broken(TinyRecording):
    """Fails after three sweeps."""

    def sweeps(self) -> Iterator[Sweep]:
        for number, sweep in enumerate(super().sweeps()):
            if number == 3:
                raise FormatError("sweep 3: the disk went away")
            yield sweep


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_second_export_replaces_the_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_recording(TinyRecording(num_sweeps=6), "pcd", out)
    result = export_recording(TinyRecording(num_sweeps=3), "pcd", out)
    assert len(list(out.glob("*.pcd"))) == result.num_sweeps == 3
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    mark = json.loads((out / MARKER).read_text())
    assert mark["complete"] is True
    assert mark["losses"] == list(result.losses)
    assert result.size_bytes > sum(len(b) for b in files_of(out).values()) - 4000


@pytest.mark.parametrize("to", ["mcap", "pcd", "kitti", "nuscenes", "av2", "openlabel"])
def test_the_same_recording_gives_the_same_bytes(tmp_path: Path, to: str) -> None:
    for name in ("a", "b"):
        export_recording(TinyRecording(num_sweeps=3), to, tmp_path / name / "out")
    assert files_of(tmp_path / "a" / "out") == files_of(tmp_path / "b" / "out")


@pytest.mark.parametrize("to", sorted(EXPORT_FORMATS.keys() - {"rerun"}))  # slow to import
def test_an_export_that_fails_leaves_what_was_there(tmp_path: Path, to: str) -> None:
    if to == "las":
        pytest.importorskip("laspy", reason="pip install 'starloop[las]'")
    out = tmp_path / "out"
    export_recording(TinyRecording(num_sweeps=2), "pcd", out)
    before = files_of(out)
    with pytest.raises(FormatError, match="the disk went away"):
        export_recording(Broken(), to, out)
    assert files_of(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter.tex").write_text("years of work")
    with pytest.raises(ConflictError, match="a folder that no export wrote"):
        export_recording(TinyRecording(), "pcd", mine)
    with pytest.raises(ConflictError, match="there is a file"):
        export_recording(TinyRecording(), "pcd", mine / "chapter.tex")
    assert files_of(tmp_path) == {"thesis/chapter.tex": b"years of work"}
    part = tmp_path / ".out.part"
    part.mkdir()
    (part / "x").write_text("not ours")
    with pytest.raises(ConflictError):
        export_recording(TinyRecording(), "pcd", tmp_path / "out")
    assert (part / "x").read_text() == "not ours"


def test_what_a_killed_export_left_is_cleared(tmp_path: Path) -> None:
    part = tmp_path / ".out.part"
    part.mkdir()
    (part / MARKER).write_text("{}")
    (part / "half.pcd").write_text("half")
    (tmp_path / "out").mkdir()  # empty: nothing to lose
    export_recording(TinyRecording(), "pcd", tmp_path / "out")
    assert not part.exists()
    assert not (tmp_path / "out" / "half.pcd").exists()


def test_one_sweep_is_in_memory_at_a_time(tmp_path: Path) -> None:
    import weakref

    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    class Watched(TinyRecording):
        def sweeps(self) -> Iterator[Sweep]:
            nonlocal most
            for sweep in super().sweeps():
                alive.append(weakref.ref(sweep.points_ego_m))
                most = max(most, sum(ref() is not None for ref in alive))
                yield sweep

    for to in ("mcap", "pcd", "kitti", "nuscenes", "av2", "openlabel"):
        alive.clear()
        most = 0
        export_recording(Watched(num_sweeps=8), to, tmp_path / to)
        assert most <= 2, to  # the one that is written and the one that is read


def test_progress_and_counts(tmp_path: Path) -> None:
    seen: list[int] = []
    source = TinyRecording()
    result = export_recording(source, "av2", tmp_path / "o", lambda n, _: seen.append(n))
    assert seen == [1, 2, 3, 4, 5, 6]
    assert (result.num_sweeps, result.num_points, result.num_boxes, result.num_images) == (
        6, 3600, 16, 6,
    )  # fmt: skip


def test_nothing_to_export_is_said(tmp_path: Path) -> None:
    class Blind(TinyRecording):
        def sweeps(self) -> Iterator[Sweep]:
            yield from ()

    with pytest.raises(DataError, match=r"tiny\.drive: no sweep to export"):
        export_recording(Blind(), "pcd", tmp_path / "o")
    assert list(tmp_path.iterdir()) == []


def test_damage_of_the_source_is_passed_on(tmp_path: Path) -> None:
    source = TinyRecording()
    source.damage = [Damage("drive.mcap at byte 9", "chunk broken", "sweep 4")] * 2
    result = export_recording(source, "pcd", tmp_path / "o")
    assert result.damage == ("drive.mcap at byte 9: chunk broken; lost: sweep 4",)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "laspy", None)
    monkeypatch.delitem(sys.modules, "recordings.export.las", raising=False)
    with pytest.raises(ConfigError, match=r"needs the package laspy: pip install 'starloop\[las\]"):
        export_recording(TinyRecording(), "las", tmp_path / "o")
    assert list(tmp_path.iterdir()) == []


def test_a_clip_holds_its_part_of_everything(tmp_path: Path) -> None:
    source = TinyRecording()
    clip = Clip(source, 1, 4)
    assert [sweep.timestamp_ns for sweep in clip.sweeps()] == source.times[1:4]
    assert clip.ground_truth is not None
    assert list(clip.ground_truth) == [source.times[1], source.times[3]]
    for time in source.times[1:4]:
        np.testing.assert_array_equal(
            clip.trajectory.at(time).translation_m, source.trajectory.at(time).translation_m
        )
    assert len(clip.trajectory) < len(source.trajectory)
    assert len(list(clip.images())) == 2
    assert all(len(signal.timestamps_ns) == 21 for signal in clip.signals)
    export_recording(clip, "mcap", tmp_path / "o")
    assert len(list(open_recording(tmp_path / "o").sweeps())) == 3


def test_sensor_names_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    class Evil(TinyRecording):
        def images(self) -> Iterator[Image]:
            yield Image("../../evil", self.times[0], "jpeg", jpeg(0))
            yield Image("/etc/evil", self.times[0], "jpeg", jpeg(0))

    for to in ("av2", "openlabel", "nuscenes", "mcap"):
        export_recording(Evil(), to, tmp_path / "deep" / to)
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name and path.is_symlink()]
    assert safe_name("../../evil") == "_.._evil"
    assert safe_name("..") == "unnamed"


def test_images_by_reference_are_fetched(tmp_path: Path) -> None:
    class ByReference(TinyRecording):
        def images(self) -> Iterator[Image]:
            for number, image in enumerate(super().images()):
                yield Image(CAMERA, image.timestamp_ns, "jpeg", uri=f"{number}.jpg")

    def read(uri: str) -> bytes | None:
        return None if uri == "2.jpg" else jpeg(int(uri[0]))

    result = export_recording(ByReference(), "av2", tmp_path / "o", read_file=read)
    assert result.num_images == 5
    assert any(line.startswith("images of front_camera") for line in result.losses)
    assert len(list((tmp_path / "o/sensors/cameras/front_camera").glob("*.jpg"))) == 5


def test_a_category_of_nobody_else_keeps_its_name(tmp_path: Path) -> None:
    source = TinyRecording()
    assert source.ground_truth is not None
    source.ground_truth = {
        time: replace(boxes, category=np.full(len(boxes), "scooter"))
        for time, boxes in source.ground_truth.items()
    }
    for to in ("nuscenes", "av2", "kitti", "openlabel", "mcap"):
        assert export_recording(source, to, tmp_path / to).num_boxes == 16
    names = json.loads((tmp_path / "nuscenes/v1.0-starloop/category.json").read_text())
    assert names[-1]["name"] == "scooter"
    assert "Scooter" in (tmp_path / "kitti/label_02/0000.txt").read_text()
