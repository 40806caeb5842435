"""Metadata for people, kept small: an event in the log should stay below some tens of kilobytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import dagster as dg
from PIL import Image

from scene.errors import NotFoundError
from storage.store import ObjectStore
from training.evaluation import Interval

_THUMBNAIL_PX = 480
_MAX_BYTES = 24_000


def picture(store: ObjectStore, key: str, caption: str) -> dg.MetadataValue:
    """Return a stored picture as a small inline thumbnail with its address."""
    try:
        png = store.get(key)
    except NotFoundError:
        return dg.MetadataValue.text(f"no picture at {key}")
    return dg.MetadataValue.md(f"![{caption}]({thumbnail(png)})\n\n`{store.url}/{key}`")


def thumbnail(png: bytes) -> str:
    """Return a data URI of a small version of a picture, below 24 kB."""
    with Image.open(io.BytesIO(png)) as image:
        small = image.convert("RGB")
        small.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    for quality in (80, 60, 40, 20):
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= _MAX_BYTES:
            break
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def table(rows: Sequence[Mapping[str, object]], limit: int = 12) -> dg.MetadataValue:
    """Return rows as a Markdown table, at most `limit` of them."""
    if not rows:
        return dg.MetadataValue.md("*none*")
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows[:limit]]
    if len(rows) > limit:
        lines.append(f"\n{len(rows) - limit} more rows")
    return dg.MetadataValue.md("\n".join(lines))


def figure(value: Interval) -> str:
    """Return a figure with its 95 % interval, as far as they are known."""
    if value.value != value.value:  # NaN
        return ""
    known = value.low == value.low
    return f"{value.value:.3f}" + (f" ({value.low:.3f} – {value.high:.3f})" if known else "")
