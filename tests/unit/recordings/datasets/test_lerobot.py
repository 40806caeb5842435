from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.datasets.lerobot import open_lerobot
from recordings.discovery import Source, group_keys
from recordings.open import open_recording
from scene.errors import DataError, FormatError
from scene.recording import RecordingId
from tests.support.lerobot_writer import CAMERA, FIELDS, FPS, episode_values, write_v2, write_v3
from tests.support.shared_data import shared_data

NAME = RecordingId("robot")
G1 = "lerobot/unitree_g1_v2.1"


def sources(folder: Path) -> list[Source]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    stats = [(str(p.relative_to(folder.parent)), p.stat().st_size, "etag") for p in files]
    return group_keys(stats, lambda key: (folder.parent / key).read_bytes())


def rewrite(path: Path, **columns: object) -> None:
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.drop_columns([name]) if name in table.column_names else table
        if values is not None:
            table = table.append_column(name, values)
    pq.write_table(table, path)


@pytest.mark.parametrize("write", [write_v2, write_v3])
def test_both_layouts_give_the_same_episodes(tmp_path: Path, write: Callable[..., Path]) -> None:
    folder = write(tmp_path / "arm", {0: 12, 7: 15})
    for episode, frames in ((0, 12), (7, 15)):
        recording = open_lerobot(folder, NAME, f"episode_{episode:06d}")
        state, action, reward = recording.signals
        assert (state.name, state.kind, state.fields) == (
            "observation.state", "state", tuple(FIELDS),
        )  # fmt: skip
        assert (action.kind, action.fields) == ("action", tuple(FIELDS))
        assert (reward.kind, reward.fields) == ("other", ("value_0",))
        made = episode_values(episode, frames)
        np.testing.assert_array_equal(state.values, made[0])
        np.testing.assert_array_equal(action.values, made[1])
        assert state.timestamps_ns.tolist() == [i * 10**9 // FPS for i in range(frames)]
        assert recording.damage == []
        assert (recording.sensor, len(recording.trajectory)) == ("", 0)
        assert list(recording.sweeps()) == []
        assert recording.tasks == ("pick it up",)


def test_videos_are_kept_by_reference(tmp_path: Path) -> None:
    v2 = list(open_lerobot(write_v2(tmp_path / "v2", {0: 12, 7: 15}), NAME, "7").images())
    assert [image.index for image in v2] == list(range(15))
    assert {image.uri for image in v2} == {f"videos/chunk-000/{CAMERA}/episode_000007.mp4"}
    assert {(image.sensor, image.encoding, image.data) for image in v2} == {(CAMERA, "h264", None)}
    v3 = list(open_lerobot(write_v3(tmp_path / "v3", {0: 12, 7: 15}), NAME, "7").images())
    assert [image.index for image in v3] == list(range(12, 27))  # the video starts with episode 0
    assert {image.uri for image in v3} == {f"videos/{CAMERA}/chunk-000/file-000.mp4"}
    assert [image.timestamp_ns for image in v3] == [i * 10**9 // FPS for i in range(15)]


@pytest.mark.parametrize("write", [write_v2, write_v3])
def test_every_episode_of_an_upload_is_a_recording(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    folder = write(tmp_path / "arm", {0: 12, 7: 15})
    (folder / "README.md").write_text("about")
    found = sources(folder)
    assert [(source.name, source.part) for source in found] == [
        ("arm_episode_000000", "episode_000000"), ("arm_episode_000007", "episode_000007"),
    ]  # fmt: skip
    for source in found:
        assert "arm/meta/info.json" in source.keys
        copy = tmp_path / "copy" / source.part
        for key in source.keys:  # what a source names is enough to read it
            target = copy / key
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder.parent / key, target)
        recording = open_recording(copy / "arm", source.name, source.part)
        assert (recording.format, recording.damage) == ("lerobot", [])
        assert len(list(recording.images())) == len(recording.signals[0].timestamps_ns)


def test_which_episode_must_be_said_only_where_there_are_several(tmp_path: Path) -> None:
    folder = write_v2(tmp_path / "arm", {0: 12, 7: 15})
    with pytest.raises(FormatError, match="holds 2 episodes; say which one: episode_000000"):
        open_recording(folder)
    with pytest.raises(FormatError, match="no episode 'episode_9' among its 2"):
        open_recording(folder, part="episode_9")
    (folder / "data/chunk-000/episode_000000.parquet").unlink()
    recording = open_recording(folder)
    assert len(recording.signals[0].timestamps_ns) == 15
    (note,) = [topic for topic in recording.topics if topic.name == "meta/episodes"]
    assert (note.count, note.use) == (2, "not used: 1 have no data here")
    with pytest.raises(FormatError, match="the data of episode 0 is missing; upload it"):
        open_recording(folder, part="episode_000000")


def test_missing_and_broken_parts_are_damage_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = write_v2(tmp_path / "arm", {0: 12})
    video = folder / f"videos/chunk-000/{CAMERA}/episode_000000.mp4"
    data = folder / "data/chunk-000/episode_000000.parquet"
    whole = video.read_bytes()
    for content, what in (
        (whole[: len(whole) - 10], "the file is cut off"),
        (whole[:8], "goes to byte"),
        (b"not a video at all", "goes to byte"),
        (b"", "without the index of a video"),
    ):
        video.write_bytes(content)
        recording = open_recording(folder)
        (note,) = recording.damage
        assert what in note.what
        assert note.lost == f"12 images of {CAMERA}"
        assert len(recording.signals) == 3
        assert list(recording.images()) == []
    video.unlink()
    rewrite(data, **{"next.reward": None, "action": pa.array([[1.0, 2.0, 3.0]] * 11 + [[1.0]])})
    recording = open_recording(folder)
    assert [(note.where, note.what) for note in recording.damage] == [
        ("data/chunk-000/episode_000000.parquet: action",
         "1 rows do not hold 3 values as meta/info.json says"),
        ("data/chunk-000/episode_000000.parquet: next.reward", "the column is missing"),
        (f"videos/chunk-000/{CAMERA}/episode_000000.mp4", "the video is missing"),
    ]  # fmt: skip
    action = recording.signals[1].values
    assert action[:11].tolist() == [[1, 2, 3]] * 11
    assert np.isnan(action[11]).all()


def test_fewer_rows_or_frames_than_announced_are_damage(tmp_path: Path) -> None:
    folder = write_v2(tmp_path / "arm", {0: 12})
    path = folder / "data/chunk-000/episode_000000.parquet"
    pq.write_table(pq.read_table(path).slice(0, 9), path)
    (note,) = open_recording(folder).damage
    assert (note.what, note.lost) == ("12 frames announced, 9 found", "3 frames")
    folder = write_v2(tmp_path / "late", {0: 12})
    shutil.copyfile(
        write_v2(tmp_path / "short", {0: 5}) / f"videos/chunk-000/{CAMERA}/episode_000000.mp4",
        folder / f"videos/chunk-000/{CAMERA}/episode_000000.mp4",
    )
    recording = open_recording(folder)
    assert [note.what for note in recording.damage] == ["holds 5 frames, 12 are needed"]
    assert [image.index for image in recording.images()] == [0, 1, 2, 3, 4]


def test_times_of_the_data_win_over_the_frame_rate(tmp_path: Path) -> None:
    folder = write_v2(tmp_path / "arm", {0: 4})
    path = folder / "data/chunk-000/episode_000000.parquet"
    rewrite(path, timestamp=pa.array([0.0, 0.06, 0.1, 0.5], pa.float64()))
    times = open_recording(folder).signals[0].timestamps_ns
    assert times.tolist() == [0, 60_000_000, 100_000_000, 500_000_000]
    rewrite(path, timestamp=None, frame_index=None)
    recording = open_recording(folder)
    assert recording.signals[0].timestamps_ns.tolist() == [0, 50_000_000, 100_000_000, 150_000_000]
    assert "clock" in recording.calibration.assumed


def test_images_and_clouds_in_the_table(tmp_path: Path) -> None:
    folder = write_v2(tmp_path / "arm", {0: 3}, video=False)
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"][CAMERA]["dtype"] = "image"
    info["features"]["observation.lidar"] = {"dtype": "float32", "shape": [2, 4], "names": None}
    info["features"]["observation.far"] = {
        "dtype": "video", "shape": [4, 4], "info": {"video.is_depth_map": True},
    }  # fmt: skip
    info["features"]["observation.depth"] = {"dtype": "float32", "shape": [480, 640]}
    (folder / "meta/info.json").write_text(json.dumps(info))
    stills = [
        {"bytes": b"\x89PNG1", "path": None},
        {"bytes": None, "path": "images/1.jpg"},
        {"bytes": None, "path": "../../secret.png"},
    ]
    clouds = [[[1.0, 2, 3, 0.5], [4, 5, 6, 0.25]]] * 2 + [[[1.0, 2.0]]]
    path = folder / "data/chunk-000/episode_000000.parquet"
    rewrite(path, **{CAMERA: pa.array(stills), "observation.lidar": pa.array(clouds)})
    recording = open_recording(folder)
    images = [(image.encoding, image.data, image.uri) for image in recording.images()]
    assert images == [("png", b"\x89PNG1", ""), ("jpg", None, "images/1.jpg")]
    assert recording.sensor == "observation.lidar"
    sweeps = list(recording.sweeps())
    assert [sweep.timestamp_ns for sweep in sweeps] == [0, 50_000_000]
    assert sweeps[0].points_ego_m.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert sweeps[0].intensity.tolist() == [0.5, 0.25]
    assert sorted(note.lost for note in recording.damage) == [
        "1 images", "3 images of observation.far", "sweep 100000000",
    ]  # fmt: skip
    kinds = {topic.name: topic.kind for topic in recording.topics}
    assert kinds["observation.far"] == "video of depth"
    use = {topic.name: topic.use for topic in recording.topics}
    assert use["observation.depth"] == "not used: 307200 values a frame"


@pytest.mark.parametrize(
    ("names", "fields"),
    [
        (["a", "b", "c"], ("a", "b", "c")),
        ([["a", "b", "c"]], ("a", "b", "c")),
        ({"motors": ["a", "b", "b"]}, ("a", "b", "b_2")),
        ({"z": 2, "x": 0, "y": 1}, ("x", "y", "z")),
        (["timestamp_ns", "b", "c"], ("timestamp_ns_2", "b", "c")),
        (["too", "few"], ("value_0", "value_1", "value_2")),
        (None, ("value_0", "value_1", "value_2")),
    ],
)
def test_names_of_values_come_in_many_shapes(
    tmp_path: Path, names: object, fields: tuple[str, ...]
) -> None:
    folder = write_v2(tmp_path / "arm", {0: 3})
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"]["action"]["names"] = names
    (folder / "meta/info.json").write_text(json.dumps(info))
    assert open_recording(folder).signals[1].fields == fields


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("data/chunk", "../../data/chunk"), "leads out of the data set"),
        (("data/chunk", "/etc/chunk"), "leads out of the data set"),
        (("{episode_index:06d}.parquet", "{secret}.parquet"), "{secret} is not known"),
        (('"shape": [\n', '"shape": [ -3,\n'), "expected a whole number, got -3"),
        (('"features"', '"futures"'), "no features"),
        (("{", "{{"), "not JSON"),
    ],
)
def test_a_wrong_info_is_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    folder = write_v2(tmp_path / "arm", {0: 3})
    path = folder / "meta/info.json"
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(FormatError, match=message):
        open_lerobot(folder, NAME)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_only_our_errors_escape_from_damaged_files(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    write = data.draw(st.sampled_from([write_v2, write_v3]))
    shutil.rmtree(folder, ignore_errors=True)
    write(folder, {0: 6})
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        recording = open_lerobot(folder, NAME)
        assert all(s.values.shape[1] == len(s.fields) for s in recording.signals)
        list(recording.images())
    except DataError:
        pass


def test_a_real_humanoid_equals_what_pandas_reads() -> None:
    pandas = pytest.importorskip("pandas", reason="pip install starloop[oracle]")
    folder = shared_data(G1)
    table = pandas.read_parquet(folder / "data/chunk-000/episode_000029.parquet")
    recording = open_recording(folder)
    assert recording.damage == []
    state, action = recording.signals
    for signal, column in ((state, "observation.state"), (action, "action")):
        np.testing.assert_array_equal(signal.values, np.stack(table[column]).astype(float))
    np.testing.assert_allclose(state.timestamps_ns / 1e9, table["timestamp"], atol=1e-6)
    assert state.fields[0] == "kLeftShoulderPitch"
    stats = json.loads((folder / "meta/episodes_stats.jsonl").read_text())["stats"]
    np.testing.assert_allclose(state.values.max(0), stats["observation.state"]["max"])
    images = list(recording.images())
    assert [image.index for image in images] == list(range(221))  # as many as the video has
    assert {image.encoding for image in images} == {"av1"}
    (source,) = sources(folder)
    assert source.name == "unitree_g1_v2.1_episode_000029"
