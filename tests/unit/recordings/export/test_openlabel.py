"""The parts of an OpenLABEL file agree with one another and with the recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recordings.clouds.pcd_file import read_points
from recordings.export.run import export_recording
from scene.box import Boxes
from scene.pose import SE3
from tests.support.box_proof import assert_same_boxes
from tests.support.tiny_recording import CAMERA, LIDAR, TinyRecording


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyRecording, Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("openlabel") / "out"
    source = TinyRecording()
    export_recording(source, "openlabel", folder)
    return source, folder, json.loads((folder / "openlabel.json").read_text())["openlabel"]


def test_frames_hold_the_poses_and_name_the_clouds(
    written: tuple[TinyRecording, Path, dict[str, Any]],
) -> None:
    source, folder, label = written
    assert list(label["frames"]) == [str(i) for i in range(6)]
    for frame, sweep in zip(label["frames"].values(), source.sweeps(), strict=True):
        properties = frame["frame_properties"]
        seconds, _, rest = properties["timestamp"].partition(".")
        assert int(seconds) * 10**9 + int(rest) == sweep.timestamp_ns
        transform = properties["transforms"]["ego_to_map"]
        assert (transform["src"], transform["dst"]) == ("ego", "map")
        values = transform["transform_src_to_dst"]
        x, y, z, w = values["quaternion"]
        pose = SE3.from_quaternion(np.array([w, x, y, z]), np.array(values["translation"]))
        expected = source.trajectory.at(sweep.timestamp_ns)
        np.testing.assert_allclose(pose.rotation, expected.rotation, atol=1e-12)
        np.testing.assert_array_equal(pose.translation_m, expected.translation_m)
        cloud = read_points(folder / properties["streams"][LIDAR]["uri"], np.zeros(3))
        np.testing.assert_array_equal(cloud.xyz_m, sweep.points_ego_m)


def test_cuboids_are_the_boxes(written: tuple[TinyRecording, Path, dict[str, Any]]) -> None:
    source, _, label = written
    assert source.ground_truth is not None
    for number, sweep in enumerate(source.sweeps()):
        objects = label["frames"][str(number)].get("objects", {})
        if number == 2:
            assert not objects
            assert label["frames"]["2"]["frame_properties"]["labelled"] is False
            continue
        values = [o["object_data"]["cuboid"][0]["val"] for o in objects.values()]
        table = np.array(values).reshape(-1, 10)
        assert not table[:, 3:5].any()  # x and y of the quaternion: the boxes stand upright
        found = Boxes.make(
            table[:, :3], table[:, 7:], 2 * np.arctan2(table[:, 5], table[:, 6]),
            [label["objects"][uid]["type"] for uid in objects],
            track_id=[label["objects"][uid]["name"] for uid in objects],
        )  # fmt: skip
        expected = source.ground_truth[sweep.timestamp_ns]
        found = assert_same_boxes(expected, found, sweep.points_ego_m)
        assert found.track_id.tolist() == expected.track_id.tolist()


def test_references_lead_somewhere(written: tuple[TinyRecording, Path, dict[str, Any]]) -> None:
    source, folder, label = written
    systems = label["coordinate_systems"]
    for name, system in systems.items():
        assert system["parent"] == "" or name in systems[system["parent"]]["children"]
        assert all(systems[child]["parent"] == name for child in system["children"])
    place = systems[LIDAR]["pose_wrt_parent"]["translation"]
    np.testing.assert_array_equal(place, source.calibration.of(LIDAR).translation_m)
    assert label["frame_intervals"] == [{"frame_start": 0, "frame_end": 5}]
    for uid, entry in label["objects"].items():
        inside = {
            frame
            for span in entry["frame_intervals"]
            for frame in range(span["frame_start"], span["frame_end"] + 1)
        }
        seen = {
            int(number)
            for number, frame in label["frames"].items()
            if uid in frame.get("objects", {})
        }
        assert inside == seen == {0, 1, 3, 4}
    camera = label["streams"][CAMERA]
    assert camera["stream_properties"]["intrinsics_pinhole"]["camera_matrix"][0] == 50.0
    assert len(list((folder / camera["uri"]).glob("*.jpg"))) == 6
