"""Real drives and the generated fleet keep the sanity rules; what fires is true."""

from __future__ import annotations

from pathlib import Path

import pytest

from loop.check import Checked, check_uploads, uploads_at
from loop.config import IngestConfig
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.integration
AV2 = "argoverse2/sensor/val/7fab2350-7eaf-3b7e-a39d-6937a4c1bede"
KITTI = "kitti_raw/2011_09_26/2011_09_26_drive_0001_sync"
ROS1 = "rosbag1/derived_pandaset_002_front_ros1.bag"
ROS2 = "mcap/derived_pandaset_002_front_ros2"


def checked(*paths: Path) -> list[Checked]:
    uploads = [upload for path in paths for upload in uploads_at(path)]
    config = IngestConfig(odometry="never")
    return list(check_uploads(uploads, config, lambda _: lambda count, total: None))


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        ("av2_layout/pandaset_002", set()),
        (KITTI, set()),
        # Two tracks of the published annotations are one parked car, 0.3 mm apart.
        (AV2, {"REC061"}),
        # The bag really has no CameraInfo.
        (ROS2, {"REC054"}),
        ("mcap/nav2_turtlebot.mcap", set()),
        # A single cloud without poses, times and mounting, and with the lidar as origin.
        ("pcd/cloudini_lidar_xyzi.pcd", {"REC007", "REC008", "REC011", "REC013"}),
    ],
)
def test_a_real_drive_has_only_what_is_true_of_it(data: str, codes: set[str]) -> None:
    (found,) = checked(shared_data(data))
    assert {finding.code for finding in found.findings} == codes, found.findings
    assert found.damage == []
    assert found.verdict in ("clean", "warning")


def test_one_drive_in_two_formats_is_the_same_drive() -> None:
    one, two, whole = checked(
        shared_data(ROS2), shared_data(ROS1), shared_data("av2_layout/pandaset_002")
    )
    assert one.fingerprint == two.fingerprint
    (finding,) = [f for f in two.findings if f.code in ("REC051", "REC052")]
    assert (finding.code, finding.message) == ("REC052", f"its sweeps are those of {one.name}")
    # The bags hold the front of the view: not the same view, so not found by it.
    assert not {f.code for f in whole.findings}


def test_the_generated_fleet_is_clean(tmp_path: Path) -> None:
    from simulation.fleet import FleetConfig, generate_fleet

    generate_fleet(tmp_path, FleetConfig(num_early=3, num_late=3))
    drives = checked(tmp_path)
    assert len(drives) == 6
    assert {drive.name: drive.findings for drive in drives} == {d.name: [] for d in drives}
    assert sum(drive.num_boxes for drive in drives) > 3000
