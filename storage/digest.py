"""Content digests: the same values give the same digest, however they are chunked or stored."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pyarrow as pa


def digest_of(value: Any) -> str:
    """Return the SHA-256 (hex) of a JSON-like value, keys sorted."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def table_digest(table: pa.Table) -> str:
    """Return the SHA-256 (hex) of a table's columns and rows, in their order."""
    digest = hashlib.sha256()
    sink = pa.BufferOutputStream()
    combined = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(sink, combined.schema) as writer:
        for batch in combined.to_batches():
            writer.write_batch(pa.RecordBatch.from_pylist(batch.to_pylist(), combined.schema))
    digest.update(sink.getvalue())
    return digest.hexdigest()
