"""The kernel: poses, sweeps, boxes, calibration, taxonomy, errors. Numpy only, no I/O."""
