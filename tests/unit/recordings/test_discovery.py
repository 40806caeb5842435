from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings import discovery
from recordings.discovery import Source, group_keys
from recordings.uploads import MAX_INDEX_BYTES, Folder, Rule, by_group
from scene.errors import NotFoundError

EPISODES = Rule(
    "episodes of tests",
    re.compile(r"(?P<root>(?:.*/)?)meta/names\.json"),
    re.compile(r"meta/names\.json|data/(?P<part>e\d)\.bin"),
    parts=lambda folder: {
        name: frozenset({"meta/names.json", f"data/{name}.bin"})
        for name in folder.index(["meta/names.json"], lambda files: json.loads(files[0])) or ()
    },
)


def group(*keys: str) -> dict[str, Source]:
    sources = group_keys((key, 10, f"etag of {key}") for key in keys)
    return {str(source.name): source for source in sources}


def test_single_files_by_name() -> None:
    found = group("2026-03-02T08-15-00.veh01.mcap", "day/b.pcd")
    assert sorted(found) == ["2026-03-02T08-15-00.veh01", "day_b"]
    source = found["2026-03-02T08-15-00.veh01"]
    assert source.is_file
    assert source.keys == ("2026-03-02T08-15-00.veh01.mcap",)


def test_argoverse2_log() -> None:
    root = "sensor/val/7fab/"
    used = [
        root + "annotations.feather", root + "calibration/egovehicle_SE3_sensor.feather",
        root + "city_SE3_egovehicle.feather",
        root + "sensors/cameras/front/1.jpg", root + "sensors/lidar/1.feather",
        root + "sensors/lidar/2.feather",
    ]  # fmt: skip
    found = group(*used, root + "map/m.json")
    assert list(found) == ["sensor_val_7fab"]
    assert found["sensor_val_7fab"].keys == tuple(used)
    assert found["sensor_val_7fab"].prefix == root
    assert not found["sensor_val_7fab"].is_file


def test_kitti_drive_with_the_calibration_of_its_day() -> None:
    day, drive = "kitti/2011_09_26/", "kitti/2011_09_26/2011_09_26_drive_0001_sync/"
    used = [
        day + "calib_imu_to_velo.txt", drive + "oxts/data/0000000000.txt",
        drive + "tracklet_labels.xml", drive + "velodyne_points/data/0000000000.bin",
        drive + "velodyne_points/timestamps.txt", drive + "image_02/data/0000000000.png",
    ]  # fmt: skip
    found = group(*used, drive + "image_02_thumb/0.png")
    # A folder whose name the next one repeats is left out of the name.
    assert list(found) == ["kitti_2011_09_26_drive_0001_sync"]
    assert found["kitti_2011_09_26_drive_0001_sync"].keys == tuple(sorted(used))


def test_kitti_archive() -> None:
    found = group("d/velodyne_points_data.tar.xz", "d/velodyne_points/timestamps.txt")
    assert found["d"].keys == ("d/velodyne_points/timestamps.txt", "d/velodyne_points_data.tar.xz")


def test_rosbag2_and_pcd_folders() -> None:
    found = group(
        "run/metadata.yaml", "run/run_0.mcap", "run/run_1.mcap", "loose/x.mcap",
        "clouds/1.pcd", "clouds/2.pcd", "clouds/poses.txt", "clouds/note.txt",
    )  # fmt: skip
    assert found["run"].keys == ("run/metadata.yaml", "run/run_0.mcap", "run/run_1.mcap")
    assert found["clouds"].keys == ("clouds/1.pcd", "clouds/2.pcd", "clouds/poses.txt")
    assert found["loose_x"].is_file


def test_clouds_directly_in_the_root_are_recordings_by_themselves() -> None:
    assert sorted(group("a.pcd", "b.pcd")) == ["a", "b"]


def test_side_files_hidden_and_unfinished_files_are_not_recordings() -> None:
    assert not group(
        "README.md", "notes.txt", "x.json", ".hidden.mcap", "a/.cache/b.mcap", "c.mcap.part",
        "d.mcap.tmp", "e/f.csv", "g.png", "LICENSE", "folder/", "h.yaml",
    )  # fmt: skip


def test_unknown_files_are_sources_so_that_somebody_is_told() -> None:
    assert sorted(group("old.bag", "run/x.db3", "scan.xyz")) == ["old", "run_x", "scan.xyz"]


def test_names_do_not_change_when_others_come_and_never_collide() -> None:
    alone = group("a/x.mcap")
    both = group("a/x.mcap", "b/x.mcap")
    assert sorted(both) == ["a_x", "b_x"]
    assert alone["a_x"] == both["a_x"]
    same_name = group("x.mcap", "x.pcd")
    assert len(same_name) == 2
    assert all(name.startswith("x-") for name in same_name)


def test_digest_depends_on_key_size_and_etag() -> None:
    base = [("x.mcap", 10, "a")]
    variants = [base, [("y.mcap", 10, "a")], [("x.mcap", 11, "a")], [("x.mcap", 10, "b")]]
    digests = {group_keys(variant)[0].digest for variant in variants}
    assert len(digests) == 4
    assert group_keys(base) == group_keys(reversed(base))


def test_long_paths_stay_within_the_limit_and_differ() -> None:
    found = group(f"{'a' * 150}/1.mcap", f"{'b' * 150}/1.mcap")
    assert len(found) == 2
    assert all(len(name) <= 120 for name in found)


def test_other_files_of_a_recording_that_is_the_landing_place_itself() -> None:
    scan = "velodyne_points/data/0000000000.bin"
    found = group(scan, "velodyne_points_full360/1.bin", "drive.mcap", "b/1.pcd", "b/2.pcd")
    assert sorted(found) == ["b", "drive", "recording"]
    assert found["recording"].keys == (scan,)


def test_parts_are_told_from_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = replace(EPISODES, parts=by_group(EPISODES.members))
    monkeypatch.setattr(discovery, "RULES", (rule,))
    found = group("arm/meta/names.json", "arm/data/e1.bin", "arm/data/e2.bin")
    assert sorted(found) == ["arm_e1", "arm_e2"]
    second = found["arm_e2"]
    assert (second.prefix, second.part, second.is_file) == ("arm/", "e2", False)
    assert second.keys == ("arm/data/e2.bin", "arm/meta/names.json")
    # Another episode changes nothing about this one; its own data and the shared index do.
    stats = [(key, 10, f"etag of {key}") for key in second.keys]
    assert group_keys(stats)[0] == second
    assert group_keys([stats[0], (stats[1][0], 10, "new")])[0].digest != second.digest


def test_parts_are_read_from_the_index_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "RULES", (EPISODES,))
    content, reads, cache = b'["e1", "e2"]', [], {}

    def read(key: str) -> bytes:
        reads.append(key)
        return content

    def names(etag: str, size: int = 10) -> list[str]:
        keys = ("meta/names.json", "data/e1.bin", "data/e2.bin", "x.mcap")
        return [str(s.name) for s in group_keys([(k, size, etag) for k in keys], read, cache)]

    assert names("1") == names("1") == ["e1", "e2", "x"]
    assert reads == ["meta/names.json"]
    content = b'["e2"]'
    assert names("2") == ["e2", "x"]
    for content in (b"no json", b"["):  # one source, whose reader says what is wrong; read once
        reads.clear()
        assert names(content.decode()) == names(content.decode()) == ["recording", "x"]
        assert len(reads) == 1
    assert names("3", MAX_INDEX_BYTES + 1) == ["recording", "x"]
    assert len(reads) == 1


def test_an_index_that_could_not_be_fetched_is_asked_for_again() -> None:
    answers = iter([NotFoundError("gone"), b"[1]"])

    def read(_: str) -> bytes:
        answer = next(answers)
        if isinstance(answer, bytes):
            return answer
        raise answer

    folder = Folder("a/", {"i.json": (3, "e")}, read, {})
    assert folder.index(["i.json"], _first) is None
    assert folder.index(["i.json"], _first) == [1]
    assert folder.index(["absent.json"], _first) is None
    assert Folder("a/", {"i.json": (3, "e")}).index(["i.json"], _first) is None


def _first(files: Sequence[bytes]) -> list[int]:
    return json.loads(files[0])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=12, unique=True))
def test_any_keys_give_unique_names_and_every_key_at_most_once(keys: list[str]) -> None:
    sources = group_keys((key, 1, "e") for key in keys)
    assert len({source.name for source in sources}) == len(sources)
    used = [key for source in sources for key in source.keys]
    assert len(used) == len(set(used))
    assert set(used) <= set(keys)
