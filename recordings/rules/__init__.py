"""Sanity rules: what can be wrong with a recording, by subject."""
