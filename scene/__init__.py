"""The kernel: poses, sweeps, boxes, calibration, taxonomy and errors. Numpy only, no I/O, no Dagster."""
