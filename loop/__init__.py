"""The steps of the loop as plain functions: read storage, call a stage package, write storage.

No Dagster here: assets, the command line and tests call the same functions.
"""
