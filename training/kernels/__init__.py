"""Compiled loops of the detector on a processor. Each has a plain reference in its tests."""
