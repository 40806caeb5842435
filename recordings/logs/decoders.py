"""Which code understands the messages of a topic: one table of encodings and message types."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from recordings.logs.batches import BatchReader
from recordings.logs.log_file import Channel
from recordings.logs.messages import LogMessage
from scene.sweep import Motion


@dataclass(frozen=True, slots=True)
class Decoder:
    """Turns the messages of one topic, one after the other, into what they mean.

    A decoder may keep state from message to message, such as half a revolution; it then copies
    what it keeps, because the bytes of a message live only until the next one. Every walk over a
    recording makes its own decoder.

    Attributes:
        use: what `Topic.use` says: "sweeps", "poses" and so on, or "not used: " and the reason.
            "images" are decoded only when images are asked for, topics that are not used never.
        decode: from the bytes of a message and its log time in nanoseconds; raises FormatError.
        finish: what is left after the last message.
        motion: of sweeps, see `Recording.motion`.
        batches: reads many messages at once, None if that is not known how.
    """

    use: str
    decode: Callable[[memoryview, int], Iterable[LogMessage]]
    finish: Callable[[], Iterable[LogMessage]] = tuple
    motion: Motion = "unknown"
    batches: BatchReader | None = None


# A line: message encodings, type, "module:function"; the function makes a Decoder of a Channel.
_ROS: Final = ("cdr", "ros1")
_ROS_DECODERS: Final = "recordings.logs.ros_decoders"
_FOXGLOVE: Final = ("protobuf", "json")
_FOXGLOVE_DECODERS: Final = "recordings.logs.foxglove"
_TABLE: Final = (
    (_ROS, "sensor_msgs/msg/PointCloud2", f"{_ROS_DECODERS}:point_cloud"),
    (_ROS, "tf2_msgs/msg/TFMessage", f"{_ROS_DECODERS}:transforms"),
    (_ROS, "tf/msg/tfMessage", f"{_ROS_DECODERS}:transforms"),
    (_ROS, "geometry_msgs/msg/TransformStamped", f"{_ROS_DECODERS}:transform"),
    (_ROS, "nav_msgs/msg/Odometry", f"{_ROS_DECODERS}:pose"),
    (_ROS, "geometry_msgs/msg/PoseStamped", f"{_ROS_DECODERS}:pose"),
    (_ROS, "geometry_msgs/msg/PoseWithCovarianceStamped", f"{_ROS_DECODERS}:pose"),
    (_ROS, "geometry_msgs/msg/PoseWithCovariance", f"{_ROS_DECODERS}:bare_pose"),
    (_ROS, "geometry_msgs/msg/Pose", f"{_ROS_DECODERS}:bare_pose"),
    (_ROS, "vision_msgs/msg/Detection3DArray", f"{_ROS_DECODERS}:detections"),
    (_ROS, "sensor_msgs/msg/Imu", f"{_ROS_DECODERS}:imu"),
    (_ROS, "sensor_msgs/msg/NavSatFix", f"{_ROS_DECODERS}:gnss"),
    (_ROS, "sensor_msgs/msg/CameraInfo", f"{_ROS_DECODERS}:camera"),
    (_ROS, "sensor_msgs/msg/CompressedImage", f"{_ROS_DECODERS}:image"),
    (_FOXGLOVE, "foxglove.PointCloud", f"{_FOXGLOVE_DECODERS}:point_cloud"),
    (_FOXGLOVE, "foxglove.FrameTransform", f"{_FOXGLOVE_DECODERS}:frame_transform"),
    (_FOXGLOVE, "foxglove.FrameTransforms", f"{_FOXGLOVE_DECODERS}:frame_transforms"),
    (_FOXGLOVE, "foxglove.PoseInFrame", f"{_FOXGLOVE_DECODERS}:pose_in_frame"),
    (_FOXGLOVE, "foxglove.PosesInFrame", f"{_FOXGLOVE_DECODERS}:poses_in_frame"),
    (_FOXGLOVE, "foxglove.Odometry", f"{_FOXGLOVE_DECODERS}:odometry"),
    (_FOXGLOVE, "foxglove.SceneUpdate", "recordings.logs.foxglove_scene:scene_update"),
    (_FOXGLOVE, "foxglove.LocationFix", f"{_FOXGLOVE_DECODERS}:location_fix"),
    (_FOXGLOVE, "foxglove.JointStates", f"{_FOXGLOVE_DECODERS}:joint_states"),
    (_FOXGLOVE, "foxglove.CameraCalibration", f"{_FOXGLOVE_DECODERS}:camera_calibration"),
    (_FOXGLOVE, "foxglove.CompressedImage", f"{_FOXGLOVE_DECODERS}:image"),
    (_FOXGLOVE, "foxglove.CompressedVideo", f"{_FOXGLOVE_DECODERS}:image"),
    (_ROS, "velodyne_msgs/msg/VelodyneScan", "recordings.logs.packets_velodyne:scan"),
    (("velodyne",), "velodyne.DataPacket", "recordings.logs.packets_velodyne:data_packets"),
    (("ouster",), "ouster.LidarPacket", "recordings.logs.packets_ouster:lidar"),
    (("ouster",), "ouster.ImuPacket", "recordings.logs.packets_ouster:imu"),
)
_DECODERS: Final = {
    (encoding, kind): opener for encodings, kind, opener in _TABLE for encoding in encodings
}
_NOT_USED: Final = {
    "sensor_msgs/msg/Image": "raw images are not kept; record the compressed topic",
    "sensor_msgs/msg/LaserScan": "a scan of one plane is no sweep",
    "velodyne.PositionPacket": "position packets of the sensor's own GPS",
    "ouster.UnknownPacket": "Ouster packets need the sensor's metadata file (JSON) beside them",
    "udp.Datagram": "network traffic of no lidar that is read",
    "foxglove.RawImage": "raw images are not kept; record the compressed topic",
    "foxglove.LaserScan": "a scan of one plane is no sweep",
}


def make_decoder(channel: Channel) -> Decoder:
    """Return what understands a channel; what nobody understands says so in its `use`."""
    kind = channel.type_name
    opener = _DECODERS.get((channel.encoding, kind))
    if opener is None:
        return Decoder(f"not used: {_why_not(channel)}", lambda _data, _time: ())
    module, _, function = opener.partition(":")
    return getattr(importlib.import_module(module), function)(channel)


def _why_not(channel: Channel) -> str:
    kind = channel.type_name
    if kind in _NOT_USED:
        return _NOT_USED[kind]
    known = [encoding for encoding, name in _DECODERS if name == kind]
    if known:
        return f"encoded as {channel.encoding!r}; read is {', '.join(known)}"
    if "Packet" in kind or kind.endswith("Scan"):
        return "raw packets of a sensor without a decoder; record the driver's PointCloud2 topic"
    return f"no decoder for {kind or 'messages without a schema'}"
