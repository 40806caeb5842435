"""From columns and poses to canonical sweeps: times, frames, motion, cameras."""
