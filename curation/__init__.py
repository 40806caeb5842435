"""Triggers, mining, selection of frames to label, and the ledger of known weaknesses."""
