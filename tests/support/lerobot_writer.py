"""LeRobot data sets written in code, in the layouts of v2.1 and v3.0.

Layout by github.com/huggingface/lerobot: `datasets/v2/README` and `datasets/utils.py`.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FPS = 20
FIELDS = ["shoulder", "elbow", "gripper"]
CAMERA = "observation.images.front"
FEATURES: dict[str, Any] = {
    "observation.state": {"dtype": "float32", "shape": [3], "names": FIELDS},
    "action": {"dtype": "float32", "shape": [3], "names": {"motors": FIELDS}},
    CAMERA: {
        "dtype": "video", "shape": [48, 64, 3], "names": ["height", "width", "channel"],
        "info": {"video.codec": "h264", "video.fps": FPS},
    },
    "next.reward": {"dtype": "float32", "shape": [1], "names": None},
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}  # fmt: skip


def episode_values(episode: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (T, 3) states and actions: the state follows the action two frames later."""
    t = np.arange(frames + 2) / FPS
    rng = np.random.default_rng(episode)
    phase = rng.uniform(0, 2 * np.pi, 3)
    goal = np.sin(0.9 * t[:, None] * np.array([1.0, 1.4, 0.7]) + phase) * [0.8, 0.5, 0.3]
    noise = rng.normal(0, 1e-4, (frames, 3))
    return (goal[:-2] + noise).astype(np.float32), goal[2:].astype(np.float32)


def rows(episode: int, frames: int, first_index: int = 0) -> dict[str, Any]:
    """Return the columns of one episode."""
    state, action = episode_values(episode, frames)
    number = np.arange(frames)
    return {
        "observation.state": pa.FixedSizeListArray.from_arrays(pa.array(state.ravel()), 3),
        "action": pa.array(action.tolist(), pa.list_(pa.float32())),
        "next.reward": (number / frames).astype(np.float32),
        "timestamp": (number / FPS).astype(np.float32),
        "frame_index": number,
        "episode_index": np.full(frames, episode),
        "index": first_index + number,
        "task_index": np.zeros(frames, dtype=np.int64),
    }


def write_v2(folder: Path, lengths: dict[int, int], *, video: bool = True) -> Path:
    """Write a data set with a file an episode; `lengths` are frames by episode number."""
    lines = []
    for episode, frames in lengths.items():
        place = f"chunk-{episode // 1000:03d}"
        data = folder / f"data/{place}/episode_{episode:06d}.parquet"
        data.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(rows(episode, frames)), data)
        lines.append({"episode_index": episode, "tasks": ["pick it up"], "length": frames})
        if video:
            write_video(folder / f"videos/{place}/{CAMERA}/episode_{episode:06d}.mp4", frames)
    info = {
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/"
        "episode_{episode_index:06d}.mp4",
    }
    _write_info(folder, "v2.1", lengths, info)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "meta/episodes.jsonl").write_text(text)
    (folder / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "pick it up"}\n')
    return folder


def write_v3(folder: Path, lengths: dict[int, int]) -> Path:
    """Write a data set with all episodes in one file of rows and one video."""
    tables, listed, first = [], [], 0
    for episode, frames in lengths.items():
        tables.append(pa.table(rows(episode, frames, first)))
        listed.append({
            "episode_index": episode, "tasks": ["pick it up"], "length": frames,
            "data/chunk_index": 0, "data/file_index": 0,
            "dataset_from_index": first, "dataset_to_index": first + frames,
            f"videos/{CAMERA}/chunk_index": 0, f"videos/{CAMERA}/file_index": 0,
            f"videos/{CAMERA}/from_timestamp": first / FPS,
            f"videos/{CAMERA}/to_timestamp": (first + frames) / FPS,
            "stats/action/min": [0.0, 0.0, 0.0],
            "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0,
        })  # fmt: skip
        first += frames
    for path in ("data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables(tables), folder / "data/chunk-000/file-000.parquet")
    meta = pa.Table.from_pylist(listed)
    pq.write_table(meta, folder / "meta/episodes/chunk-000/file-000.parquet")
    tasks = pa.table({"task_index": [0], "__index_level_0__": ["pick it up"]})
    pq.write_table(tasks, folder / "meta/tasks.parquet")
    write_video(folder / f"videos/{CAMERA}/chunk-000/file-000.mp4", first)
    info = {
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    _write_info(folder, "v3.0", lengths, info)
    return folder


def _write_info(folder: Path, version: str, lengths: dict[int, int], paths: dict[str, str]) -> None:
    info = {
        "codebase_version": version, "robot_type": "arm", "fps": FPS, "chunks_size": 1000,
        "total_episodes": len(lengths), "total_frames": sum(lengths.values()),
        "features": FEATURES, **paths,
    }  # fmt: skip
    (folder / "meta").mkdir(parents=True, exist_ok=True)
    (folder / "meta/info.json").write_text(json.dumps(info, indent=1))


def write_video(path: Path, frames: int) -> None:
    """Write the boxes of an MP4 that say how many frames it has, and no picture at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _box(b"hdlr", struct.pack(">II4s", 0, 0, b"vide") + bytes(13))
    entry = struct.pack(">I4s", 16, b"avc1") + bytes(8)
    table = _box(b"stsd", struct.pack(">II", 0, 1) + entry)
    table += _box(b"stsz", struct.pack(">III", 0, 100, frames))
    media = _box(b"mdia", handler + _box(b"minf", _box(b"stbl", table)))
    movie = _box(b"moov", _box(b"trak", media))
    path.write_bytes(_box(b"ftyp", b"isom" + bytes(4)) + movie + _box(b"mdat", bytes(64)))


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content
