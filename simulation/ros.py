"""Writes a drive as an ordinary ROS 2 MCAP: clouds, transforms, odometry and ground truth."""

from __future__ import annotations

from pathlib import Path

from scene.box import Boxes
from scene.errors import FormatError
from scene.pose import SE3
from scene.sweep import Sweep
from simulation.lidar import EgoMotion
from storage.ros2 import Ros2Mcap

CLOUD_TOPIC = "/lidar/points"
TRUTH_TOPIC = "/ground_truth/boxes"
_EGO, _MAP, _LIDAR = "base_link", "map", "lidar"


class DriveWriter:
    """Writes one MCAP; the file appears under its name only when it is complete.

    Args:
        path: where the file goes.
        address: content address stored in the file, so that it need not be made again.
        ego_SE3_lidar: published as a static transform.
    """

    def __init__(self, path: Path, address: str, ego_SE3_lidar: SE3) -> None:
        self._path, self._address = path, address
        self._part = path.with_name(f".{path.name}.part")
        self._file = Ros2Mcap(self._part)
        self._lidar = ego_SE3_lidar

    def static_transform(self, timestamp_ns: int) -> None:
        """Publish where the lidar stands."""
        self._file.transform("/tf_static", timestamp_ns, _EGO, {_LIDAR: self._lidar})

    def sweep(self, sweep: Sweep) -> None:
        """Publish a cloud in the lidar frame; `t` is nanoseconds after the header's stamp."""
        self._file.cloud(CLOUD_TOPIC, _LIDAR, sweep, self._lidar.inverse())

    def odometry(self, timestamp_ns: int, ego: EgoMotion) -> None:
        """Publish the pose of the ego in the map and its speed."""
        velocity = (ego.speed_mps, 0.0, 0.0)
        self._file.odometry(
            "/odom", timestamp_ns, (_MAP, _EGO), ego.map_SE3_ego, velocity, ego.yaw_rate_radps
        )

    def truth(self, timestamp_ns: int, boxes_map: Boxes) -> None:
        """Publish map-frame boxes as Detection3DArray: size is x length, y width, z height."""
        self._file.boxes(TRUTH_TOPIC, timestamp_ns, _MAP, boxes_map)

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._file.metadata("starloop.drive", {"address": self._address})
        self._file.close()
        self._part.replace(self._path)

    def abandon(self) -> None:
        """Throw away an unfinished file."""
        self._file.abandon()
        self._part.unlink(missing_ok=True)


def address_of(path: Path) -> str | None:
    """Return the content address of a finished drive, or None if this is not one."""
    from mcap.exceptions import McapError
    from mcap.reader import make_reader

    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream:
            for record in make_reader(stream).iter_metadata():
                if record.name == "starloop.drive":
                    return record.metadata.get("address")
    except (McapError, FormatError, OSError):
        return None
    return None
