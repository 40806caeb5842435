"""The 13 tables of a nuScenes data set: JSON arrays of flat records, read record by record.

`sample_data.json` of the whole data set is over 1 GB, so a table is never in memory as a whole:
each is read as a stream and only the records of one scene are kept.
Layout: github.com/nutonomy/nuscenes-devkit, `docs/schema_nuscenes.md`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from scene.errors import FormatError

Record = dict[str, Any]

# Tables that a scene is made of; the other five (attribute, visibility, log, map, category where
# nothing is annotated) may be missing.
NEEDED: Final = (
    "scene", "sample", "sample_data", "calibrated_sensor", "sensor", "ego_pose",
)  # fmt: skip
ANNOTATED: Final = ("sample_annotation", "instance", "category")
_CHUNK: Final = 2**20
_MAX_RECORD: Final = 16 * 2**20
_SPACE: Final = " \t\r\n,"


def table_folders(folder: Path) -> list[Path]:
    """Return the folders of tables (`v1.0-mini`, ...) directly inside a folder, by name."""
    marks = ("sample_data", "sample_annotation", "calibrated_sensor")
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and any((path / f"{mark}.json").is_file() for mark in marks)
    )


def read_table(
    tables: Path, name: str, keep: Callable[[Record], bool] | None = None
) -> list[Record]:
    """Return the records of one table that `keep` wants, in the order of the file.

    Raises:
        FormatError: if the table is missing or is not a JSON array of records that have what
            `keep` asks for; says at which character.
    """
    path = tables / f"{name}.json"
    if not path.is_file():
        raise FormatError(
            f"{tables.name}: no {name}.json; a nuScenes data set needs its 13 tables beside one "
            "another: unpack the metadata archive again"
        )
    try:
        return [record for record in _records(path) if keep is None or keep(record)]
    except KeyError as error:
        raise FormatError(f"{path.name}: a record has no {error.args[0]!r}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{path.name}: not a JSON table ({error})") from error


def by_token(tables: Path, name: str, wanted: set[str]) -> dict[str, Record]:
    """Return the records with the wanted tokens.

    Raises:
        FormatError: as `read_table`, or if one of the tokens is not there.
    """
    found = {r["token"]: r for r in read_table(tables, name, lambda r: r["token"] in wanted)}
    missing = wanted - found.keys()
    if missing:
        raise FormatError(
            f"{name}.json: {len(missing)} records that other tables name are not there, such as "
            f"{min(missing)}"
        )
    return found


def _records(path: Path) -> Iterator[Record]:
    """Yield the records of a JSON array; holds one chunk of text."""
    decode = json.JSONDecoder().raw_decode
    with path.open(encoding="utf-8") as stream:
        text, at, before, ended = stream.read(_CHUNK).lstrip("\ufeff \t\r\n"), 1, 0, False
        if not text.startswith("["):
            raise FormatError(f"{path.name}: begins with {text[:20]!r}, not with a JSON array")
        while True:
            while at < len(text) and text[at] in _SPACE:
                at += 1
            if text.startswith("]", at):
                return
            try:
                record, end = decode(text, at)
            except json.JSONDecodeError as error:
                more = stream.read(_CHUNK)
                ended = not more
                if ended or len(text) - at > _MAX_RECORD:
                    where = f"{path.name}: character {before + at}"
                    what = "breaks off" if ended else "is no record"
                    raise FormatError(f"{where}: the table {what} ({error.msg})") from error
                text, before, at = text[at:] + more, before + at, 0
                continue
            if not isinstance(record, dict):
                raise FormatError(f"{path.name}: character {before + at}: not a record")
            yield record
            at = end
