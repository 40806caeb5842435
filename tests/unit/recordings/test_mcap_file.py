from __future__ import annotations

from pathlib import Path

import pytest
from mcap.writer import CompressionType, Writer

from recordings.mcap_file import McapFile
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


@pytest.mark.parametrize("content", [b"", b"not an mcap", b"\x89MCAP0"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"a\.mcap: not an MCAP file"):
        McapFile(path)
