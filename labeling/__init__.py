"""Labelling backends: tasks out, annotations in."""
