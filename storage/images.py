"""Camera images of a recording: one Parquet file, images as the bytes they came in."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from scene.errors import FormatError, NotFoundError
from scene.image import Image
from storage.store import ObjectStore

IMAGE_SCHEMA: Final = pa.schema(
    [
        ("sensor", pa.string()),
        ("timestamp_ns", pa.int64()),
        ("encoding", pa.string()),
        ("data", pa.large_binary()),
        ("uri", pa.string()),
        ("index", pa.int64()),
    ]
)
_GROUP_BYTES: Final = 8 * 2**20
_GROUP_ROWS: Final = 4096


def write_images(store: ObjectStore, key: str, images: Iterable[Image]) -> int:
    """Write the images as one object, all or nothing; return how many there were.

    Holds about 8 MB of images in memory. Without any image, an object of an earlier ingest is
    deleted.
    """
    count = 0
    with tempfile.TemporaryDirectory(prefix="starloop-") as folder:
        path = Path(folder) / "images.parquet"
        with pq.ParquetWriter(path, IMAGE_SCHEMA, compression="none") as writer:
            for rows in _groups(images):
                writer.write_table(pa.Table.from_pylist(rows, schema=IMAGE_SCHEMA))
                count += len(rows)
        if count:
            store.put_file(key, path)
        else:
            store.delete(key)
    return count


def read_images(store: ObjectStore, key: str) -> Iterator[Image]:
    """Yield what `write_images` wrote, nothing if it wrote nothing.

    Raises:
        FormatError: if the object is something else.
    """
    try:
        handle = store.open(key)
    except NotFoundError:
        return
    with handle:
        try:
            file = pq.ParquetFile(handle)
            for number in range(file.num_row_groups):
                for row in file.read_row_group(number, IMAGE_SCHEMA.names).to_pylist():
                    yield Image(**row)
        except (pa.ArrowException, OSError) as error:
            raise FormatError(f"{key}: not a Starloop image file ({error})") from error


def _groups(images: Iterable[Image]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    size = 0
    for image in images:
        rows.append({name: getattr(image, name) for name in IMAGE_SCHEMA.names})
        size += len(image.data or b"")
        if size >= _GROUP_BYTES or len(rows) >= _GROUP_ROWS:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows
