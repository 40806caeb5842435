from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, Writer

from recordings.logs.mcap_file import McapFile
from recordings.recording import Damage
from scene.errors import FormatError

KINDS = {"zstd": CompressionType.ZSTD, "lz4": CompressionType.LZ4, "none": CompressionType.NONE}


def write(path: Path, compression: str, *, chunked: bool = True, count: int = 40) -> list[bytes]:
    payloads = [bytes([i]) * (20 + 7 * i) for i in range(count)]
    with path.open("wb") as stream:
        writer = Writer(
            stream, chunk_size=1500, compression=KINDS[compression], use_chunking=chunked
        )
        writer.start()
        schema = writer.register_schema("a/B", "ros2msg", b"uint8 x")
        channel = writer.register_channel("/topic", "cdr", schema)
        for i, payload in enumerate(payloads):
            writer.add_message(channel, i, payload, i)
        writer.finish()
    return payloads


def read(path: Path) -> tuple[list[bytes], list[Damage]]:
    damage: list[Damage] = []
    file = McapFile(path)
    found = [
        bytes(message.data)
        for block in file.blocks(damage)
        for message in file.messages(block, damage)
    ]
    return found, damage


@pytest.mark.parametrize("compression", KINDS)
@pytest.mark.parametrize("chunked", [True, False])
def test_all_messages_in_order(tmp_path: Path, compression: str, chunked: bool) -> None:
    path = tmp_path / "a.mcap"
    payloads = write(path, compression, chunked=chunked)
    assert read(path) == (payloads, [])
    file = McapFile(path)
    for block in file.blocks([]):
        list(file.messages(block, []))
    (channel,) = file.channels.values()
    assert (channel.topic, channel.schema.name, channel.encoding) == ("/topic", "a/B", "cdr")


def test_reading_starts_again_at_any_block(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    payloads = write(path, "zstd")
    file = McapFile(path)
    blocks = list(file.blocks([]))
    counts = [len(list(file.messages(block, []))) for block in blocks]
    for i, block in enumerate(blocks):
        rest = [bytes(m.data) for b in file.blocks([], block.offset) for m in file.messages(b, [])]
        assert rest == payloads[sum(counts[:i]) :]
        assert block.end > block.offset


@pytest.mark.parametrize("compression", KINDS)
def test_cut_anywhere_reads_everything_complete_before_the_cut(
    tmp_path: Path, compression: str
) -> None:
    path, cut = tmp_path / "a.mcap", tmp_path / "cut.mcap"
    payloads = write(path, compression)
    data = path.read_bytes()
    ends = [block.end for block in McapFile(path).blocks([])]
    file = McapFile(path)
    whole_after = [0]
    for block in file.blocks([]):
        whole_after.append(whole_after[-1] + len(list(file.messages(block, []))))
    last_end = ends[-1]
    for size in range(8, last_end, 211):
        cut.write_bytes(data[:size])
        found, damage = read(cut)
        complete = whole_after[sum(end <= size for end in ends)]
        assert found == payloads[: len(found)]
        assert len(found) >= complete
        assert damage, f"nothing said about a file cut at {size}"
        assert "cut.mcap at byte" in damage[0].where


def test_an_uncompressed_chunk_cut_short_still_gives_its_whole_messages(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    payloads = write(path, "none")
    data = path.read_bytes()
    end_of_message = data.index(payloads[3]) + len(payloads[3])
    path.write_bytes(data[: end_of_message + 5])
    found, damage = read(path)
    assert found == payloads[:4]
    assert "ends inside a record" in damage[0].what


@pytest.mark.parametrize("compression", KINDS)
def test_a_damaged_chunk_costs_only_itself(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.mcap"
    payloads = write(path, compression)
    data = bytearray(path.read_bytes())
    file = McapFile(path)
    blocks = list(file.blocks([]))
    counts = [len(list(file.messages(block, []))) for block in blocks]
    middle = (blocks[1].offset + blocks[1].end) // 2
    data[middle] ^= 0xFF
    path.write_bytes(data)
    found, damage = read(path)
    assert found == payloads[: counts[0]] + payloads[counts[0] + counts[1] :]
    (note,) = damage
    assert note.where == f"a.mcap at byte {blocks[1].offset}"
    assert "checksum" in note.what or "decompressed" in note.what


def test_a_broken_record_length_is_skipped_with_the_index_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    payloads = write(path, "zstd")
    data = bytearray(path.read_bytes())
    blocks = list(McapFile(path).blocks([]))
    file = McapFile(path)
    first = len(list(file.messages(blocks[0], [])))
    lost = len(list(file.messages(blocks[1], [])))
    data[blocks[1].offset + 7] = 0x7F  # the chunk now claims to be enormous
    path.write_bytes(data)
    found, damage = read(path)
    # What the broken chunk's own bytes still give is salvaged as well.
    assert found[:first] == payloads[:first]
    assert found[-(len(payloads) - first - lost) :] == payloads[first + lost :]
    assert damage[0].where == f"a.mcap at byte {blocks[1].offset}"


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_compressed_last_chunk_cut_short_gives_its_complete_messages(
    tmp_path: Path, compression: str
) -> None:
    path = tmp_path / "a.mcap"
    rng = np.random.default_rng(0)
    payloads = [rng.integers(0, 256, 20_000, np.uint8).tobytes() for _ in range(40)]
    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=2**20, compression=KINDS[compression])
        writer.start()
        channel = writer.register_channel("/topic", "cdr", 0)
        for i, payload in enumerate(payloads):
            writer.add_message(channel, 10 * i, payload, i)
        writer.finish()
    (block,) = McapFile(path).blocks([])
    data = path.read_bytes()
    path.write_bytes(data[: block.end * 6 // 10])
    found, (note,) = read(path)
    # Only what lies in the block of the compression that is cut (128 kB at most) is lost.
    assert found == payloads[: len(found)]
    assert len(found) >= 40 * 6 // 10 - 8
    assert note.what == "the file ends inside a record"
    missing, length = block.end - block.end * 6 // 10, block.end - block.offset - 9
    expected = f"the last {missing} of {length} bytes of a chunk logged from 0 to 390 ns"
    assert note.lost == expected


@pytest.mark.parametrize("compression", KINDS)
def test_reading_goes_on_behind_a_broken_record_without_an_index(
    tmp_path: Path, compression: str
) -> None:
    path = tmp_path / "a.mcap"
    payloads = write(path, compression)
    file = McapFile(path)
    blocks = list(file.blocks([]))
    counts = [len(list(file.messages(block, []))) for block in blocks]
    data = bytearray(path.read_bytes()[: blocks[-1].end])
    data[blocks[1].offset : blocks[1].offset + 30] = b"\xee" * 30
    path.write_bytes(data)
    found, damage = read(path)
    assert found == payloads[: counts[0]] + payloads[counts[0] + counts[1] :]
    assert damage[0].where == f"a.mcap at byte {blocks[1].offset}"
    assert damage[0].lost == f"{blocks[2].offset - blocks[1].offset} bytes"
    assert damage[1].what == "the file has no end marker"


@pytest.mark.parametrize("opcode", [2, 15])
def test_a_chunk_that_looks_like_the_end_does_not_end_the_reading(
    tmp_path: Path, opcode: int
) -> None:
    path = tmp_path / "a.mcap"
    payloads = write(path, "zstd")
    file = McapFile(path)
    blocks = list(file.blocks([]))
    counts = [len(list(file.messages(block, []))) for block in blocks]
    data = bytearray(path.read_bytes())
    data[blocks[1].offset] = opcode
    path.write_bytes(data)
    found, (note,) = read(path)
    assert found == payloads[: counts[0]] + payloads[counts[0] + counts[1] :]
    first, last = counts[0], counts[0] + counts[1] - 1
    assert f"messages of /topic logged from {first} to {last} ns" in note.lost


def test_channels_that_a_broken_chunk_defined_come_from_the_index(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    write(path, "zstd")
    file = McapFile(path)
    first = next(iter(file.blocks([])))
    data = bytearray(path.read_bytes())
    data[first.offset + 60] ^= 0xFF
    path.write_bytes(data)
    file, damage = McapFile(path), list[Damage]()
    for block in file.blocks(damage):
        for message in file.messages(block, damage):
            assert file.channels[message.channel_id].schema.data == b"uint8 x"
    assert "logged from 0 to " in damage[0].lost
    assert file.announced() == {1: 40}


def test_many_broken_records_cost_time_in_proportion(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    payloads = [bytes([i % 256]) * 2000 for i in range(4000)]
    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=40_000, compression=CompressionType.NONE)
        writer.start()
        channel = writer.register_channel("/topic", "cdr", 0)
        for i, payload in enumerate(payloads):
            writer.add_message(channel, i, payload, i)
        writer.finish()
    blocks = list(McapFile(path).blocks([]))
    data = bytearray(path.read_bytes())
    for block in blocks[1::2]:
        data[block.offset] = 0
    for content in (data, data[: blocks[-1].offset]):  # with the index, and without
        path.write_bytes(content)
        before = psutil.Process().io_counters().read_chars
        found, damage = read(path)
        num_bytes = psutil.Process().io_counters().read_chars - before
        assert len(damage) >= len(blocks) // 2
        assert len(found) > len(payloads) * 0.4
        assert num_bytes < 6 * len(content)


def test_an_absurd_chunk_size_does_not_take_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    write(path, "zstd")
    data = bytearray(path.read_bytes())
    block = next(iter(McapFile(path).blocks([])))
    at = block.offset + 9 + 16
    data[at : at + 8] = (2**40).to_bytes(8, "little")
    path.write_bytes(data)
    _, damage = read(path)
    assert f"{2**40} bytes" in damage[0].what


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_flipped_and_cut_bytes_never_escape(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "a.mcap"
    write(path, data.draw(st.sampled_from(sorted(KINDS))))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(8, len(content)))])
    read(path)


@pytest.mark.parametrize("content", [b"", b"not an mcap", b"\x89MCAP0"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"a\.mcap: not an MCAP file"):
        McapFile(path)
