"""Partition definitions: one partition is one recording."""

from __future__ import annotations

import dagster as dg

RECORDINGS = dg.DynamicPartitionsDefinition(name="recordings")
