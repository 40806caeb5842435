from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from recordings.clouds import pcd_file
from recordings.discovery import group_keys
from recordings.logs import packets_velodyne
from recordings.logs.decoders import make_decoder
from recordings.logs.log_file import Channel, Schema
from recordings.logs.messages import CloudMessage
from recordings.logs.pcap import PcapRecording, open_pcap
from recordings.open import open_recording
from scene.errors import FormatError
from scene.recording import RecordingId
from tests.support.pcap_writer import HOW, KINDS, Datagram, frames, write
from tests.support.shared_data import shared_data

vd = pytest.importorskip("velodyne_decoder", reason=HOW)

START = 1_700_000_000_000_000_000
NAME = RecordingId("a")
TURN_PACKETS = 75  # of 12 blocks of 0.4 degrees, 4.8 degrees a packet
PACKET_NS = 1_327_000
GOLDEN = Path(__file__).parents[3] / "data" / "ouster_packets.npz"
LAYOUTS = (
    "LEGACY", "RNG19_RFL8_SIG16_NIR16", "RNG19_RFL8_SIG16_NIR16_DUAL", "RNG15_RFL8_NIR8",
    "RNG15_RFL8_NIR8_DUAL", "FUSA_RNG15_RFL8_NIR8_DUAL",
)  # fmt: skip


def packet(
    azimuth: int, since_hour_us: int = 0, *, model: int = 0x22, distance: int = 5000
) -> bytes:
    """A VLP-16 packet of 12 blocks: the lasers at `distance` times 2 mm, brightness by laser."""
    made = b""
    for block in range(12):
        made += struct.pack("<HH", 0xEEFF, (azimuth + 40 * block) % 36000)
        made += b"".join(struct.pack("<HB", distance, laser) for laser in range(32))
    return made + struct.pack("<IBB", since_hour_us % 3_600_000_000, 0x37, model)


def drive(turns: float, first: int = 9000, start_us: int = 5_000_000) -> list[Datagram]:
    """Datagrams of some turns from an azimuth on, as they arrive."""
    return [
        (START + i * PACKET_NS, 2368,
         packet((first + 480 * i) % 36000, start_us + i * PACKET_NS // 1000))
        for i in range(round(turns * TURN_PACKETS))
    ]  # fmt: skip


def test_turns_become_sweeps(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", drive(3))
    recording = open_recording(path)
    assert isinstance(recording, PcapRecording)
    assert (recording.sensor, recording.motion) == ("velodyne", "raw")
    assert recording.calibration.assumed == {"velodyne", "map"}
    (topic,) = recording.topics
    told = (topic.name, topic.count, topic.use)
    assert told == ("udp/192.168.1.201/2368", 225, "sweeps")
    sweeps = list(recording.sweeps())
    assert recording.damage == []
    turn_ns = TURN_PACKETS * PACKET_NS
    assert [sweep.timestamp_ns for sweep in sweeps] == [
        (START + i * turn_ns) // 1000 * 1000 for i in range(3)
    ]
    for sweep in sweeps:
        assert len(sweep) == TURN_PACKETS * 12 * 32
        # The geometry by the manual, not by the decoder: ring k looks k * 2 - 15 degrees up.
        x, y, z = sweep.points_ego_m.astype(np.float64).T
        np.testing.assert_allclose(np.hypot(np.hypot(x, y), z), 10.0, atol=0.02)
        elevation = np.degrees(np.arcsin(z / 10.0))
        np.testing.assert_allclose(elevation, sweep.ring * 2.0 - 15, atol=0.2)
        # It turns clockwise, and begins where the capture does: at 90 degrees, to the right.
        assert abs(np.degrees(np.arctan2(y[0], x[0])) + 90) < 0.5
        assert sweep.offset_ns.min() >= 0
        np.testing.assert_allclose(np.ptp(sweep.offset_ns), turn_ns, rtol=0.01)
        np.testing.assert_allclose(sweep.intensity.max() * 255, 31)


def test_the_last_turn_is_kept_if_half_of_it_is_there(tmp_path: Path) -> None:
    for turns, expected in ((2.3, 2), (2.7, 3), (0.2, 1)):
        recording = open_pcap(write(tmp_path / "a.pcap", drive(turns)), NAME)
        assert len(list(recording.sweeps())) == expected


def test_a_break_ends_a_turn(tmp_path: Path) -> None:
    first, second = drive(0.8), drive(0.8)
    second = [(time + 2_000_000_000, port, data) for time, port, data in second]
    recording = open_pcap(write(tmp_path / "a.pcap", first + second), NAME)
    assert [len(sweep) for sweep in recording.sweeps()] == [60 * 384, 60 * 384]


def test_the_sensors_clock_is_used_where_it_is_set(tmp_path: Path) -> None:
    hour_us = START // 1000 % 3_600_000_000
    for ahead_us, expected in ((-300, START - 300_000), (10_000_000, START)):
        datagrams = drive(1, start_us=hour_us + ahead_us)
        (sweep,) = open_pcap(write(tmp_path / "a.pcap", datagrams, "nanoseconds"), NAME).sweeps()
        assert sweep.timestamp_ns == expected


def test_an_hour_ends_within_a_turn(tmp_path: Path) -> None:
    datagrams = drive(1, start_us=3_600_000_000 - 50_000)
    (sweep,) = open_pcap(write(tmp_path / "a.pcap", datagrams), NAME).sweeps()
    assert 0 <= sweep.offset_ns.min() < sweep.offset_ns.max() < 101_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_capture_reads_the_same(tmp_path: Path, kind: str) -> None:
    expected = list(open_pcap(write(tmp_path / "a.pcap", drive(2)), NAME).sweeps())
    found = list(open_recording(write(tmp_path / f"{kind}.x", drive(2), kind)).sweeps())
    assert len(found) == len(expected) == 2
    for one, other in zip(found, expected, strict=True):
        assert abs(one.timestamp_ns - other.timestamp_ns) < 1000
        np.testing.assert_array_equal(one.points_ego_m, other.points_ego_m)


def test_what_is_no_lidar_is_listed(tmp_path: Path) -> None:
    noise = [(START, 8308, bytes(512)), (START, 53, b"who?"), (START, 7502, bytes(8448))]
    recording = open_pcap(write(tmp_path / "a.pcap", noise + drive(1)), NAME)
    uses = {topic.name.rpartition("/")[2]: topic.use for topic in recording.topics}
    assert uses == {
        "2368": "sweeps",
        "53": "not used: network traffic of no lidar that is read",
        "8308": "not used: position packets of the sensor's own GPS",
        "7502": "not used: Ouster packets need the sensor's metadata file (JSON) beside them",
    }
    with pytest.raises(FormatError, match=r"no lidar packets.*metadata file \(JSON\) beside them"):
        open_pcap(write(tmp_path / "b.pcap", noise), NAME)


def test_models_that_are_not_read_are_named(tmp_path: Path) -> None:
    other = [(START + i, 2368, packet(0, model=0x99)) for i in range(3)]
    with pytest.raises(FormatError, match=r"model number 0x99; read are HDL-32E, VLP-16"):
        open_pcap(write(tmp_path / "a.pcap", other), NAME)


def test_a_capture_that_is_cut_off_keeps_what_is_whole(tmp_path: Path) -> None:
    for kind in KINDS:
        path = write(tmp_path / f"{kind}.pcap", drive(2), kind)
        path.write_bytes(path.read_bytes()[:-1000])
        recording = open_pcap(path, NAME)
        assert [len(s) for s in recording.sweeps()] == [75 * 384, 74 * 384]
        (damage,) = recording.damage
        assert "the file ends inside" in damage.what


def test_packets_cut_by_the_snapshot_length_are_counted(tmp_path: Path) -> None:
    packets = [(time, data[:1000]) for time, data in frames(drive(0.5))]
    (tmp_path / "a.pcap").write_bytes(KINDS["pcap"](packets))
    with pytest.raises(FormatError, match="cut short by the capture"):
        open_pcap(tmp_path / "a.pcap", NAME)


def test_without_the_decoder_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.pcap", drive(1))
    monkeypatch.setitem(sys.modules, "velodyne_decoder", None)
    with pytest.raises(FormatError, match=r"pip install 'starloop\[packets\]'"):
        open_pcap(path, NAME)


def scan_message(encoding: str, count: int = 5) -> bytes:
    """A VelodyneScan as ROS 1 and ROS 2 write it."""
    frame = b"front\0" if encoding == "cdr" else b"front"
    made = b"" if encoding == "cdr" else struct.pack("<I", 1)
    made += struct.pack("<III", 17, 5, len(frame)) + frame
    made += b"\0" * (-len(made) % 4 if encoding == "cdr" else 0) + struct.pack("<I", count)
    for i in range(count):
        made += b"\0" * (-len(made) % 4 if encoding == "cdr" else 0)
        made += struct.pack("<II", 17 + i, 9) + packet(480 * i, 1327 * i)
    return (b"\0\1\0\0" if encoding == "cdr" else b"") + made


@pytest.mark.parametrize("encoding", ["cdr", "ros1"])
def test_scan_messages_of_ros(encoding: str) -> None:
    schema = Schema("velodyne_msgs/VelodyneScan", "ros1msg", b"")
    decoder = make_decoder(Channel("/packets", schema, encoding))
    (cloud,) = decoder.decode(memoryview(scan_message(encoding)), 0)
    assert isinstance(cloud, CloudMessage)
    assert cloud[:3] == (17_000_000_009, "front", 5 * 1206)
    assert len(cloud.read().xyz_m) == 5 * 384
    with pytest.raises(FormatError, match=r"cut short|left"):
        list(decoder.decode(memoryview(scan_message(encoding)[:-9]), 0))


@given(st.binary(max_size=8), st.integers(0, 7000))
@settings(max_examples=100, deadline=None)
def test_flipped_scans_are_read_or_refused(noise: bytes, at: int) -> None:
    good = scan_message("cdr")
    at %= len(good)
    bad = good[:at] + noise + good[at + len(noise) :]
    schema = Schema("velodyne_msgs/msg/VelodyneScan", "", b"")
    with suppress(FormatError):
        for cloud in make_decoder(Channel("/a", schema, "cdr")).decode(memoryview(bad), 0):
            assert isinstance(cloud, CloudMessage)
            assert cloud.read().xyz_m.shape[1] == 3


@pytest.fixture(scope="module")
def small_captures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("small")
    return {
        kind: write(folder / kind, drive(0.1), kind).read_bytes() for kind in ("pcap", "pcapng")
    }


@given(st.sampled_from(["pcap", "pcapng"]), st.binary(max_size=40), st.integers(0, 2**20))
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_flipped_captures_are_read_or_refused(
    small_captures: dict[str, bytes], tmp_path: Path, kind: str, noise: bytes, at: int
) -> None:
    good = small_captures[kind]
    at = at % 400 if at % 2 else at % len(good)  # headers are few
    (tmp_path / "a.pcap").write_bytes(good[:at] + noise + good[at + len(noise) // 2 :])
    with suppress(FormatError):
        assert len(list(open_recording(tmp_path / "a.pcap").sweeps())) <= 4


def ouster_capture(folder: Path, layout: str, kind: str = "pcap") -> Path:
    golden = np.load(GOLDEN)
    folder.mkdir(exist_ok=True)
    (folder / "drive.json").write_bytes(golden[f"{layout}/metadata"].tobytes())
    (folder / "other.json").write_text('{"not": "a sensor"}')
    packets = [(START + i * 10**6, 7502, row.tobytes())
               for i, row in enumerate(golden[f"{layout}/packets"])]  # fmt: skip
    return write(folder / "drive.pcap", [*packets, imu_packet()], kind)


def imu_packet() -> Datagram:
    values = (0.0, 0.0, 1.0, 0.0, 0.0, 180.0)
    return START, 7503, struct.pack("<QQQ6f", 1, 2, START + 5, *values)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ouster_packets_equal_the_sensors_own_kit(tmp_path: Path, layout: str) -> None:
    recording = open_recording(ouster_capture(tmp_path / "a", layout))
    assert (recording.sensor, recording.motion) == ("os_sensor", "raw")
    (sweep,) = recording.sweeps()
    golden = np.load(GOLDEN)
    expected = golden[f"{layout}/xyz_m"]
    np.testing.assert_allclose(sweep.points_ego_m, expected, atol=3e-5)
    reflectivity = golden[f"{layout}/reflectivity"]
    np.testing.assert_allclose(sweep.intensity * 255, reflectivity, atol=1e-4)
    # Columns 100, 101 and 103 are valid; the sensor's clock is set, so its time is the sweep's.
    column_ns = 195_312
    assert sweep.timestamp_ns == START + 100 * column_ns
    assert set(np.unique(sweep.offset_ns)) == {0, column_ns, 3 * column_ns}
    # Rings count from the lowest beam.
    elevation = np.arcsin(sweep.points_ego_m[:, 2] / np.linalg.norm(sweep.points_ego_m, axis=1))
    low, high = elevation[sweep.ring < 8], elevation[sweep.ring >= 56]
    assert low.max() < 0 < high.min()
    (signal,) = recording.signals
    np.testing.assert_allclose(signal.values, [[0, 0, np.pi, 0, 0, 9.80665]], rtol=1e-6)
    assert signal.timestamps_ns.tolist() == [START + 5]


def test_a_lost_fragment_costs_its_datagram_only(tmp_path: Path) -> None:
    golden = np.load(GOLDEN)
    layout = "RNG19_RFL8_SIG16_NIR16_DUAL"
    rows = [row.tobytes() for row in golden[f"{layout}/packets"]]
    assert len(rows[0]) > 1480
    (tmp_path / "a.json").write_bytes(golden[f"{layout}/metadata"].tobytes())
    packets = frames([(START, 7502, rows[0]), (START, 7502, rows[1])])
    (tmp_path / "a.pcap").write_bytes(KINDS["pcap"](packets[1:]))
    recording = open_pcap(tmp_path / "a.pcap", NAME)
    (sweep,) = recording.sweeps()
    assert 0 < len(sweep) < len(golden[f"{layout}/xyz_m"])
    (damage,) = recording.damage
    assert (damage.what, damage.lost[:11]) == ("datagrams lack a fragment", "1 datagrams")
    # In another order than sent, and with an empty network between.
    (tmp_path / "a.pcap").write_bytes(KINDS["pcap"](packets[::-1]))
    (sweep,) = open_pcap(tmp_path / "a.pcap", NAME).sweeps()
    assert len(sweep) == len(golden[f"{layout}/xyz_m"])


def test_frames_are_told_apart_by_their_number(tmp_path: Path) -> None:
    golden = np.load(GOLDEN)
    layout = "RNG19_RFL8_SIG16_NIR16"
    rows = [bytearray(row.tobytes()) for row in golden[f"{layout}/packets"]]
    rows[1][2:4] = struct.pack("<H", 8)
    (tmp_path / "a.json").write_bytes(golden[f"{layout}/metadata"].tobytes())
    datagrams = [(START + i * 10**8, 7502, bytes(row)) for i, row in enumerate(rows)]
    datagrams.append((START + 2 * 10**8, 7502, bytes(rows[0][:-1])))
    recording = open_pcap(write(tmp_path / "a.pcapng", datagrams, "pcapng"), NAME)
    assert len(list(recording.sweeps())) == 2
    assert [t.use for t in recording.topics if t.kind == "ouster.UnknownPacket"] != []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"RNG19_RFL8_SIG16_NIR16", b"RNG99", "layout RNG99 are not read"),
        (b'"beam_azimuth_angles"', b'"x"', "KeyError: 'beam_azimuth_angles'"),
        (b'"lidar_to_sensor_transform"', b'"x"', "lidar_to_sensor_transform"),
        (b'"columns_per_frame": 512', b'"columns_per_frame": 512000', "make no sense"),
        (b"{", b"", "JSONDecodeError"),
    ],
)
def test_metadata_that_cannot_be_used_is_named(
    tmp_path: Path, old: bytes, new: bytes, reason: str
) -> None:
    path = ouster_capture(tmp_path / "a", "RNG19_RFL8_SIG16_NIR16")
    metadata = path.with_suffix(".json")
    text = metadata.read_bytes()
    if old not in text:
        text = text.replace(b'":', b'": ').replace(b'":  ', b'": ')
    assert old in text
    metadata.write_bytes(text.replace(old, new, 1))
    with pytest.raises(FormatError, match=reason):
        open_pcap(path, NAME)


def test_flat_metadata_of_old_firmware(tmp_path: Path) -> None:
    import json

    from recordings.logs.ouster_metadata import parse_metadata

    tree = json.loads(np.load(GOLDEN)["LEGACY/metadata"].tobytes())
    flat = {**tree["beam_intrinsics"], **tree["lidar_intrinsics"], "lidar_mode": "512x10"}
    flat.pop("beam_to_lidar_transform", None)
    old, new = parse_metadata(json.dumps(flat).encode()), parse_metadata(json.dumps(tree).encode())
    assert (old.num_columns, old.columns_per_packet, old.packet_bytes) == (512, 16, 12608)
    for one, other in zip(old.beams(), new.beams(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_captures_are_found_with_their_metadata() -> None:
    keys = ["up/a.pcap", "up/b.pcap", "up/meta.json", "alone/c.pcap", "d.pcapng", "d.json"]
    found = {
        source.name: (source.part, source.keys) for source in group_keys([(k, 1, "") for k in keys])
    }
    assert found == {
        "up_a": ("a", ("up/a.pcap", "up/meta.json")),
        "up_b": ("b", ("up/b.pcap", "up/meta.json")),
        "alone_c": ("", ("alone/c.pcap",)),
        "d": ("", ("d.pcapng",)),
    }


@pytest.mark.parametrize(("sensor", "frames", "worst_m"), [("vlp16", 4, 0.07), ("vlp32", 5, 0.15)])
def test_real_packets_equal_the_clouds_of_another_decoder(
    sensor: str, frames: int, worst_m: float
) -> None:
    """Nebula cuts turns elsewhere and rounds azimuths; points agree to 5 mm, none is missing."""
    folder = shared_data(f"rosbag2_db3/nebula_velodyne_{sensor}")
    (bag,) = (path.parent for path in folder.glob("*/metadata.yaml"))
    recording = open_recording(bag)
    assert recording.motion == "raw"
    sweeps = list(recording.sweeps())
    assert len(sweeps) == frames
    assert recording.damage == []
    (reference,) = folder.glob("*.pcd")
    expected = pcd_file.read_points(reference).xyz_m
    apart = [cKDTree(sweep.points_ego_m).query(expected)[0] for sweep in sweeps]
    nearest = min(apart, key=lambda distance: float(distance.max()))
    assert np.median(nearest) < 0.007
    assert nearest.max() < worst_m


def test_real_packets_in_a_capture_equal_those_in_a_bag(tmp_path: Path) -> None:
    """The decoder's own reader of captures gives the same points, cut where it cuts."""
    folder = shared_data("rosbag2_db3/nebula_velodyne_vlp16")
    (bag,) = (path.parent for path in folder.glob("*/metadata.yaml"))
    datagrams = []
    for _, _, data in _messages(bag):
        _, packets = packets_velodyne._scan_packets(data, "cdr")
        datagrams += [(time_ns, 2368, content) for time_ns, content in packets]
    path = write(tmp_path / "a.pcap", datagrams)
    sweeps = list(open_pcap(path, NAME).sweeps())
    ours = np.concatenate([sweep.points_ego_m for sweep in sweeps])
    config = vd.Config(min_range=0, max_range=1000, timestamp_first_packet=True)
    theirs = np.concatenate([points[:, :3] for _, points in vd.read_pcap(path, config)])
    assert len(ours) == len(theirs)
    np.testing.assert_array_equal(ours, theirs)


def _messages(bag: Path) -> Iterator[tuple[int, int, memoryview]]:
    from recordings.logs.rosbag2_file import SqliteBag

    (path,) = bag.glob("*.db3")
    file = SqliteBag(path)
    for block in file.blocks([]):
        yield from file.messages(block, [])
