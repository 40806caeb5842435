"""Dagster assets, one file a stage. Each reads, calls one pure function, writes and reports."""
