"""Readers: one file a format, all give the same `Recording`; discovery; checks of what was read."""
