"""Bytes and keys: object store, tables, point codec, manifests, lineage."""
