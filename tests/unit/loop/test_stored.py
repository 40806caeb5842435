"""What was ingested is a recording again: sweeps to the step, everything else exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from loop.export import ExportRequest, run_export
from loop.ingest import ingest_recording
from loop.landing import register, scan
from loop.settle import annotated_row, annotation_rows
from loop.stored import StoredRecording
from loop.workspace import Workspace
from recordings.export.run import ExportResult, export_recording
from recordings.open import open_recording
from recordings.recording import Recording
from scene.box import Boxes
from scene.errors import DataError, NotFoundError
from scene.recording import RecordingId
from storage import schemas
from storage.boxes import boxes_to_arrow
from tests.support.box_proof import assert_same_boxes
from tests.support.tiny_recording import CAMERA, LIDAR, TinyRecording, jpeg
from tests.support.workspaces import make_workspace

STEP_M = 0.0005  # half of the point codec's step


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, RecordingId]:
    """The tiny drive, exported to MCAP, landed and ingested."""
    folder = tmp_path_factory.mktemp("stored")
    workspace = make_workspace(folder)
    export_recording(TinyRecording(num_points=3000), "mcap", folder / "landing" / "drive")
    (source,) = scan(workspace)
    register(workspace, source)
    result = ingest_recording(workspace, source.name)
    assert result.status == "ok", result.message
    return workspace, source.name


def export(workspace: Workspace, request: ExportRequest) -> ExportResult:
    return run_export(lambda: workspace, request, lambda _opened, _total: lambda _n, _what: None)


def same_drive(source: TinyRecording, again: Recording, points_m: float) -> None:
    """Check points, times, poses and boxes of a recording against the drive it came from."""
    assert source.ground_truth is not None
    assert again.ground_truth is not None
    pairs = list(zip(source.sweeps(), again.sweeps(), strict=True))
    for expected, sweep in pairs:
        assert sweep.timestamp_ns == expected.timestamp_ns
        # The codec orders points by beam and direction: compare them as sets, by time and ring.
        a = np.lexsort((expected.points_ego_m[:, 0], expected.ring, expected.offset_ns))
        b = np.lexsort((sweep.points_ego_m[:, 0], sweep.ring, sweep.offset_ns))
        np.testing.assert_array_equal(sweep.offset_ns[b], expected.offset_ns[a])
        np.testing.assert_allclose(
            sweep.points_ego_m[b], expected.points_ego_m[a], rtol=0, atol=points_m
        )
        np.testing.assert_allclose(sweep.intensity[b], expected.intensity[a], atol=0.5 / 255)
        boxes = source.ground_truth.get(sweep.timestamp_ns)
        if boxes is not None and len(boxes):
            found = assert_same_boxes(
                boxes, again.ground_truth[sweep.timestamp_ns],
                expected.points_ego_m[a], sweep.points_ego_m[b],
            )  # fmt: skip
            assert found.track_id.tolist() == boxes.track_id.tolist()
    for time in source.times:
        expected, found = source.trajectory.at(time), again.trajectory.at(time)
        np.testing.assert_allclose(found.rotation, expected.rotation, atol=1e-9)
        np.testing.assert_allclose(found.translation_m, expected.translation_m, atol=1e-6)


def test_a_stored_recording_is_the_one_that_was_ingested(
    stored: tuple[Workspace, RecordingId],
) -> None:
    workspace, name = stored
    source = TinyRecording(num_points=3000)
    with StoredRecording(workspace, name) as again:
        same_drive(source, again, STEP_M + 1e-5)
        assert again.num_sweeps == 6
        assert again.sensor == LIDAR
        assert len(again.trajectory) == len(source.trajectory)
        np.testing.assert_allclose(
            again.calibration.of(CAMERA).rotation, source.calibration.of(CAMERA).rotation, atol=1e-9
        )
        assert {s.name: len(s.timestamps_ns) for s in again.signals} == {"/imu": 60, "/fix": 60}
        assert [image.data for image in again.images()] == [jpeg(i) for i in range(6)]


@pytest.mark.slow
@pytest.mark.parametrize("to", ["mcap", "av2", "pcd"])
def test_stored_exported_and_ingested_again_is_the_same_drive(
    stored: tuple[Workspace, RecordingId], tmp_path: Path, to: str
) -> None:
    workspace, name = stored
    export(workspace, ExportRequest(what=name, to=to, folder=tmp_path / "landing" / "again"))
    other = make_workspace(tmp_path)
    (source,) = scan(other)
    register(other, source)
    result = ingest_recording(other, source.name)
    assert result.status == "ok", result.message
    with StoredRecording(other, source.name) as again, StoredRecording(workspace, name) as first:
        same_drive(TinyRecording(num_points=3000), again, STEP_M + 2e-5)
        for a, b in zip(first.sweeps(), again.sweeps(), strict=True):
            # On the codec's grid already, so nothing moves the second time.
            order_a, order_b = (
                np.lexsort((s.points_ego_m[:, 0], s.ring, s.offset_ns)) for s in (a, b)
            )
            np.testing.assert_allclose(
                b.points_ego_m[order_b], a.points_ego_m[order_a], rtol=0, atol=2e-5
            )


def test_annotations_instead_of_the_boxes_that_came(
    stored: tuple[Workspace, RecordingId], tmp_path: Path
) -> None:
    workspace, name = stored
    source = TinyRecording()
    with pytest.raises(DataError, match="no frame of it has been annotated"):
        export(
            workspace, ExportRequest(what=name, to="pcd", folder=tmp_path / "o", annotations=True)
        )
    drawn = {
        source.times[0]: Boxes.make(
            np.array([[5.0, 1.0, 0.5]]), np.array([[4.0, 2.0, 1.5]]), np.array([0.5]), ["bus"]
        ),
        source.times[3]: Boxes.empty(),
    }
    rows = [annotated_row(name, time, "ann", "test", boxes) for time, boxes in drawn.items()]
    table = pa.Table.from_pylist(rows, schema=schemas.ANNOTATED_FRAMES)
    labels = annotation_rows(boxes_to_arrow(name, drawn), "ann")
    workspace.tables.replace("annotations", labels, {"recording": name})
    workspace.tables.replace("annotated_frames", table, {"recording": name})
    export(workspace, ExportRequest(what=name, to="pcd", folder=tmp_path / "o", annotations=True))
    truth = open_recording(tmp_path / "o").ground_truth
    assert truth is not None
    assert {time: boxes.category.tolist() for time, boxes in truth.items()} == {
        source.times[0]: ["bus"], source.times[3]: [],
    }  # fmt: skip


def test_frames_of_a_path_and_of_an_id(
    stored: tuple[Workspace, RecordingId], tmp_path: Path
) -> None:
    workspace, name = stored
    landed = Path(workspace.landing.url.removeprefix("file://")) / "drive"
    for number, what in enumerate((str(name), str(landed))):
        request = ExportRequest(what=what, to="pcd", folder=tmp_path / f"{number}", frames=(2, 4))
        assert export(workspace, request).num_sweeps == 2
    assert sorted(p.name for p in (tmp_path / "0").glob("*.pcd")) == sorted(
        p.name for p in (tmp_path / "1").glob("*.pcd")
    )


def test_what_is_not_there_is_said(stored: tuple[Workspace, RecordingId], tmp_path: Path) -> None:
    workspace, name = stored
    with pytest.raises(NotFoundError, match=r"recording nobody: not ingested; `starloop status`"):
        export(workspace, ExportRequest(what="nobody", to="pcd", folder=tmp_path / "o"))
    with pytest.raises(NotFoundError, match="there is nothing there, and it is no id"):
        export(workspace, ExportRequest(what="no/such file", to="pcd", folder=tmp_path / "o"))
    landed = Path(workspace.landing.url.removeprefix("file://")) / "drive"
    with pytest.raises(DataError, match="give its id"):
        export(
            workspace,
            ExportRequest(what=str(landed), to="pcd", folder=tmp_path / "o", annotations=True),
        )
    assert list(tmp_path.iterdir()) == []
    del name
